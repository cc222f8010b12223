"""Map or best single expert: settled by cross-validation, not by hope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from coe_routers.mapping._crossval import held_out
from coe_routers.mapping._evidence import Evidence, Rows
from coe_routers.mapping._infeasible import InfeasibleBudget
from coe_routers.mapping._problem import Budget, Problem
from coe_routers.mapping._solver import ExpertMap, solve
from coe_routers.scores import bootstrap_mean, paired_bootstrap

CAUTIONS = (0.0, 0.5, 1.0, 2.0)
"""How many standard deviations better than the best single expert another must be to be considered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A map and the evidence for it. Scores are means over held-out prompts of a cross-validation.

    Attributes:
        map: the map to use; after a fall-back every category goes to `single`.
        caution: the degree of caution that cross-validation chose.
        single: the best single expert within the budget, None when none fits alone.
        score, score_ci95: expected score of `map`.
        single_score: expected score of the best single expert, NaN without one.
        gain, gain_ci95: `score - single_score` of the solved map, paired by prompt; also after a fall-back.
        fell_back: whether the solved map was given up for the best single expert.
        verdict: one sentence for people.
    """

    map: ExpertMap
    caution: float
    single: str | None
    score: float
    score_ci95: tuple[float, float]
    single_score: float
    gain: float
    gain_ci95: tuple[float, float]
    fell_back: bool
    verdict: str


def choose_map(
    evidence: Evidence,
    budget: Budget | None = None,
    *,
    seed: int,
    cautions: Sequence[float] = CAUTIONS,
    repeats: int = 2,
) -> Choice:
    """Solve the map and decide whether to use it.

    For each degree of caution the map is solved on four fifths of the prompts and scored on the fifth; the
    best degree wins. The map is used when its held-out gain over the best single expert exceeds one standard
    error, or when it gains anything at a lower cost; else the best single expert answers everything.

    Raises:
        InfeasibleBudget: no map fits the budget.
        ConfigError: the budget names an unknown category or expert.
    """
    budget = budget or Budget()
    problem, single = evidence.problem(budget)
    solve(problem, budget)  # Raises before the long part when nothing fits.
    if single is None:
        cautions = (0.0,)
    scored = held_out(
        evidence, lambda rows: _solved(evidence, budget, cautions, rows), seed=seed, repeats=repeats
    )
    alone, maps = scored[0], scored[1:]
    best = int(np.argmax(np.nan_to_num(_mean(maps), nan=-np.inf)))
    cautious, _ = evidence.problem(budget, caution=float(cautions[best]))
    gain, ci = paired_bootstrap(maps[best], alone, seed=seed)
    solved = solve(cautious, budget)
    cheaper = single is not None and _cost(cautious, solved.chosen) < _cost(
        cautious, np.full_like(solved.chosen, single)
    )
    worth_it = gain > (ci[1] - ci[0]) / (2 * 1.96) or (cheaper and gain > 0)
    fell_back = single is not None and not worth_it
    if fell_back and single is not None:
        alone_only = dict.fromkeys(evidence.categories, evidence.experts[single])
        solved = solve(cautious, replace(budget, required=alone_only))
    used = alone if fell_back else maps[best]
    name = None if single is None else evidence.experts[single]
    return Choice(
        map=solved,
        caution=float(cautions[best]),
        single=name,
        score=float(_mean(used)),
        score_ci95=bootstrap_mean(used[np.isfinite(used)], seed=seed),
        single_score=float(_mean(alone)),
        gain=gain,
        gain_ci95=ci,
        fell_back=fell_back,
        verdict=_verdict(name, gain, ci, solved, fell_back=fell_back, cheaper=cheaper),
    )


def _cost(problem: Problem, chosen: NDArray[np.int64]) -> float:
    """Mean cost of a map in the unit of ties; NaN, which compares as not cheaper, when unknown."""
    return float(problem.share @ problem.tie_cost[np.arange(len(chosen)), chosen])


def _solved(
    evidence: Evidence, budget: Budget, cautions: Sequence[float], rows: Rows
) -> list[NDArray[np.int64] | None]:
    """The best single expert's map and one map for each caution, from these rows."""
    maps: list[NDArray[np.int64] | None] = []
    for caution in cautions:
        problem, single = evidence.problem(budget, caution=caution, rows=rows)
        if not maps:
            maps.append(None if single is None else np.full(len(evidence.categories), single))
        try:
            maps.append(solve(problem, budget).chosen)
        except InfeasibleBudget:  # A fold may lack what the whole has.
            maps.append(None)
    return maps


def _mean(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over the last axis without NaN; NaN where there is nothing else."""
    seen = np.isfinite(scores)
    count = seen.sum(axis=-1)
    return np.where(count > 0, np.where(seen, scores, 0.0).sum(axis=-1) / np.maximum(count, 1), np.nan)


def _verdict(
    single: str | None,
    gain: float,
    ci: tuple[float, float],
    solved: ExpertMap,
    *,
    fell_back: bool,
    cheaper: bool,
) -> str:
    if single is None:
        return "No expert alone fits the budget; the map mixes several to stay within it."
    points = f"{100 * gain:+.1f} points ({100 * ci[0]:+.1f} to {100 * ci[1]:+.1f})"
    if fell_back:
        return (
            f"Routing does not beat `{single}` on held-out prompts: {points}, not above one standard error. "
            f"Every category goes to `{single}`."
        )
    if len(solved.used()) == 1:
        return f"One expert, `{solved.used()[0]}`, is best in every category: there is nothing to route."
    if ci[0] <= 0:
        also = ", at a lower cost" if cheaper else ""
        return f"Routing does not beat `{single}` beyond noise on held-out prompts: {points}{also}."
    return f"Routing beats `{single}` on held-out prompts by {points}."
