"""Map, expected score or the best single expert: settled by cross-validation, not by hope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from coe_routers.mapping._crossval import held_out, known_mean
from coe_routers.mapping._evidence import COVERED, Evidence, Rows
from coe_routers.mapping._infeasible import InfeasibleBudget
from coe_routers.mapping._problem import Budget
from coe_routers.mapping._rules import Kind, Solved, single_rule, solve_rule
from coe_routers.mapping._solver import ExpertMap, solve
from coe_routers.rules import Rule
from coe_routers.scores import bootstrap_mean, paired_bootstrap

CAUTIONS = (0.0, 1.0, 2.0)
"""How many standard deviations better than the best single expert another must be to be considered."""
CHEAPER = 0.95
"""A rule counts as cheaper than the best single expert at this part of its cost or less."""
LIKELY = 1.0
"""Standard errors above zero from which a gain is used. The two of a test would turn down more gains that are
real than losses that are not: a rule of no worth loses no more than its own noise."""
KINDS: tuple[Kind, ...] = ("expected", "map")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A rule and the evidence for it. Scores are means over held-out prompts of a cross-validation.

    Attributes:
        kind: what decides: category `map`, `expected` score, or the best `single` expert.
        map: the solved map; after a fall-back every category goes to `single`.
        rule: what the router decides by.
        caution: the degree of caution that cross-validation chose.
        single: the best single expert within the budget, None when none fits alone.
        score, score_ci95: expected score of `rule`.
        single_score: expected score of the best single expert, NaN without one.
        gain, gain_ci95: of the best rule over the best single expert, paired by prompt; also when that gain
            was too small to be used.
        tried: held-out score of each (kind, caution) that was tried.
        verdict: one sentence for people.
    """

    kind: str
    map: ExpertMap
    rule: Rule
    caution: float
    single: str | None
    score: float
    score_ci95: tuple[float, float]
    single_score: float
    gain: float
    gain_ci95: tuple[float, float]
    tried: tuple[tuple[str, float, float], ...]
    verdict: str

    @property
    def fell_back(self) -> bool:
        """Whether routing was given up for the best single expert."""
        return self.kind == "single"


def choose_map(
    evidence: Evidence,
    budget: Budget | None = None,
    *,
    seed: int,
    cautions: Sequence[float] = CAUTIONS,
    kinds: Sequence[Kind] = KINDS,
    repeats: int = 2,
    fall_back: bool = True,
) -> Choice:
    """Solve the map and decide how to use it.

    Every kind of rule is solved on four fifths of the prompts and scored on the fifth, with several degrees
    of caution. Considered are, in this order: `expected` before `map`, unless that is better beyond a
    standard error; of a kind the least cautious rule within a standard error of its best, then more cautious
    ones. The first that is worth it is used: one whose gain over the best single expert is more than a
    standard error (`LIKELY`), or a cheaper one that ties with it, down to half a standard error below. Where
    a more cautious one of its kind is better by half of one, a tie is not enough. If none is worth it, the
    best single expert answers everything.

    Args:
        fall_back: whether to do so; else the first considered is used, and the verdict says what it gains.

    Raises:
        InfeasibleBudget: no map fits the budget.
        ConfigError: the budget names an unknown category or expert.
    """
    budget = budget or Budget()
    first = _certain(solve_rule(evidence, budget, "map"))
    single = first.single
    options: list[tuple[Kind, float]] = [
        (kind, caution) for kind in kinds for caution in (cautions if single is not None else (0.0,))
    ]
    scored = held_out(
        evidence, lambda rows: _rules(evidence, budget, options, rows), seed=seed, repeats=repeats
    )
    alone, tried = scored[0], scored[1:]
    order = _order(options, tried)
    solved, best = first, order[0]
    worth_it = cheaper = False
    for best in order:
        kind, caution = options[best]
        made = solve_rule(evidence, budget, kind, caution=caution)
        if made is None:  # No prices keep the budget.
            continue
        solved = made
        if single is None:
            worth_it = True
            break
        gain, ci = paired_bootstrap(tried[best], alone, seed=seed)
        cheaper = _is_cheaper(evidence, made.rule, single_rule(evidence, single))
        error = _standard_error(ci)
        tied = gain > (error if _bettered(options, tried, best) else -error / 2)
        if worth_it := gain > LIKELY * error or (cheaper and tied) or not fall_back:
            break
    if not worth_it:
        best = order[0]
    kind, caution = options[best]
    gain, ci = paired_bootstrap(tried[best], alone, seed=seed)
    name = None if single is None else evidence.experts[single]
    used, rule, used_map, how = tried[best], solved.rule, solved.map, str(kind)
    if single is not None and not worth_it:
        used, rule, how = alone, single_rule(evidence, single), "single"
        required = replace(budget, required=dict.fromkeys(first.map.categories, evidence.experts[single]))
        used_map = solve(evidence.instance(budget, routed=True).problem, required)
    return Choice(
        kind=how,
        map=used_map,
        rule=rule,
        caution=caution,
        single=name,
        score=float(known_mean(used)),
        score_ci95=bootstrap_mean(used[np.isfinite(used)], seed=seed),
        single_score=float(known_mean(alone)),
        gain=gain,
        gain_ci95=ci,
        tried=tuple(
            (each, degree, float(known_mean(scores)))
            for (each, degree), scores in zip(options, tried, strict=True)
        ),
        verdict=_verdict(name, gain, ci, used_map, how, cheaper=cheaper),
    )


def _rules(
    evidence: Evidence, budget: Budget, options: Sequence[tuple[Kind, float]], rows: Rows
) -> list[Rule | None]:
    """The best single expert's rule, then one for each option, from these rows."""
    single = evidence.instance(budget, rows=rows).single
    rules: list[Rule | None] = [None if single is None else single_rule(evidence, single)]
    for kind, caution in options:
        try:
            solved = solve_rule(evidence, budget, kind, caution=caution, rows=rows)
        except InfeasibleBudget:  # A fold may lack what the whole has.
            solved = None
        rules.append(None if solved is None else solved.rule)
    return rules


def _order(options: Sequence[tuple[Kind, float]], tried: NDArray[np.float64]) -> list[int]:
    """The options in the order in which they are considered."""
    of_kind: dict[str, list[int]] = {}
    for number, (kind, _) in enumerate(options):
        of_kind.setdefault(kind, []).append(number)
    parts: list[tuple[int, list[int]]] = []
    for numbers in of_kind.values():
        means = np.nan_to_num(known_mean(tried[numbers]), nan=-1.0)
        top = numbers[int(means.argmax())]
        start = next(place for place, number in enumerate(numbers) if _as_good(tried[number], tried[top]))
        parts.append((top, numbers[start:]))
    if len(parts) > 1 and not _as_good(tried[parts[0][0]], tried[parts[1][0]]):
        parts.reverse()
    return [number for _, numbers in parts for number in numbers]


def _bettered(options: Sequence[tuple[Kind, float]], tried: NDArray[np.float64], number: int) -> bool:
    """Whether a more cautious option of the same kind is better by more than half a standard error."""
    kind, caution = options[number]
    return any(
        other == kind and more > caution and not _as_good(tried[number], scores, errors=0.5)
        for (other, more), scores in zip(options, tried, strict=True)
    )


def _as_good(scores: NDArray[np.float64], best: NDArray[np.float64], *, errors: float = 1.0) -> bool:
    """Whether scores are within so many standard errors, paired by prompt, of better ones."""
    gap = best - scores
    gap = gap[np.isfinite(gap)]
    return len(gap) > 0 and float(gap.mean()) <= errors * float(gap.std()) / np.sqrt(len(gap))


def _certain(solved: Solved | None) -> Solved:
    assert solved is not None, "a map rule exists whenever a map does"
    return solved


def _is_cheaper(evidence: Evidence, rule: Rule, other: Rule) -> bool:
    """Whether a rule costs clearly less than another, in USD where it is known of nearly all choices."""
    rows = np.arange(len(evidence))
    ours, theirs = (each.choose(evidence.probabilities, evidence.uncertain) for each in (rule, other))
    for cost in (evidence.usd, evidence.cost):
        paid, instead = cost[rows, ours], cost[rows, theirs]
        known = np.isfinite(paid) & np.isfinite(instead)
        if known.mean() >= COVERED:
            return bool(paid[known].mean() < CHEAPER * instead[known].mean())
    return False


def _standard_error(ci95: tuple[float, float]) -> float:
    return (ci95[1] - ci95[0]) / (2 * 1.96)


def _verdict(
    single: str | None,
    gain: float,
    ci: tuple[float, float],
    solved: ExpertMap,
    kind: str,
    *,
    cheaper: bool,
) -> str:
    if single is None:
        return "No expert alone fits the budget; the map mixes several to stay within it."
    points = f"{100 * gain:+.1f} points ({100 * ci[0]:+.1f} to {100 * ci[1]:+.1f})"
    if kind == "single":
        return (
            f"Routing does not beat `{single}` beyond noise on held-out prompts: {points}. "
            f"Every category goes to `{single}`."
        )
    if len(solved.used()) == 1:
        return f"One expert, `{solved.used()[0]}`, is best in every category: there is nothing to route."
    if ci[0] > 0:
        return f"Routing beats `{single}` on held-out prompts by {points}."
    also = ", at a lower cost" if cheaper else ""
    if gain > LIKELY * _standard_error(ci):
        return (
            f"Routing beats `{single}` on held-out prompts by {points}{also}: "
            "more than a standard error, but not beyond noise. It is used."
        )
    return f"Routing does not beat `{single}` beyond noise on held-out prompts: {points}{also}. It is used."
