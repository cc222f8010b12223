"""The three phases of DMoERM: the task's scorer, an adapter for each capability, the aggregator.

Source: DMoERM, arXiv 2403.01197, section 3. What differs: the task's scorer is an adapter too, and a
capability's adapter starts from it, so that one base model serves all tasks.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coe.errors import DataError
from coe_dmoerm._aggregator import Aggregator, Kind, fit_aggregator
from coe_dmoerm._heads import WHOLE, folds_of
from coe_dmoerm._items import GAP, UNNAMED, Data
from coe_dmoerm._length import length_slope
from coe_dmoerm._tasks import TaskRouter, fit_router

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe_dmoerm.lora._base import Base

_SHARE = 0.6
"""Of the prompts: the adapters learn from them; the aggregator from the others, as published."""
_FOLDS = 5
_ACROSS = 4


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """How to train.

    Attributes:
        steps: for the task's scorer; a capability takes half as many. A step is a prompt's answers.
        answers: of one prompt in a step, at most.
        rate: step size of the adapters; of the heads ten times that.
        aggregator: kind.
        seed: of everything drawn.
    """

    steps: int = 200
    answers: int = 4
    rate: float = 3e-4
    aggregator: Kind = "mlp"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class LoraTask:
    """The inner layer of one task.

    Attributes:
        names: of h heads, the capabilities and then `WHOLE`.
        adapters: name of each head's adapter in the base model.
        values: float32[h, d], a head's reward is its product with the hidden state.
        aggregator: reads the scores and hidden states of all heads.
        length_slope: as in `TaskScorer`.
    """

    names: tuple[str, ...]
    adapters: tuple[str, ...]
    values: NDArray[np.float32]
    aggregator: Aggregator
    length_slope: float

    def score(
        self, base: Base, rows: Sequence[Sequence[int]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Rewards float32[n] and the heads' scores float32[n, h] of answers that were read."""
        hidden, scores = _read(base, self.adapters, self.values, rows)
        return self.aggregator.rewards(scores, hidden), scores


def train_lora(
    data: Data, base: Base, settings: LoraSettings, *, say: Callable[[str], None] = lambda _: None
) -> tuple[TaskRouter, dict[str, LoraTask]]:
    """Train all tasks of a model.

    Raises:
        DataError: a task has nothing to learn from.
    """
    tasks = {
        task: _train_task(data.of_task(task), base, settings, f"t{number}", task, say)
        for number, task in enumerate(data.tasks)
    }
    own = [item.task or UNNAMED for item in data.items]
    return fit_router(data.items, data.tasks, own, settings.seed), tasks


def _train_task(
    data: Data, base: Base, settings: LoraSettings, prefix: str, task: str, say: Callable[[str], None]
) -> LoraTask:
    prompts: dict[tuple[str, str], int] = {}
    own = np.array([prompts.setdefault((item.prompt, item.context), len(prompts)) for item in data.items])
    draw = np.random.default_rng(settings.seed)
    early = draw.permutation(len(prompts))[: max(round(_SHARE * len(prompts)), 1)]
    learns = np.isin(own, early)
    whole, by_name = _lessons(data, own, draw)
    if not len(whole):
        raise DataError(f"The task `{task}` has no two answers of which one is better.")
    rows = [base.read(item) for item in data.items]
    names = (*by_name, WHOLE)
    adapters = tuple(f"{prefix}h{at}" for at in range(len(names)))

    say(f"training `{task}`: {WHOLE}")
    base.add(adapters[-1])
    start = draw.normal(0, 1 / base.dim, base.dim).astype(np.float32)
    first = _inside(whole, learns)
    values = {WHOLE: _learn(base, adapters[-1], start, rows, first, own, settings, settings.steps)}
    for name, adapter in zip(by_name, adapters, strict=False):
        say(f"training `{task}`: {name}")
        base.add(adapter, base.tensors(adapters[-1]))
        lesson = _inside(by_name[name], learns)
        values[name] = _learn(
            base, adapter, values[WHOLE], rows, lesson, own, settings, max(settings.steps // 2, 1)
        )
    stacked = np.array([values[name] for name in names])

    say(f"training `{task}`: aggregator")
    # Where every prompt is needed for the adapters, the aggregator has to learn from them too.
    kept = np.flatnonzero(~learns) if len(_inside(whole, ~learns)) else np.arange(len(own))
    place = np.cumsum(np.isin(np.arange(len(own)), kept)) - 1
    pairs = place[_inside(whole, np.isin(np.arange(len(own)), kept))]
    hidden, scores = _read(base, adapters, stacked, [rows[at] for at in kept.tolist()])
    folds = folds_of(own[kept], _FOLDS, settings.seed)
    aggregator = fit_aggregator(scores, hidden, pairs, folds, settings.aggregator, settings.seed)
    words = np.log1p([len(data.items[at].response.split()) for at in kept.tolist()]).astype(np.float32)
    slope = length_slope(words, pairs, aggregator.rewards(scores, hidden))
    return LoraTask(names, adapters, stacked, aggregator, slope)


def _lessons(
    data: Data, prompts: NDArray[np.int64], draw: np.random.Generator
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.int64]]]:
    """Pairs [m, 2] of the whole answer, and of each capability: by its ratings, or as they were judged."""
    whole = [(pair.better, pair.worse) for pair in data.pairs]
    of_prompt: dict[int, list[int]] = {}
    for row, prompt in enumerate(prompts.tolist()):
        of_prompt.setdefault(prompt, []).append(row)
    meeting = [both for rows in of_prompt.values() for both in itertools.combinations(rows, 2)]
    if not whole:
        # One answer to each prompt: ratings are compared across prompts.
        rated = [row for row, item in enumerate(data.items) if item.aspects]
        meeting = [
            (one, int(other)) for one in rated for other in draw.choice(rated, min(_ACROSS, len(rated)))
        ]
        whole = _apart(meeting, [item.rating for item in data.items])
    names = sorted({name for item in data.items for name in item.aspects})
    judged = sorted({pair.aspect for pair in data.pairs if pair.aspect is not None} - set(names))
    found = {name: _apart(meeting, [item.aspects.get(name, np.nan) for item in data.items]) for name in names}
    found |= {
        name: [(pair.better, pair.worse) for pair in data.pairs if pair.aspect == name] for name in judged
    }
    return _array(whole), {name: _array(pairs) for name, pairs in found.items() if pairs}


def _apart(meeting: Sequence[tuple[int, int]], ratings: Sequence[float]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for one, other in meeting:
        lead = ratings[one] - ratings[other]
        if abs(lead) >= GAP - 1e-9:  # never for NaN
            found.append((one, other) if lead > 0 else (other, one))
    return found


def _array(pairs: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    return np.array(pairs, np.int64).reshape(-1, 2)


def _inside(pairs: NDArray[np.int64], kept: NDArray[np.bool_]) -> NDArray[np.int64]:
    return pairs[kept[pairs].all(axis=1)]


def _learn(
    base: Base,
    adapter: str,
    start: NDArray[np.float32],
    rows: Sequence[Sequence[int]],
    pairs: NDArray[np.int64],
    prompts: NDArray[np.int64],
    settings: LoraSettings,
    steps: int,
) -> NDArray[np.float32]:
    """Train an adapter and its head by the Bradley–Terry loss; a step is one prompt. Returns the head."""
    if not len(pairs):
        return start
    torch = base.torch
    draw = np.random.default_rng(settings.seed)
    by_prompt = [pairs[prompts[pairs[:, 0]] == prompt] for prompt in np.unique(prompts[pairs[:, 0]])]
    value: Any = torch.nn.Parameter(torch.tensor(start, device=base.device))
    with torch.random.fork_rng(), base.trained(adapter) as parameters:
        torch.manual_seed(settings.seed)
        optimizer = torch.optim.AdamW(
            [
                {"params": parameters, "lr": settings.rate},
                {"params": [value], "lr": 10 * settings.rate},
            ],
            weight_decay=0.0,
        )
        order = itertools.chain.from_iterable(draw.permutation(len(by_prompt)) for _ in itertools.count())
        for step, at in enumerate(itertools.islice(order, steps)):
            for group, rate in zip(optimizer.param_groups, (1, 10), strict=True):
                group["lr"] = rate * settings.rate * (1 - step / steps)
            mine = by_prompt[int(at)]
            answers = draw.permutation(np.unique(mine))[: settings.answers]
            chosen = mine[np.isin(mine, answers).all(axis=1)]
            chosen = chosen if len(chosen) else mine[:1]
            kinds, place = np.unique(chosen, return_inverse=True)
            read: list[int] = kinds.tolist()
            rewards = base.last_hidden([rows[row] for row in read]) @ value
            better, worse = torch.tensor(place.reshape(chosen.shape).T, device=base.device)
            loss = -torch.nn.functional.logsigmoid(rewards[better] - rewards[worse]).mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return value.detach().cpu().numpy().astype(np.float32)


def _read(
    base: Base,
    adapters: Sequence[str],
    values: NDArray[np.float32],
    rows: Sequence[Sequence[int]],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Hidden states float32[n, h, d] and scores float32[n, h]."""
    hidden = np.stack([base.hidden(adapter, rows) for adapter in adapters], axis=1)
    return hidden, np.einsum("nhd,hd->nh", hidden, values).astype(np.float32)
