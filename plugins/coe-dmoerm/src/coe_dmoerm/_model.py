"""The reward model: a router of tasks over scorers of one task each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from coe.errors import DataError
from coe_dmoerm._aggregator import Aggregator, Kind, fit_aggregator
from coe_dmoerm._heads import (
    PARTS,
    Heads,
    Lesson,
    choose,
    fit_heads,
    folds_of,
    study,
    without_capabilities,
)
from coe_dmoerm._items import UNNAMED, Data
from coe_dmoerm._length import length_slope
from coe_dmoerm._libraries import library
from coe_dmoerm._reader import Raw, read_raw
from coe_dmoerm._scored import Scored
from coe_dmoerm._tasks import TaskRouter, fit_router, routed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from coe.contracts import Embedder
    from coe_dmoerm._items import Item

_FOLDS = 5


@dataclass(frozen=True, slots=True)
class TaskScorer:
    """The inner layer of one task.

    Attributes:
        heads: of its capabilities.
        aggregator: of the heads.
        length_slope: reward that a unit of log length brings beyond what people give for it, found
            on prompts that the heads had not seen.
    """

    heads: Heads
    aggregator: Aggregator
    length_slope: float = 0.0

    def score(self, raw: Raw) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Rewards float32[n] and scores of the capabilities float32[n, h]."""
        hidden = self.heads.hidden(self.heads.reader.read(raw))
        scores = self.heads.scores(hidden)
        return self.aggregator.rewards(scores, hidden), scores


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How to train.

    Attributes:
        outer: one scorer for each task; else one for all.
        inner: one head for each capability; else one for all.
        aggregator: kind.
        seed: of everything drawn.
    """

    outer: bool = True
    inner: bool = True
    aggregator: Kind = "auto"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class RewardModel:
    """Outer and inner layer.

    Attributes:
        router: of items that name no task.
        scorers: by task.
    """

    router: TaskRouter
    scorers: Mapping[str, TaskScorer] = field(repr=False)

    def score(
        self, items: Sequence[Item], embedder: Embedder, *, correct_length: bool = False
    ) -> list[Scored]:
        """Score items. One whose task is not known is routed, as one without a task."""
        if not items:
            return []
        return self.score_raw(items, read_raw(items, embedder), correct_length=correct_length)

    def score_raw(self, items: Sequence[Item], raw: Raw, *, correct_length: bool = False) -> list[Scored]:
        """The same for items, at least one, that were read already."""
        tasks, confidences = routed(self.router, self.scorers, items)
        found: dict[int, Scored] = {}
        for task in dict.fromkeys(tasks):
            rows = [row for row, own in enumerate(tasks) if own == task]
            scorer = self.scorers[task]
            part = raw.take(np.array(rows))
            rewards, scores = scorer.score(part)
            if correct_length:
                rewards -= np.float32(scorer.length_slope) * log_words(part)
            for at, row in enumerate(rows):
                aspects = dict(zip(scorer.heads.names, map(float, scores[at]), strict=True))
                found[row] = Scored(float(rewards[at]), task, aspects, confidences[row])
        return [found[row] for row in range(len(items))]


def train(
    data: Data,
    embedder: Embedder,
    settings: TrainSettings,
    *,
    raw: Raw | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> RewardModel:
    """Train a reward model.

    Args:
        data: rated items and pairs.
        embedder: for the meaning of texts.
        settings: layers, aggregator and seed.
        raw: features of the items, where they were read already.
        say: told what is going on.

    Raises:
        DataError: a task has nothing to learn from.
    """
    # Threads of BLAS that wait for each other spin. What they multiply here is small: beside other work two
    # of them took more than twice as long as one. Only what is loaded can be limited.
    library("sklearn.linear_model")
    with library("threadpoolctl").threadpool_limits(limits=1):
        say("reading answers")
        raw = read_raw(data.items, embedder) if raw is None else raw
        tasks = data.tasks if settings.outer else (UNNAMED,)
        own = [item.task or UNNAMED for item in data.items]
        scorers: dict[str, TaskScorer] = {}
        for task in tasks:
            say(f"training `{task}`")
            rows = [row for row, name in enumerate(own) if not settings.outer or name == task]
            lesson = lesson_of(data.take(rows), raw.take(np.array(rows)), task)
            scorers[task] = train_scorer(lesson if settings.inner else without_capabilities(lesson), settings)
        say("telling tasks apart")
        router = fit_router(data.items, tasks, own if settings.outer else [UNNAMED] * len(own), settings.seed)
        return RewardModel(router, scorers)


def train_scorer(lesson: Lesson, settings: TrainSettings) -> TaskScorer:
    """Train the inner layer of one task.

    The aggregator learns from what heads said of prompts that they had not seen (cross-fitting): what heads
    say of their own lessons is better than they are.
    """
    folds = folds_of(lesson.prompts, _FOLDS, settings.seed)
    studied = study(lesson, settings.seed)
    chosen = choose(studied, folds)
    heads = fit_heads(studied, chosen, settings.seed)
    hidden = np.zeros((len(lesson), len(heads.names), len(PARTS)), np.float32)
    scores = np.zeros(hidden.shape[:2], np.float32)
    for fold in range(int(folds.max()) + 1):
        inside = folds != fold
        if not inside.any():
            inside = ~inside  # a single prompt
        made = fit_heads(studied.take(inside), chosen, settings.seed)
        held = np.flatnonzero(folds == fold)
        place = np.array([heads.names.index(name) for name in made.names])
        said = made.hidden(studied.read.take(held))
        hidden[held[:, None], place] = said
        scores[held[:, None], place] = made.scores(said)
    aggregator = fit_aggregator(scores, hidden, lesson.pairs, folds, settings.aggregator, settings.seed)
    return TaskScorer(
        heads,
        aggregator,
        length_slope(log_words(lesson.raw), lesson.pairs, aggregator.rewards(scores, hidden)),
    )


def lesson_of(data: Data, raw: Raw, task: str) -> Lesson:
    """What one task's scorer learns from. Raises `DataError` when that is nothing."""
    prompts: dict[tuple[str, str], int] = {}
    own = [prompts.setdefault((item.prompt, item.context), len(prompts)) for item in data.items]
    names = tuple(sorted({name for item in data.items for name in item.aspects}))
    ratings = np.array([[item.aspects.get(name, np.nan) for name in names] for item in data.items])
    if not names and not data.pairs:
        raise DataError(f"The task `{task}` has neither ratings nor pairs.")
    return Lesson(
        raw,
        np.array(own),
        names,
        ratings.reshape(len(data.items), len(names)),
        np.array([(pair.better, pair.worse) for pair in data.pairs], np.int64).reshape(-1, 2),
        tuple(pair.aspect for pair in data.pairs),
    )


def log_words(raw: Raw) -> NDArray[np.float32]:
    """ln(1 + words) of each answer, float32[n]: the first of the facts."""
    return raw.facts[:, 0]
