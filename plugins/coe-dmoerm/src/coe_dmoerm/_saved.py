"""Reward models on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coe.errors import ArtifactError
from coe_dmoerm._aggregator import aggregator_of
from coe_dmoerm._artifact import Saved, read_folder, within, write_folder
from coe_dmoerm._heads import heads_of
from coe_dmoerm._model import RewardModel, TaskScorer
from coe_dmoerm._reader import ALGORITHM
from coe_dmoerm._scored import Scored, Scorer
from coe_dmoerm._tasks import TaskRouter
from coe_dmoerm.lora import _model as lora

if TYPE_CHECKING:
    from coe.contracts import Embedder
    from coe_dmoerm._items import Item

BACKBONE = "features"


@dataclass(frozen=True, slots=True)
class Opened:
    """A model with what reads answers for it.

    Attributes:
        model: ready to score.
        about: facts of its training.
        revision: hash of all that.
    """

    model: Scorer
    about: Mapping[str, Any]
    revision: str


@dataclass(frozen=True, slots=True)
class FeatureScorer:
    """A reward model of features with the embedder that it was trained with."""

    model: RewardModel
    embedder: Embedder

    @property
    def heads(self) -> Mapping[str, tuple[str, ...]]:
        """Names of the heads, by task."""
        return {task: scorer.heads.names for task, scorer in self.model.scorers.items()}

    def score(self, items: Sequence[Item], *, correct_length: bool = False) -> list[Scored]:
        """Score items. One whose task is not known is routed, as one without a task."""
        return self.model.score(items, self.embedder, correct_length=correct_length)


def write_model(
    path: Path, model: RewardModel, embedder: tuple[str, str], training: Mapping[str, Any]
) -> str:
    """Write a model. Returns the revision.

    Args:
        path: the folder.
        model: what to write.
        embedder: kind and fingerprint of the embedder that it was trained with.
        training: facts for people, JSON.

    Raises:
        ArtifactError: it cannot be written there.
    """
    tensors = model.router.tensors()
    about: dict[str, Any] = {
        "backbone": BACKBONE,
        "algorithm": ALGORITHM,
        "embedder": embedder[0],
        "fingerprint": embedder[1],
        "tasks": list(model.router.tasks),
        "scorers": {},
        "training": dict(training),
    }
    for number, (task, scorer) in enumerate(model.scorers.items()):
        about["scorers"][task] = {
            "number": number,
            "heads": list(scorer.heads.names),
            "length_slope": scorer.length_slope,
        }
        for part, found in (("heads", scorer.heads.tensors()), ("aggregator", scorer.aggregator.tensors())):
            tensors |= {f"{number}.{part}.{name}": tensor for name, tensor in found.items()}
    return write_folder(path, about, tensors)


def read_model(
    path: Path, embedder: Callable[[str, Mapping[str, Any]], Embedder], base: Path | None = None
) -> Opened:
    """Read a model and make what reads answers for it.

    Args:
        path: its folder.
        embedder: makes one by kind and settings (`coe.contracts.Build.embedder`).
        base: where the language model of a `lora` model lies, if it was moved since.

    Raises:
        ArtifactError: no intact model, or one of another reader, embedder or language model.
        PluginError: a `lora` model without the extra `lora`.
    """
    saved = read_folder(path)
    about = saved.about
    try:
        backbone = (str(about["backbone"]), str(about["algorithm"]))
        if backbone == (BACKBONE, ALGORITHM):
            model = _features(path, saved, embedder)
        elif backbone == (lora.BACKBONE, lora.ALGORITHM):
            model = lora.read_lora(path, saved, base)
        else:
            raise ArtifactError(
                f"{path} reads answers by `{': '.join(backbone)}`; this version by "
                f"`{BACKBONE}: {ALGORITHM}` or `{lora.BACKBONE}: {lora.ALGORITHM}`.",
                hint="Train it again.",
            )
        return Opened(model, about["training"], saved.revision)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(f"{path} does not hold a whole reward model: {error!r}.") from error


def _features(
    path: Path, saved: Saved, embedder: Callable[[str, Mapping[str, Any]], Embedder]
) -> FeatureScorer:
    about = saved.about
    scorers = {
        str(task): TaskScorer(
            heads_of(facts["heads"], within(saved.tensors, f"{facts['number']}.heads.")),
            aggregator_of(within(saved.tensors, f"{facts['number']}.aggregator.")),
            float(facts["length_slope"]),
        )
        for task, facts in sorted(about["scorers"].items(), key=lambda each: each[1]["number"])
    }
    router = TaskRouter.of(about["tasks"], saved.tensors)
    kind, fingerprint = str(about["embedder"]), str(about["fingerprint"])
    made = embedder(kind, {})
    if made.fingerprint != fingerprint:
        raise ArtifactError(
            f"{path} was made with other vectors of the embedder `{kind}`: fingerprint {fingerprint[:12]}…, "
            f"installed is {made.fingerprint[:12]}….",
            hint="Train it again, or install the embedder that made it.",
        )
    return FeatureScorer(RewardModel(router, scorers), made)
