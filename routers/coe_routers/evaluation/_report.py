"""A trained router on outcomes that it has not seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coe.errors import DataError
from coe_routers.artifact import FindEmbedder, load_router
from coe_routers.classifiers import Abstention, mass_before
from coe_routers.evaluation._policies import PolicyRow, compare, knn_choice
from coe_routers.expected import load_rule
from coe_routers.features import routing_text
from coe_routers.mapping import Budget, cost_of
from coe_routers.offline import State, read_state
from coe_routers.outcomes import Outcomes
from coe_routers.training import accuracy, expected_calibration_error


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What `coe evaluate` says.

    Attributes:
        rows: policies; differences are to the best single expert, chosen on the training outcomes whatever
            the router's budget is.
        single: that expert.
        cost_unit: what costs count.
        general_share: part of the prompts sent to `general`.
        accuracy, calibration_error: of the classifier on prompts with a known category, NaN without any.
        categories: names of the rows and columns of `confusion`.
        confusion: int64[c, c + 1], true category by predicted one; the last column is `general`.
        experts: share of the prompts that each expert gets from the router.
        stated_coverage: how often prediction sets should hold the category, NaN where none were calibrated.
        coverage, set_size: how often they do, and how many categories they hold on average; NaN as
            `accuracy`.
        general_by: reason to part of the prompts sent to `general` for it.
    """

    rows: tuple[PolicyRow, ...]
    single: str
    cost_unit: str
    general_share: float
    accuracy: float
    calibration_error: float
    categories: tuple[str, ...]
    confusion: NDArray[np.int64]
    experts: dict[str, float]
    stated_coverage: float = float("nan")
    coverage: float = float("nan")
    set_size: float = float("nan")
    general_by: Mapping[str, float] = field(default_factory=dict[str, float])


def evaluate(path: Path, outcomes: Outcomes, find: FindEmbedder, *, seed: int) -> Report:
    """Compare a router with the best single expert, chance, k-NN and both oracles.

    Args:
        path: folder that `coe train` wrote.
        outcomes: recorded scores of its experts on other prompts.
        find: makes the embedder that the router was trained with.

    Raises:
        ArtifactError: the folder is refused.
        DataError: the outcomes know none of the router's experts.
    """
    artifact, _ = load_router(path, find)
    state = read_state(path)
    categories = artifact.classifier.categories
    rule = load_rule(path, artifact.facts, len(categories))
    outcomes = _aligned(outcomes, state)
    features = outcomes.features()
    found = artifact.classifier.classify(features)
    abstention = artifact.abstention
    reasons = abstention.reasons(found)
    uncertain = np.array([reason is not None for reason in reasons], np.bool_)
    single = _single(state)
    chosen: dict[str, NDArray[np.int64]] = {
        "router": rule.choose(found.probabilities.astype(np.float64), uncertain),
        "best single": np.full(len(outcomes), single),
    }
    within = artifact.facts.get("single")
    if within in rule.experts and within != rule.experts[single]:
        chosen["best single in budget"] = np.full(len(outcomes), rule.experts.index(within))
    embedder = artifact.classifier.encoder.embedder
    remembered = len(state.vectors)
    if embedder is not None and state.vectors.shape[1]:
        texts = [routing_text(each, tools=artifact.classifier.encoder.tools) for each in features]
        scores = state.evidence.scores[:remembered]
        chosen["k-NN per prompt"] = knn_choice(state.vectors, scores, embedder.embed(texts))
    label = _labels(outcomes, categories)
    known = label >= 0
    predicted = np.where(uncertain, len(categories), found.probabilities.argmax(axis=1))
    confusion = np.zeros((len(categories), len(categories) + 1), dtype=np.int64)
    np.add.at(confusion, (label[known], predicted[known]), 1)
    shares = np.bincount(chosen["router"], minlength=len(rule.experts)) / len(outcomes)
    return Report(
        rows=compare(
            outcomes.scores,
            cost_of(outcomes, state.cards, state.evidence.cost_unit),
            outcomes.category,
            chosen,
            reference="best single",
            seed=seed,
        ),
        single=rule.experts[single],
        cost_unit=state.evidence.cost_unit,
        general_share=float(uncertain.mean()),
        accuracy=accuracy(found.probabilities[known], label[known]) if known.any() else float("nan"),
        calibration_error=expected_calibration_error(found.probabilities[known], label[known])
        if known.any()
        else float("nan"),
        categories=categories,
        confusion=confusion,
        experts={name: float(share) for name, share in zip(rule.experts, shares, strict=True) if share > 0},
        general_by={
            reason.value: count / len(outcomes)
            for reason, count in Counter(reasons).items()
            if reason is not None
        },
        **_sets(abstention, found.probabilities[known], label[known]),
    )


def _sets(rule: Abstention, probabilities: NDArray[np.float32], label: NDArray[np.int64]) -> dict[str, float]:
    """What is reported of prediction sets, of n prompts whose category is known."""
    if rule.set_mass is None or rule.coverage is None or not len(label):
        return {}
    held = mass_before(probabilities)[np.arange(len(label)), label] <= rule.set_mass
    return {
        "stated_coverage": rule.coverage,
        "coverage": float(held.mean()),
        "set_size": float(rule.set_sizes(probabilities).mean()),
    }


def _aligned(outcomes: Outcomes, state: State) -> Outcomes:
    """The outcomes with the router's experts as columns, NaN where one is missing."""
    wanted = state.evidence.experts
    if not set(wanted) & set(outcomes.experts):
        raise DataError(
            "The outcomes know none of the router's experts.", hint=f"It knows: {', '.join(wanted)}."
        )
    return outcomes.with_experts(wanted)


def _single(state: State) -> int:
    """The best single expert of the training outcomes; the most recorded one when none covers them all."""
    best = state.evidence.instance(Budget()).single
    return int(np.isfinite(state.evidence.scores).sum(axis=0).argmax()) if best is None else best


def _labels(outcomes: Outcomes, categories: tuple[str, ...]) -> NDArray[np.int64]:
    column = {name: number for number, name in enumerate(categories)}
    of_name = np.array([*(column.get(name, -1) for name in outcomes.categories), -1], dtype=np.int64)
    return of_name[outcomes.category]
