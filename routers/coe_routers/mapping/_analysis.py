"""What a map rests on: budget against score, each expert's worth, stability, how few experts would do."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from coe_routers.mapping._crossval import held_out, known_mean
from coe_routers.mapping._evidence import Evidence, Rows
from coe_routers.mapping._infeasible import InfeasibleBudget
from coe_routers.mapping._problem import Budget, Problem
from coe_routers.mapping._rules import Kind, solve_rule
from coe_routers.mapping._solver import ExpertMap, solve
from coe_routers.rules import Rule
from coe_routers.scores import bootstrap_mean, paired_bootstrap


@dataclass(frozen=True, slots=True)
class FrontPoint:
    """One map of the Pareto front: no other is both cheaper and better.

    Attributes:
        spend: what it uses of the limit that was swept.
        value: its expected value.
        map: the map.
    """

    spend: float
    value: float
    map: ExpertMap


def pareto_front(
    problem: Problem, axis: str, budget: Budget | None = None, *, points: int = 20
) -> tuple[FrontPoint, ...]:
    """Exact maps over a sweep of one limit, cheapest first, dominated ones left out.

    Args:
        axis: name of the limit (one of `LIMITS`).
        budget: other limits, kept throughout; its value of `axis` is ignored.
        points: steps of the sweep, from the cheapest feasible map to the unlimited one.

    Returns:
        Empty when the fact is unknown of every expert.
    """
    budget = replace(budget or Budget(), **{axis: None})
    try:
        solve(problem, replace(budget, **{axis: 1e-9 if axis != "max_experts" else 1}))
        low = 1.0
    except InfeasibleBudget as error:
        if axis not in error.smallest:
            return ()
        low = error.smallest[axis]
    free = solve(problem, replace(budget, **{axis: 1e12}))
    high = max(free.spends.get(axis, low), low)
    limits = np.unique(np.linspace(low, high, points) * (1 + 1e-9))
    if axis == "max_experts":
        limits = np.unique(np.ceil(limits - 1e-6))
    front: list[FrontPoint] = []
    for limit in limits.tolist():
        try:
            solved = solve(problem, replace(budget, **{axis: int(limit) if axis == "max_experts" else limit}))
        except InfeasibleBudget:  # The lowest limits may round to just below what is feasible.
            continue
        spend = solved.spends[axis]
        if not front or solved.value > front[-1].value + 1e-9:
            front.append(FrontPoint(spend, solved.value, solved))
    return tuple(front)


@dataclass(frozen=True, slots=True)
class Marginal:
    """What is lost without one expert: `loss` in value; infinite when no map fits without it."""

    expert: str
    loss: float


def marginal_values(problem: Problem, budget: Budget, solved: ExpertMap) -> tuple[Marginal, ...]:
    """Loss of value without each expert, largest first. An expert that the map does not use loses nothing."""
    losses = dict.fromkeys(range(len(problem.experts)), 0.0)
    for expert in np.unique(solved.chosen).tolist():
        try:
            losses[expert] = max(solved.value - solve(problem.without(expert), budget).value, 0.0)
        except InfeasibleBudget:
            losses[expert] = float("inf")
    order = sorted(losses, key=lambda expert: (-losses[expert], expert))
    return tuple(Marginal(problem.experts[expert], losses[expert]) for expert in order)


@dataclass(frozen=True, slots=True)
class Stability:
    """How firmly a category's expert is settled.

    Attributes:
        kept: share of resamples in which the map chooses the same expert.
        rival: the expert chosen most often instead, None when there is none.
        rival_share: share of resamples that choose the rival.
    """

    category: str
    expert: str
    kept: float
    rival: str | None
    rival_share: float


def stability(
    evidence: Evidence,
    budget: Budget,
    solved: ExpertMap,
    *,
    caution: float,
    seed: int,
    resamples: int = 100,
) -> tuple[Stability, ...]:
    """Solve again on resampled prompts (within each category, so that none vanishes) and count."""
    rng = np.random.default_rng(seed)
    routed = len(solved.categories) > len(evidence.categories)
    category = evidence.routed if routed else evidence.label
    of_category = [np.flatnonzero(category == c) for c in range(len(solved.categories))]
    votes = np.zeros((len(solved.categories), len(evidence.experts)), dtype=np.int64)
    every = np.arange(len(solved.categories))
    for _ in range(resamples):
        rows = np.concatenate([rng.choice(mine, len(mine)) for mine in of_category if len(mine)])
        problem = evidence.instance(budget, caution=caution, rows=rows, routed=routed).problem
        try:
            votes[every, solve(problem, budget).chosen] += 1
        except InfeasibleBudget:  # Resampled costs may leave no map; such a resample supports nobody.
            continue
    return tuple(
        _settled(solved, c, expert, votes[c] / resamples) for c, expert in enumerate(solved.chosen.tolist())
    )


def _settled(solved: ExpertMap, c: int, expert: int, share: NDArray[np.float64]) -> Stability:
    others = share.copy()
    others[expert] = -1.0
    rival = int(others.argmax())
    has_rival = others[rival] > 0
    return Stability(
        solved.categories[c],
        solved.experts[expert],
        float(share[expert]),
        solved.experts[rival] if has_rival else None,
        float(others[rival]) if has_rival else 0.0,
    )


_PRUNING_FOLDS = 3
"""Each fold solves one program for every size of the pool; with many experts these are the slow ones."""


@dataclass(frozen=True, slots=True)
class PruningPoint:
    """A pool cut down to at most `k` experts.

    Attributes:
        experts: the ones to keep.
        score, score_ci95: held-out score of the map over so few experts.
        loss, loss_ci95: what it loses against the whole pool, paired by prompt.
        measurable: whether the interval of the loss lies above zero.
    """

    k: int
    experts: tuple[str, ...]
    score: float
    score_ci95: tuple[float, float]
    loss: float
    loss_ci95: tuple[float, float]
    measurable: bool


def pruning_curve(
    evidence: Evidence,
    budget: Budget,
    solved: ExpertMap,
    *,
    kind: Kind,
    caution: float,
    seed: int,
    most: int = 8,
) -> tuple[PruningPoint, ...]:
    """Best maps with at most 1, 2, ... experts, against the whole pool, by cross-validation.

    The smallest pool whose loss is not measurable is the answer to which experts can be switched off.
    Sizes go up to `most`; the last point is the whole pool.
    """
    whole_size = len(solved.used())
    kept: list[tuple[int, tuple[str, ...]]] = []
    for k in range(1, min(whole_size, most + 1)):
        try:
            cut = solve_rule(evidence, replace(budget, max_experts=k), kind, caution=caution)
        except InfeasibleBudget:
            continue
        if cut is not None:
            kept.append((k, cut.map.used()))
    sizes = [k for k, _ in kept]
    scored = held_out(
        evidence,
        lambda rows: [_within(evidence, budget, kind, caution, k, rows) for k in (*sizes, None)],
        seed=seed,
        k=_PRUNING_FOLDS,
        repeats=1,
    )
    kept.append((whole_size, solved.used()))
    return tuple(
        _point(k, experts, scores, scored[-1], seed=seed)
        for (k, experts), scores in zip(kept, scored, strict=True)
    )


def _within(
    evidence: Evidence, budget: Budget, kind: Kind, caution: float, k: int | None, rows: Rows
) -> Rule | None:
    within = budget if k is None else replace(budget, max_experts=k)
    try:
        cut = solve_rule(evidence, within, kind, caution=caution, rows=rows)
    except InfeasibleBudget:  # A fold may lack what the whole has.
        return None
    return None if cut is None else cut.rule


def _point(
    k: int,
    experts: tuple[str, ...],
    scores: NDArray[np.float64],
    whole: NDArray[np.float64],
    *,
    seed: int,
) -> PruningPoint:
    seen = scores[np.isfinite(scores)]
    loss, ci = paired_bootstrap(whole, scores, seed=seed)
    return PruningPoint(
        k=k,
        experts=experts,
        score=float(known_mean(scores)),
        score_ci95=bootstrap_mean(seen, seed=seed),
        loss=loss,
        loss_ci95=ci,
        measurable=bool(ci[0] > 0),
    )
