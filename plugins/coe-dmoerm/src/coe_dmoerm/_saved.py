"""Reward models on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coe.errors import ArtifactError
from coe_dmoerm._aggregator import aggregator_of
from coe_dmoerm._artifact import read_folder, write_folder
from coe_dmoerm._heads import heads_of
from coe_dmoerm._model import RewardModel, TaskScorer
from coe_dmoerm._reader import ALGORITHM
from coe_dmoerm._tasks import TaskRouter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe.contracts import Embedder

BACKBONE = "features"


@dataclass(frozen=True, slots=True)
class Opened:
    """A model with its embedder.

    Attributes:
        model: itself.
        embedder: the one it was trained with.
        about: facts of its training.
        revision: hash of all that.
    """

    model: RewardModel
    embedder: Embedder
    about: Mapping[str, Any]
    revision: str


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
    tensors: dict[str, NDArray[Any]] = {
        "router.weights": model.router.weights,
        "router.bias": model.router.bias,
    }
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


def read_model(path: Path, embedder: Callable[[str, Mapping[str, Any]], Embedder]) -> Opened:
    """Read a model and make its embedder.

    Args:
        path: its folder.
        embedder: makes one by kind and settings (`coe.contracts.Build.embedder`).

    Raises:
        ArtifactError: no intact model, or one of another reader or embedder.
    """
    saved = read_folder(path)
    about = saved.about
    try:
        if (about["backbone"], about["algorithm"]) != (BACKBONE, ALGORITHM):
            raise ArtifactError(
                f"{path} reads answers by `{about['backbone']}: {about['algorithm']}`; this version by "
                f"`{BACKBONE}: {ALGORITHM}`.",
                hint="Train it again.",
            )
        scorers = {
            str(task): TaskScorer(
                heads_of(facts["heads"], _within(saved.tensors, f"{facts['number']}.heads.")),
                aggregator_of(_within(saved.tensors, f"{facts['number']}.aggregator.")),
                float(facts["length_slope"]),
            )
            for task, facts in sorted(about["scorers"].items(), key=lambda each: each[1]["number"])
        }
        router = TaskRouter(
            tuple(about["tasks"]), saved.tensors["router.weights"], saved.tensors["router.bias"]
        )
        kind, fingerprint = str(about["embedder"]), str(about["fingerprint"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(f"{path} does not hold a whole reward model: {error!r}.") from error
    made = embedder(kind, {})
    if made.fingerprint != fingerprint:
        raise ArtifactError(
            f"{path} was made with other vectors of the embedder `{kind}`: fingerprint {fingerprint[:12]}…, "
            f"installed is {made.fingerprint[:12]}….",
            hint="Train it again, or install the embedder that made it.",
        )
    return Opened(RewardModel(router, scorers), made, about["training"], saved.revision)


def _within(tensors: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
