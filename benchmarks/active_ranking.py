"""How many evaluations active ranking saves against uniform sampling, on recorded outcomes.

    OMP_NUM_THREADS=1 python benchmarks/active_ranking.py [SET ...] [--seeds 10] [--json FILE]

Two questions, each over seeds, with 95% bootstrap intervals over the seeds:

1. settle: prompts of each category are drawn with replacement, without end, so that the recorded means are
   the truth. How many evaluations until every category is settled within `--tolerance`, at 95% confidence for
   all together? Uniform sampling evaluates every expert on the same prompts and stops each category by the
   very same test as soon as it is settled.
2. budget: each recorded score can be bought once. What map does a number of evaluations buy, and how far is
   its mean score below that of the map solved from all scores?

Needs the folder named by COE_DATA.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from recorded import load

from coe_routers.outcomes import Outcomes
from coe_routers.ranking import Plan, Race, Ranking
from coe_routers.scores import score_table

SETS: Mapping[str, tuple[str, float | None]] = {
    "llmrouter": ("llmrouter", None),
    "mmlu_pro_15b": ("mmlu_pro", 15.0),
    "zeroeval": ("zeroeval", None),
    "bfcl": ("bfcl", None),
}
SHARES = (0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4)
"""Evaluations bought, as shares of all recorded ones."""
REGRETS = (0.5, 1.0)
"""Points of mean score below the full map that count as equally correct."""
BUDGETED = Plan(tolerance=0.005, first=3, batch=5)
"""A tolerance this small settles next to nothing: the budget is spent on the choice alone."""
STREAM = 6000
"""Prompts drawn per category; a category still open then counts as unsettled."""


def complete(name: str) -> Outcomes:
    """The set's prompts that every expert was scored on, in categories of 30 prompts or more."""
    source, limit = SETS[name]
    outcomes, _ = load(source, max_active_b=limit)
    size = np.bincount(outcomes.category, minlength=len(outcomes.categories))
    keep = np.isfinite(outcomes.scores).all(axis=1) & (size[outcomes.category] >= 30)
    found = outcomes.rows(np.flatnonzero(keep))
    used, category = np.unique(found.category, return_inverse=True)
    names = tuple(found.categories[c] for c in used.tolist())
    return replace(
        found,
        categories=names,
        category=category.astype(np.int32),
        cost_usd=None,
        output_tokens=None,
        response_chars=None,
        latency_s=None,
    )


def means(outcomes: Outcomes) -> np.ndarray:
    """Recorded mean of every cell, float64[c, m]: the truth."""
    return np.stack(
        [outcomes.scores[outcomes.category == c].mean(axis=0) for c in range(len(outcomes.categories))]
    ).astype(np.float64)


def hidden(outcomes: Outcomes) -> Outcomes:
    """The same prompts without any score."""
    return replace(outcomes, scores=np.full_like(outcomes.scores, np.nan))


# --- 1: until everything is settled ---


def settle(outcomes: Outcomes, plan: Plan, seed: int) -> dict[str, Any]:
    """Evaluations of both until every category is settled, and whether any winner is wrong."""
    truth = means(outcomes)
    rng = np.random.default_rng(seed)
    rows = np.concatenate(
        [rng.choice(np.flatnonzero(outcomes.category == c), STREAM) for c in range(len(outcomes.categories))]
    )
    stream = replace(
        outcomes,
        prompt_ids=tuple(map(str, range(len(rows)))),
        prompts=("",) * len(rows),
        category=outcomes.category[rows],
        scores=outcomes.scores[rows],
        tools=(),
    )
    ranking = Ranking(hidden(stream), plan)
    spent = follow(ranking, stream.scores)
    active = [race.winner for race in ranking.races]
    uniform_spent, uniform = 0, []
    for c in range(len(outcomes.categories)):
        count, winner = uniformly(stream.scores[stream.category == c], plan, len(outcomes.categories))
        uniform_spent += count
        uniform.append(winner)
    return {
        "active": spent,
        "uniform": uniform_spent,
        "active_wrong": wrong(active, truth, plan.tolerance),
        "uniform_wrong": wrong(uniform, truth, plan.tolerance),
        "active_open": active.count(None),
        "uniform_open": uniform.count(None),
    }


def follow(ranking: Ranking, scores: np.ndarray) -> int:
    """Evaluate the most useful cell of each open category, round by round, until all are settled."""
    spent = 0
    while cells := ranking.cells():
        done: set[int] = set()
        for category, expert, rows, gain in cells:
            if gain < np.inf and category in done:
                continue
            done.add(category)
            ranking.observe(category, expert, rows, scores[rows, expert])
            spent += len(rows)
    return spent


def uniformly(scores: np.ndarray, plan: Plan, categories: int) -> tuple[int, int | None]:
    """Evaluations and winner when all experts see the same prompts; the same test, found by bisection."""
    n, m = scores.shape

    def winner(count: int) -> int | None:
        race = Race(n, m, alpha=plan.delta / (2 * (m - 1) * categories), tolerance=plan.tolerance)
        for expert in range(m):
            race.observe(expert, np.arange(count), scores[:count, expert])
        return race.winner

    low, high = 0, n // plan.batch
    if (last := winner(n)) is None:
        return n * m, None
    while high - low > 1:
        middle = (low + high) // 2
        found = winner(middle * plan.batch)
        low, high, last = (middle, high, last) if found is None else (low, middle, found)
    return high * plan.batch * m, last


def wrong(winners: list[int | None], truth: np.ndarray, tolerance: float) -> bool:
    """Whether any winner is not within the tolerance of its category's best."""
    return any(truth[c].max() - truth[c, e] >= tolerance for c, e in enumerate(winners) if e is not None)


# --- 2: what a budget buys ---


def budget(outcomes: Outcomes, plan: Plan, seed: int) -> dict[str, list[float]]:
    """Regret in points of both after each of `SHARES`."""
    rng = np.random.default_rng(seed)
    shuffled = outcomes.rows(rng.permutation(len(outcomes)))
    truth = means(outcomes)
    share = np.bincount(outcomes.category, minlength=len(truth)) / len(outcomes)
    limits = [int(part * outcomes.scores.size) for part in SHARES]

    def regret(scores: np.ndarray) -> float:
        table = score_table(
            scores, shuffled.category, categories=outcomes.categories, experts=outcomes.experts
        )
        picked = table.value.argmax(axis=1)
        return 100.0 * float(share @ (truth.max(axis=1) - truth[np.arange(len(truth)), picked]))

    uniform: list[float] = []
    for limit in limits:
        known = np.full_like(shuffled.scores, np.nan)
        # The same share of every category, one expert's prompts after the other's.
        for c in range(len(truth)):
            rows = np.flatnonzero(shuffled.category == c)
            cells = max(round(len(rows) * limit / len(shuffled) / shuffled.scores.shape[1]), 1)
            known[rows[:cells]] = shuffled.scores[rows[:cells]]
        uniform.append(regret(known))
    ranking, active, spent = Ranking(hidden(shuffled), plan), list[float](), 0
    while len(active) < len(limits):
        cells = ranking.cells(len(truth))
        for category, expert, rows, _ in cells:
            ranking.observe(category, expert, rows, shuffled.scores[rows, expert])
            spent += len(rows)
            while len(active) < len(limits) and spent >= limits[len(active)]:
                active.append(regret(ranking.scores))
        if not cells:
            active += [regret(ranking.scores)] * (len(limits) - len(active))
    return {"active": active, "uniform": uniform}


def needed(curve: np.ndarray, target: float) -> float:
    """Share of evaluations at which a mean regret curve first falls to the target, interpolated; else 1."""
    below = np.flatnonzero(curve <= target)
    if not len(below):
        return 1.0
    at = int(below[0])
    if at == 0:
        return SHARES[0]
    high, low = curve[at - 1], curve[at]
    return SHARES[at - 1] + (SHARES[at] - SHARES[at - 1]) * float((high - target) / (high - low))


def interval(count: int, statistic: Callable[[np.ndarray], float]) -> list[float]:
    """The statistic over all seeds, and its interval under resampling of seeds."""
    rng = np.random.default_rng(0)
    drawn = [statistic(rng.integers(0, count, count)) for _ in range(1000)]
    low, high = np.quantile(drawn, [0.025, 0.975]).tolist()
    return [statistic(np.arange(count)), low, high]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="*", default=list(SETS), metavar="SET")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--settle-seeds", type=int, default=5)
    parser.add_argument("--tolerance", type=float, default=0.05)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results: list[dict[str, Any]] = []
    for name in options.sets:
        outcomes = complete(name)
        c, m = len(outcomes.categories), len(outcomes.experts)
        print(
            f"{name}: {c} categories, {m} experts, {len(outcomes)} prompts, "
            f"{outcomes.scores.size} evaluations"
        )
        curves = [budget(outcomes, BUDGETED, seed) for seed in range(options.seeds)]
        active, uniform = (np.array([curve[kind] for curve in curves]) for kind in ("active", "uniform"))
        for place, part in enumerate(SHARES):
            print(
                f"  {part:6.1%}: {active[:, place].mean():5.2f} points short active, "
                f"{uniform[:, place].mean():5.2f} uniform"
            )
        row: dict[str, Any] = {
            "set": name,
            "shares": SHARES,
            "active": active.tolist(),
            "uniform": uniform.tolist(),
        }
        for target in REGRETS:

            def saved(
                seeds: np.ndarray, target: float = target, a: np.ndarray = active, u: np.ndarray = uniform
            ) -> float:
                return 1.0 - needed(a[seeds].mean(axis=0), target) / needed(u[seeds].mean(axis=0), target)

            row[f"saved_at_{target}"] = found = interval(len(curves), saved)
            print(
                f"  within {target} points: active {needed(active.mean(axis=0), target):.1%}, uniform "
                f"{needed(uniform.mean(axis=0), target):.1%} of all; saves {found[0]:.0%} "
                f"({found[1]:.0%} to {found[2]:.0%})",
                flush=True,
            )
        plan = Plan(delta=0.05, tolerance=options.tolerance, batch=25)
        runs = [settle(outcomes, plan, seed) for seed in range(options.settle_seeds)]
        row["settle"] = runs
        if runs:
            a, u = (np.array([run[kind] for run in runs], float) for kind in ("active", "uniform"))

            def saved_settling(seeds: np.ndarray, a: np.ndarray = a, u: np.ndarray = u) -> float:
                return 1.0 - float(a[seeds].sum() / u[seeds].sum())

            row["settle_saved"] = found = interval(len(runs), saved_settling)
            print(
                f"  settled within {options.tolerance}: active {a.mean():.0f}, uniform {u.mean():.0f}; saves "
                f"{found[0]:.0%} ({found[1]:.0%} to {found[2]:.0%}); maps with a wrong winner "
                f"{sum(run['active_wrong'] for run in runs)} and "
                f"{sum(run['uniform_wrong'] for run in runs)} of {len(runs)}; open "
                f"{sum(run['active_open'] for run in runs)} and "
                f"{sum(run['uniform_open'] for run in runs)}",
                flush=True,
            )
        results.append(row)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
