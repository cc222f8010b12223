"""A dynamic number of experts: as many as it takes until one of them is the right choice with probability p.

Source: Harder Tasks Need More Experts, arXiv 2403.07652, which takes the fewest experts whose routing
probabilities sum to p, inside one model. Here the probability of an expert is that it is the best choice for
the prompt's category, averaged over what the category may be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from coe.contracts import Decision, Features, PoolView, Ranked, Reason
from coe.errors import ArtifactError
from coe_routers.alternatives._prediction import Floats
from coe_routers.artifact import FindEmbedder, load_router, read_facts, save_expert_map
from coe_routers.decisions import decide
from coe_routers.store import read_tensors, tensor_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe.contracts import Classifier
    from coe_routers.scores import ScoreTable

FILE = "choices.safetensors"
FACT = "choices_experts"
"""Key of the router's facts that names the columns of `FILE`."""
_DRAWS = 4000
_TOP_CATEGORIES = 5

Pick = Literal["likeliest", "cheapest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What is known of m experts in c categories.

    Attributes:
        experts: m names.
        best: float64[c, m], probability that the expert is the best choice of the category; rows sum to 1.
        value: float64[c, m], expected scores.
        cost: float64[m], mean cost in any unit, NaN where unknown.
    """

    experts: tuple[str, ...]
    best: Floats
    value: Floats
    cost: Floats


def choices(table: ScoreTable, cost: Floats, *, seed: int, draws: int = _DRAWS) -> Choices:
    """How probable it is that each expert is the best choice of each category, given how little was measured.

    Drawn from a normal distribution around every cell's shrunken value with its error. An expert without
    prompts in a category has the largest error there, so it stays a candidate until it is measured.

    Args:
        table: score table of the categories of the classifier, in its order.
        cost: float64[m], mean cost of the experts, NaN where unknown.
        seed: of the draws.
        draws: how many.
    """
    rng = np.random.default_rng(seed)
    c, m = table.value.shape
    best = np.empty((c, m))
    for row in range(c):
        drawn = table.value[row] + table.error[row] * rng.standard_normal((draws, m))
        best[row] = np.bincount(drawn.argmax(axis=1), minlength=m) / draws
    return Choices(experts=table.experts, best=best, value=table.value, cost=cost)


def save_choices(path: Path, found: Choices) -> str:
    """Add choices to a trained router's folder; its classifier and map stay. Returns the new revision.

    Raises:
        ArtifactError: no router there, or it has other categories.
    """
    about = read_facts(path)
    if len(about.categories) != len(found.best):
        raise ArtifactError(f"{path} has {len(about.categories)} categories, the choices {len(found.best)}.")
    expert_map = {
        category: tuple(Ranked(expert, score) for expert, score in experts)
        for category, experts in about.expert_map.items()
    }
    tensors = {"best": found.best, "value": found.value, "cost": found.cost}
    content = tensor_bytes({name: array.astype(np.float32) for name, array in tensors.items()})
    return save_expert_map(path, expert_map, facts={FACT: list(found.experts)}, files={FILE: content})


class CumulativeRouter:
    """Candidates until their probability reaches p; one of them answers.

    Args:
        classifier: prompt to category.
        choices: what is known of the experts in the classifier's categories.
        p: probability that the candidates are to reach.
        pick: which candidate answers: the likeliest, or the cheapest.
        revision: hash of all four.
    """

    def __init__(
        self, classifier: Classifier, choices: Choices, *, p: float, pick: Pick, revision: str
    ) -> None:
        self._classifier = classifier
        self._choices = choices
        self._p = p
        self._cheapest = pick == "cheapest"
        self._revision = revision

    @property
    def revision(self) -> str:
        """Hash of classifier, choices and settings."""
        return self._revision

    def route(self, features: Features, view: PoolView) -> Decision:
        """Decide for one request. The experts with a score are the candidates, the rest is for fallback."""
        return self.route_batch([features], view)[0]

    def route_batch(self, features: Sequence[Features], view: PoolView) -> list[Decision]:
        """Decide for many requests; the same decisions as one by one."""
        if not features:
            return []
        found = self._classifier.classify(features)
        return [
            self._decide(
                each, view, found.probabilities[row].astype(np.float64), float(found.uncertainty[row])
            )
            for row, each in enumerate(features)
        ]

    def _decide(self, features: Features, view: PoolView, category: Floats, uncertainty: float) -> Decision:
        # Sums in a fixed order, so that a batch gives bit by bit what single prompts give.
        probability = category @ self._choices.best
        score = category @ self._choices.value
        eligible = [e for e, name in enumerate(self._choices.experts) if name in view.experts]
        order = candidates(probability, eligible, self._p)
        rest = sorted(set(eligible) - set(order), key=lambda e: (-probability[e], e))
        if self._cheapest:
            order = sorted(order, key=lambda e: (_known(self._choices.cost[e]), -probability[e], e))
        top: list[int] = np.argsort(-category, kind="stable")[:_TOP_CATEGORIES].tolist()
        names = self._classifier.categories
        return decide(
            features,
            view,
            [
                *(Ranked(self._choices.experts[e], round(float(np.clip(score[e], 0, 1)), 4)) for e in order),
                *(Ranked(self._choices.experts[e]) for e in rest),
            ],
            revision=self._revision,
            category=names[top[0]],
            probabilities=tuple((names[c], round(float(category[c]), 4)) for c in top),
            uncertainty=uncertainty,
            unsure=Reason.UNCERTAIN if uncertainty >= 1.0 else None,
        )


def candidates(probability: Floats, eligible: Sequence[int], p: float) -> list[int]:
    """The fewest eligible experts, likeliest first, that hold the share p of the eligible ones' probability.

    At least one where any is eligible. When none of them has any probability, the first one.
    """
    order = sorted(eligible, key=lambda e: (-probability[e], e))
    total = float(sum(probability[e] for e in order))
    taken, reached = list[int](), 0.0
    for e in order:
        if taken and reached >= p * total - 1e-12:
            break
        taken.append(e)
        reached += float(probability[e])
    return taken


def load_cumulative(
    path: Path, find: FindEmbedder, *, p: float, pick: Pick, revision: str
) -> CumulativeRouter:
    """Load a router folder that has choices. Raises `ArtifactError`."""
    artifact, _ = load_router(path, find)
    experts = artifact.facts.get(FACT)
    if not isinstance(experts, list) or not (path / FILE).is_file():
        raise ArtifactError(
            f"{path} holds no choices of experts.",
            hint="Make it with `coe train --router cumulative`.",
        )
    names = tuple(str(name) for name in experts)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    tensors = read_tensors(path / FILE)
    shape = (len(artifact.classifier.categories), len(names))
    found = Choices(
        experts=names,
        best=_tensor(tensors, "best", shape, path),
        value=_tensor(tensors, "value", shape, path),
        cost=_tensor(tensors, "cost", shape[1:], path),
    )
    return CumulativeRouter(artifact.classifier, found, p=p, pick=pick, revision=revision)


def _tensor(tensors: dict[str, NDArray[Any]], name: str, shape: tuple[int, ...], path: Path) -> Floats:
    found = tensors.get(name)
    if found is None or found.shape != shape:
        has = None if found is None else found.shape
        raise ArtifactError(f"{path / FILE}: `{name}` has shape {has}, expected {shape}.")
    return found.astype(np.float64)


def _known(cost: float) -> float:
    """An expert whose cost nobody knows is not the cheapest."""
    return cost if math.isfinite(cost) else math.inf
