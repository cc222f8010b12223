"""A reward model of adapters: scoring, and its folder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from coe.errors import ArtifactError
from coe_dmoerm._aggregator import aggregator_of
from coe_dmoerm._artifact import Saved, within, write_folder
from coe_dmoerm._scored import Scored
from coe_dmoerm._tasks import TaskRouter, routed
from coe_dmoerm.lora._base import Base, fingerprint
from coe_dmoerm.lora._train import LoraSettings, LoraTask, train_lora

if TYPE_CHECKING:
    from coe_dmoerm._items import Data, Item

BACKBONE = "lora"
ALGORITHM = "last-token/1"
"""Changes when the same tensors would read an item otherwise."""


class LoraModel:
    """Outer and inner layer over one base model.

    Args:
        router: of items that name no task.
        scorers: by task.
        base: the language model with their adapters.
    """

    def __init__(self, router: TaskRouter, scorers: Mapping[str, LoraTask], base: Base) -> None:
        self.router = router
        self.scorers = scorers
        self.base = base
        self._turn = threading.Lock()  # one adapter is set at a time

    @property
    def heads(self) -> Mapping[str, tuple[str, ...]]:
        """Names of the heads, by task."""
        return {task: scorer.names for task, scorer in self.scorers.items()}

    def score(self, items: Sequence[Item], *, correct_length: bool = False) -> list[Scored]:
        """Score items. One whose task is not known is routed, as one without a task."""
        tasks, confidences = routed(self.router, self.scorers, items)
        found: dict[int, Scored] = {}
        for task in dict.fromkeys(tasks):
            scorer = self.scorers[task]
            rows = [row for row, own in enumerate(tasks) if own == task]
            with self._turn:
                rewards, scores = scorer.score(self.base, [self.base.read(items[row]) for row in rows])
            for at, row in enumerate(rows):
                words = np.log1p(len(items[row].response.split())) if correct_length else 0.0
                aspects = dict(zip(scorer.names, map(float, scores[at]), strict=True))
                reward = float(rewards[at]) - scorer.length_slope * float(words)
                found[row] = Scored(reward, task, aspects, confidences[row])
        return [found[row] for row in range(len(items))]


def train_adapters(
    data: Data,
    folder: Path,
    reads: tuple[int, int],
    settings: LoraSettings,
    out: Path,
    facts: Mapping[str, Any],
    say: Callable[[str], None],
) -> tuple[Mapping[str, tuple[str, ...]], str]:
    """Train a model over the language model in `folder` and write it; returns its heads and revision.

    Args:
        data: rated items and pairs.
        folder: of the language model.
        reads: longest prompt and answer together in tokens, and rank of the adapters.
        settings: how to train.
        out: the folder to write.
        facts: for people, JSON.
        say: told what is going on.

    Raises:
        ConfigError: no such language model.
        DataError: a task has nothing to learn from.
        PluginError: the extra `lora` is not installed.
        ArtifactError: it cannot be written there.
    """
    say(f"reading {folder}")
    base = Base(folder, *reads)
    model = LoraModel(*train_lora(data, base, settings, say=say), base)
    return model.heads, write_lora(out, model, folder, facts)


def write_lora(path: Path, model: LoraModel, folder: Path, training: Mapping[str, Any]) -> str:
    """Write a model: adapters, heads and aggregators, not the base. Returns the revision.

    Args:
        path: the folder to write.
        model: what to write.
        folder: the base model's.
        training: facts for people, JSON.

    Raises:
        ArtifactError: it cannot be written there.
    """
    tensors = model.router.tensors()
    about: dict[str, Any] = {
        "backbone": BACKBONE,
        "algorithm": ALGORITHM,
        "base": str(folder.resolve()),
        "fingerprint": fingerprint(folder),
        "tokens": model.base.tokens,
        "rank": model.base.rank,
        "tasks": list(model.router.tasks),
        "scorers": {},
        "training": dict(training),
    }
    for number, (task, scorer) in enumerate(model.scorers.items()):
        about["scorers"][task] = {
            "number": number,
            "heads": list(scorer.names),
            "adapters": list(scorer.adapters),
            "length_slope": scorer.length_slope,
        }
        tensors[f"{number}.values"] = scorer.values
        tensors |= {f"{number}.aggregator.{name}": each for name, each in scorer.aggregator.tensors().items()}
        for adapter in scorer.adapters:
            tensors |= {
                f"adapter.{adapter}.{name}": each for name, each in model.base.tensors(adapter).items()
            }
    return write_folder(path, about, tensors)


def read_lora(path: Path, saved: Saved, base: Path | None) -> LoraModel:
    """The model of a folder that was read.

    Args:
        path: the folder, for what is said of it.
        saved: what it holds.
        base: where the base model lies now; by default where it lay in training.

    Raises:
        ArtifactError: not whole, or the base model is gone or another one.
        KeyError: a part is missing.
    """
    about = saved.about
    folder = base or Path(str(about["base"]))
    if not folder.is_dir():
        raise ArtifactError(
            f"{path} needs its language model, and {folder} is gone.", hint="Name it with --base (`base`)."
        )
    if (found := fingerprint(folder)) != about["fingerprint"]:
        raise ArtifactError(
            f"{path} was trained over another language model than {folder}: fingerprint "
            f"{str(about['fingerprint'])[:12]}…, found {found[:12]}…."
        )
    model = Base(folder, int(about["tokens"]), int(about["rank"]))
    scorers: dict[str, LoraTask] = {}
    for task, facts in sorted(about["scorers"].items(), key=lambda each: each[1]["number"]):
        number = facts["number"]
        for adapter in facts["adapters"]:
            model.add(adapter, within(saved.tensors, f"adapter.{adapter}."))
        scorers[str(task)] = LoraTask(
            tuple(facts["heads"]),
            tuple(facts["adapters"]),
            saved.tensors[f"{number}.values"],
            aggregator_of(within(saved.tensors, f"{number}.aggregator.")),
            float(facts["length_slope"]),
        )
    router = TaskRouter.of(about["tasks"], saved.tensors)
    return LoraModel(router, scorers, model)
