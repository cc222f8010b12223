from __future__ import annotations

import ctypes
import itertools
from dataclasses import replace
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from coe.errors import ConfigError
from coe_routers.mapping import (
    LIMITS,
    Budget,
    InfeasibleBudget,
    Latency,
    Problem,
    _milp,
    _search,
    best_single_map,
    solve,
)


def instance(seed: int, c: int = 4, m: int = 4, *, coarse: bool = False, latencies: int = 60) -> Problem:
    """A random instance; `coarse` values make ties likely."""
    rng = np.random.default_rng(seed)
    size = np.exp(rng.normal(2.5, 1, m)).round(1) + 1
    value = rng.random((c, m)).round(1) if coarse else rng.random((c, m))
    category = np.concatenate([np.arange(c), rng.integers(0, c, latencies)])
    seconds = (size[None] * 0.1 * np.exp(rng.normal(0, 0.5, (len(category), m)))).astype(np.float32)
    allowed = rng.random((c, m)) < 0.9
    allowed[:, 0] = True
    return Problem(
        categories=tuple(f"c{n}" for n in range(c)),
        experts=tuple(f"e{n}" for n in range(m)),
        share=np.bincount(category, minlength=c) / len(category),
        value=value,
        allowed=allowed,
        active_params_b=size,
        total_params_b=size * rng.choice([1.0, 4.0], m),
        usd_per_1k=size[None] * np.exp(rng.normal(0, 0.3, (c, m))),
        latency=Latency(seconds, category.astype(np.int32)),
        tie_cost=np.tile(size, (c, 1)),
    )


def fits(problem: Problem, budget: Budget, chosen: np.ndarray, slack: float = 1e-9) -> bool:
    """Whether a map respects the budget, from first principles."""
    rows = np.arange(len(chosen))
    if not problem.restricted(budget)[rows, chosen].all():
        return False
    used = np.unique(chosen)
    limits = budget.limits()
    checks = {
        "active_params_b": problem.share @ problem.active_params_b[chosen],
        "total_params_b": problem.total_params_b[used].sum(),
        "usd_per_1k": problem.share @ problem.usd_per_1k[rows, chosen],
        "max_experts": len(used),
    }
    if "p95_latency_s" in limits:
        assert problem.latency is not None
        category = problem.latency.category
        seconds = problem.latency.seconds[np.arange(len(category)), chosen[category]]
        if (seconds > limits["p95_latency_s"]).mean() > 0.05 + slack:
            return False
    return all(checks[name] <= limit * (1 + slack) for name, limit in limits.items() if name in checks)


def exhaustive(problem: Problem, budget: Budget) -> tuple[float, np.ndarray] | None:
    """Value (with the tie term) and map of the best of all maps, or None."""
    rows = np.arange(len(problem.categories))
    worth = problem.value - 1e-5 * problem.tie_cost / problem.tie_cost.max()
    best: tuple[float, np.ndarray] | None = None
    for picks in itertools.product(range(len(problem.experts)), repeat=len(rows)):
        chosen = np.array(picks)
        if fits(problem, budget, chosen):
            value = float(problem.share @ worth[rows, chosen])
            if best is None or value > best[0] + 1e-12:
                best = value, chosen
    return best


def textbook(problem: Problem, budget: Budget) -> float:
    """Best value by the formulation with one link per cell, nothing reduced."""
    c, m = problem.value.shape
    z, limits, rows = c * m, budget.limits(), []
    for e in range(m):
        for row in range(c):
            link = np.zeros(z + m)
            link[row * m + e], link[z + e] = 1, -1
            rows.append((link, 0.0))
    for name, limit in limits.items():
        row = np.zeros(z + m)
        if name == "total_params_b":
            row[z:] = problem.total_params_b
        elif name == "max_experts":
            row[z:] = 1
        else:
            row[:z] = (problem.share[:, None] * problem.spending(name, limit)).ravel()
        rows.append((row, 0.05 if name == "p95_latency_s" else limit))
    one = np.hstack([np.kron(np.eye(c), np.ones(m)), np.zeros((c, m))])
    found = milp(
        -np.concatenate([(problem.share[:, None] * problem.value).ravel(), np.zeros(m)]),
        integrality=np.ones(z + m),
        bounds=Bounds(0, np.concatenate([problem.allowed.ravel().astype(float), np.ones(m)])),
        constraints=[
            LinearConstraint(one, 1, 1),
            LinearConstraint(np.array([row for row, _ in rows]), -np.inf, [limit for _, limit in rows]),
        ],
        options={"mip_rel_gap": 0},
    )
    return -float(found.fun)


BUDGETS = st.fixed_dictionaries(
    {},
    optional={
        "active_params_b": st.floats(0.3, 1.2),
        "total_params_b": st.floats(0.1, 1.0),
        "usd_per_1k": st.floats(0.3, 1.2),
        "p95_latency_s": st.floats(0.2, 1.1),
        "max_experts": st.integers(1, 4),
    },
)


def scaled(problem: Problem, factors: dict[str, float]) -> Budget:
    """Limits around what the unlimited map spends, so that they matter."""
    free = solve(problem).spends
    limits: dict[str, Any] = {name: factor * free[name] for name, factor in factors.items()}
    if "max_experts" in factors:
        limits["max_experts"] = int(factors["max_experts"])
    return Budget(**limits)


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10**6), factors=BUDGETS, coarse=st.booleans(), small=st.sampled_from([0, 300]))
def test_no_map_is_better(seed: int, factors: dict[str, float], coarse: bool, small: int) -> None:
    """By HiGHS alone, and by the search that instances of more than `small` cells go through."""
    problem = instance(seed, coarse=coarse)
    budget = scaled(problem, factors)
    best = exhaustive(problem, budget)
    if best is None:
        with pytest.raises(InfeasibleBudget):
            solve(problem, budget)
        return
    with patch.object(_search, "_SMALL", small):
        solved = solve(problem, budget)
    assert fits(problem, budget, solved.chosen, slack=1e-6)
    rows = np.arange(len(solved.chosen))
    worth = problem.value - 1e-5 * problem.tie_cost / problem.tie_cost.max()
    assert problem.share @ worth[rows, solved.chosen] == pytest.approx(best[0], abs=1e-6)
    assert solved.value == pytest.approx(problem.share @ problem.value[rows, solved.chosen])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), factors=BUDGETS)
def test_what_an_infeasible_budget_proposes_is_smallest(seed: int, factors: dict[str, float]) -> None:
    problem = instance(seed, c=3, m=4)
    hard = {name: factor if name == "max_experts" else 0.3 * factor for name, factor in factors.items()}
    tight = scaled(problem, hard)
    if exhaustive(problem, tight) is None:
        with pytest.raises(InfeasibleBudget) as error:
            solve(problem, tight)
        for name, least in error.value.smallest.items():
            assert f"{name} to" in str(error.value)
            number: float = int(least) if name == "max_experts" else least * (1 + 1e-6)
            solve(problem, replace(tight, **{name: number}))
            below = number - 1 if name == "max_experts" else number * 0.999
            if below > 0:
                with pytest.raises(InfeasibleBudget):
                    solve(problem, replace(tight, **{name: below}))


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("seed", [1, 2])
def test_value_never_falls_as_the_budget_grows(name: str, seed: int) -> None:
    problem = instance(seed, c=12, m=8, latencies=300)
    top = solve(problem).spends[name]
    steps = range(1, int(top) + 1) if name == "max_experts" else np.linspace(0.2, 1.1, 12) * top
    values = []
    for limit in steps:
        try:
            values.append(solve(problem, Budget(**{name: limit})).value)
        except InfeasibleBudget:
            assert not values, "feasible at a smaller budget, infeasible at a larger one"
    assert len(values) > 1
    assert all(later >= earlier - 1e-5 for earlier, later in pairwise(values))


@pytest.mark.parametrize(
    "limits",
    [
        {"max_experts": 3},
        {"total_params_b": 0.4},
        {"max_experts": 4, "usd_per_1k": 0.7},
        {"active_params_b": 0.7, "usd_per_1k": 0.7, "p95_latency_s": 0.7},
        {
            "active_params_b": 0.8,
            "total_params_b": 0.5,
            "usd_per_1k": 0.7,
            "p95_latency_s": 0.8,
            "max_experts": 4,
        },
    ],
)
def test_the_reduced_program_agrees_with_the_whole_one(limits: dict[str, float]) -> None:
    """Instances too large to enumerate, against scipy's milp on the textbook formulation."""
    for seed in range(3):
        problem = instance(seed, c=25, m=10, latencies=200)
        budget = scaled(problem, limits)
        assert solve(problem, budget).value == pytest.approx(textbook(problem, budget), abs=2e-5)


JOINT = {
    "active_params_b": 0.8,
    "total_params_b": 0.6,
    "usd_per_1k": 0.8,
    "p95_latency_s": 0.9,
    "max_experts": 3,
}


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), name=st.sampled_from(sorted(JOINT)), more=st.floats(1.01, 1.6))
def test_more_of_one_limit_never_costs_value_while_others_bind(seed: int, name: str, more: float) -> None:
    problem = instance(seed, c=10, m=7, latencies=200)
    tight = scaled(problem, JOINT)
    limit = tight.limits()[name]
    wide = replace(tight, **{name: int(limit) + 1 if name == "max_experts" else limit * more})
    try:
        value = solve(problem, tight).value
    except InfeasibleBudget:
        return
    # The weight of the tie cost: a map of equal value may be the cheaper one.
    assert solve(problem, wide).value >= value - 1e-5


@pytest.mark.parametrize("seed", range(4))
def test_bounds_and_branches_agree_with_the_whole_program(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing left to HiGHS but single sets of experts, the search itself must find the best map."""
    for name in ("_CORE", "_CORE_AVERAGED", "_SMALL"):
        monkeypatch.setattr(_search, name, 0)
    problem = instance(seed, c=12, m=8, latencies=200)
    for factors in (JOINT, {"total_params_b": 0.4}, {"max_experts": 2, "usd_per_1k": 0.7}):
        budget = scaled(problem, dict(factors))
        try:
            value = solve(problem, budget).value
        except InfeasibleBudget:
            continue
        assert value == pytest.approx(textbook(problem, budget), abs=2e-5)


def test_a_search_that_gives_up_says_how_far_from_the_best_it_may_be() -> None:
    problem = instance(7, c=60, m=20, latencies=200)
    budget = scaled(problem, {"total_params_b": 0.4, "usd_per_1k": 0.7})
    whole, cut = solve(problem, budget), solve(problem, replace(budget, nodes=1))
    assert whole.gap == 0.0
    assert cut.gap > 1e-4
    assert cut.value - 1e-5 <= whole.value <= cut.value + cut.gap + 1e-5
    assert fits(problem, budget, cut.chosen, slack=1e-6)


def test_what_the_library_prints_does_not_reach_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    """A command's JSON goes there."""
    libc = ctypes.CDLL(None)
    with _milp.quiet():
        libc.puts(b"debugging")
    libc.puts(b"later")
    libc.fflush(None)
    assert capfd.readouterr().out == "later\n"


def test_the_95th_percentile_is_that_of_all_requests_together() -> None:
    """One slow category within the slowest 5% may stay slow; one beyond it may not."""
    rng = np.random.default_rng(0)
    for slow_share, expected in ((0.04, ["good", "good"]), (0.06, ["fast", "good"])):
        n = 1000
        category = (np.arange(n) >= slow_share * n).astype(np.int32)
        slow = np.where(category == 0, 9.0, 0.5) * rng.uniform(0.9, 1.0, n)
        problem = Problem(
            categories=("rare", "usual"),
            experts=("good", "fast"),
            share=np.array([slow_share, 1 - slow_share]),
            value=np.array([[0.9, 0.5], [0.9, 0.5]]),
            allowed=np.ones((2, 2), dtype=bool),
            active_params_b=np.array([10.0, 1.0]),
            total_params_b=np.array([10.0, 1.0]),
            usd_per_1k=np.ones((2, 2)),
            latency=Latency(np.stack([slow, np.full(n, 0.2)], axis=1).astype(np.float32), category),
            tie_cost=np.ones((2, 2)),
        )
        solved = solve(problem, Budget(p95_latency_s=1.0))
        assert list(solved.named().values()) == expected
        assert problem.latency is not None
        seconds = problem.latency.seconds[np.arange(n), solved.chosen[category]]
        assert solved.spends["p95_latency_s"] == pytest.approx(
            float(np.quantile(seconds, 0.95, method="inverted_cdf")), rel=1e-6
        )
        assert solved.spends["p95_latency_s"] <= 1.0


def test_equal_maps_go_to_the_cheaper() -> None:
    problem = replace(instance(0), value=np.full((4, 4), 0.5), allowed=np.ones((4, 4), dtype=bool))
    cheapest = int(problem.active_params_b.argmin())
    assert solve(problem).chosen.tolist() == [cheapest] * 4
    assert solve(problem, Budget(max_experts=3)).chosen.tolist() == [cheapest] * 4
    assert best_single_map(problem) == cheapest


def test_required_and_forbidden_experts() -> None:
    problem = replace(instance(0), allowed=np.ones((4, 4), dtype=bool))
    solved = solve(
        problem, Budget(required={"c1": "e2"}, forbidden={"*": frozenset({"e0"}), "c3": frozenset({"e1"})})
    )
    assert solved.named()["c1"] == "e2"
    assert "e0" not in solved.used()
    assert solved.named()["c3"] != "e1"
    assert all(0 not in ranked for ranked in solved.ranked)


def test_ranking_stays_among_loaded_experts_when_loading_is_limited() -> None:
    problem = replace(instance(5, c=6, m=6), allowed=np.ones((6, 6), dtype=bool))
    free, few = solve(problem), solve(problem, Budget(max_experts=2))
    assert all(len(ranked) == 6 for ranked in free.ranked)
    loaded = set(few.chosen.tolist())
    assert all(set(ranked) == loaded for ranked in few.ranked)
    for solved in (free, few):
        assert [ranked[0] for ranked in solved.ranked] == solved.chosen.tolist()


def test_an_expert_of_unknown_size_is_left_out_and_named() -> None:
    problem = instance(1)
    size = problem.active_params_b.copy()
    size[2] = np.nan
    problem = replace(problem, active_params_b=size, allowed=np.ones((4, 4), dtype=bool))
    solved = solve(problem, Budget(active_params_b=50))
    assert solved.unknown == {"active_params_b": ("e2",)}
    assert "e2" not in solved.used()
    assert solve(problem, Budget(max_experts=3)).unknown == {}


def test_the_best_single_expert_respects_the_budget() -> None:
    problem = replace(instance(1), allowed=np.ones((4, 4), dtype=bool))
    for budget in (
        Budget(),
        Budget(active_params_b=float(np.sort(problem.active_params_b)[1])),
        Budget(max_experts=1),
    ):
        single = best_single_map(problem, budget)
        assert single is not None
        alone = [e for e in range(4) if fits(problem, budget, np.full(4, e))]
        assert single == max(alone, key=lambda e: problem.share @ problem.value[:, e])
    assert best_single_map(problem, Budget(active_params_b=0.1)) is None


def test_the_message_names_limits_and_what_would_do() -> None:
    problem = replace(instance(2), allowed=np.ones((4, 4), dtype=bool))
    with pytest.raises(
        InfeasibleBudget, match=r"No map fits active_params_b <= 0\.5\. Raise active_params_b to "
    ) as error:
        solve(problem, Budget(active_params_b=0.5))
    assert error.value.smallest["active_params_b"] == pytest.approx(problem.active_params_b.min())
    with pytest.raises(InfeasibleBudget, match=r"active_params_b alone needs .*usd_per_1k alone needs"):
        solve(problem, Budget(active_params_b=0.5, usd_per_1k=0.01))


def test_a_category_that_nobody_may_answer_is_named() -> None:
    problem = instance(2)
    with pytest.raises(InfeasibleBudget, match="No expert may answer `c1`"):
        solve(problem, Budget(forbidden={"c1": frozenset(problem.experts)}))


@pytest.mark.parametrize(
    ("budget", "says"),
    [
        (Budget(required={"nowhere": "e0"}), "category `nowhere`"),
        (Budget(forbidden={"*": frozenset({"nobody"})}), "expert `nobody`"),
    ],
)
def test_unknown_names(budget: Budget, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        solve(instance(0), budget)


def test_limits_are_positive() -> None:
    with pytest.raises(ConfigError, match="`max_experts` is 0"):
        Budget(max_experts=0)
    with pytest.raises(ConfigError, match="`nodes` is 0"):
        Budget(nodes=0)
