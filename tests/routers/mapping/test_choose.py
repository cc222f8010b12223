from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from coe_routers.mapping import (
    Budget,
    Evidence,
    InfeasibleBudget,
    choose_map,
    marginal_values,
    pareto_front,
    pruning_curve,
    solve,
    solve_rule,
    stability,
)

SIZE = np.array([70.0, 30.0, 8.0, 3.0])


def recorded(truth: np.ndarray, n: int = 800, *, seed: int = 0, wrong: float = 0.1) -> Evidence:
    """Outcomes drawn from a true table, and a calibrated classifier that mistakes a share of the prompts."""
    rng = np.random.default_rng(seed)
    c, m = truth.shape
    label = rng.integers(0, c, n).astype(np.int32)
    believed = np.where(rng.random(n) < wrong, rng.integers(0, c, n), label)
    probabilities = np.full((n, c), wrong / c, dtype=np.float32)
    probabilities[np.arange(n), believed] += 1 - wrong
    scores = (rng.random((n, m)) < truth[label]).astype(np.float32)
    return Evidence(
        categories=tuple(f"c{number}" for number in range(c)),
        experts=tuple(f"e{number}" for number in range(m)),
        label=label,
        probabilities=probabilities,
        uncertain=rng.random(n) < 0.03,
        scores=scores,
        usd=np.tile(SIZE[:m] / 1e5, (n, 1)),
        latency_s=(SIZE[None, :m] * rng.uniform(0.05, 0.1, (n, m))).astype(np.float32),
        active_params_b=SIZE[:m],
        total_params_b=SIZE[:m],
        cost=np.tile(SIZE[:m] / 100, (n, 1)),
        cost_unit="usd_per_1k",
    )


SPECIALISTS = np.array([[0.9, 0.3, 0.3, 0.1], [0.3, 0.9, 0.3, 0.1], [0.3, 0.3, 0.9, 0.1]])
ALIKE = np.full((3, 4), 0.6)
ONE_BEST = np.array([[0.5, 0.9, 0.5, 0.4]] * 3)


def test_specialists_are_found_and_used() -> None:
    choice = choose_map(recorded(SPECIALISTS), seed=0)
    assert [choice.map.named()[f"c{number}"] for number in range(3)] == ["e0", "e1", "e2"]
    assert not choice.fell_back
    assert choice.gain_ci95[0] > 0.2
    assert choice.verdict.startswith("Routing beats")
    # Nine in ten prompts reach their specialist: 0.9 * 0.9 + 0.1 * (mean of the row).
    assert choice.score == pytest.approx(0.86, abs=0.04)


@pytest.mark.parametrize("seed", range(4))
def test_where_nothing_is_to_be_gained_the_best_single_expert_answers(seed: int) -> None:
    choice = choose_map(recorded(ONE_BEST, seed=seed), seed=seed)
    assert choice.map.used() == ("e1",)
    assert set(choice.rule.choose(np.eye(3), np.zeros(3, dtype=bool)).tolist()) == {1}


def test_luck_is_not_taken_for_skill() -> None:
    """Experts that are all alike: whatever is chosen must promise no gain."""
    gains = [choose_map(recorded(ALIKE, 300, seed=seed), seed=seed) for seed in range(6)]
    # Where nothing is lost by it, cheaper experts may answer.
    assert sum(choice.fell_back or "at a lower cost" in choice.verdict for choice in gains) >= 4
    assert not any(choice.verdict.startswith("Routing beats") for choice in gains)
    assert all(choice.gain_ci95[0] < 0.05 for choice in gains)


@pytest.mark.parametrize("kind", ["map", "expected"])
@pytest.mark.parametrize(
    "budget",
    [Budget(active_params_b=25), Budget(usd_per_1k=0.2), Budget(p95_latency_s=2.5), Budget(max_experts=2)],
)
def test_rules_keep_their_budget_on_the_evidence(kind: str, budget: Budget) -> None:
    evidence = recorded(SPECIALISTS)
    solved = solve_rule(evidence, budget, "map" if kind == "map" else "expected")
    assert solved is not None
    chosen = solved.rule.choose(evidence.probabilities, evidence.uncertain)
    rows = np.arange(len(evidence))
    assert evidence.latency_s is not None
    spent = {
        "active_params_b": SIZE[chosen].mean(),
        "usd_per_1k": 1000 * evidence.usd[rows, chosen].mean(),
        "p95_latency_s": np.quantile(evidence.latency_s[rows, chosen], 0.95, method="lower"),
        "max_experts": len(np.unique(chosen)),
    }
    for name, limit in budget.limits().items():
        # Latencies are those of the prompts' own categories, so a rule over routed ones may miss by a little.
        assert spent[name] <= limit * (1.1 if name == "p95_latency_s" else 1 + 1e-9)


def test_a_map_over_routed_categories_allows_for_a_confused_classifier() -> None:
    """A classifier that swaps two categories half the time: their specialists are no use."""
    evidence = recorded(SPECIALISTS, 3000, wrong=0.9)
    solved = solve_rule(evidence, Budget(), "map")
    assert solved is not None
    chosen = solved.rule.choose(evidence.probabilities, evidence.uncertain)
    alone = np.nanmax(evidence.scores.mean(axis=0))
    assert evidence.scores[np.arange(len(chosen)), chosen].mean() >= alone - 0.01


def test_an_expert_never_tried_on_a_label_does_not_get_it_through_mistakes() -> None:
    evidence = recorded(SPECIALISTS, 2000)
    scores = evidence.scores.copy()
    scores[evidence.label == 2, 1] = np.nan
    lucky = (evidence.routed == 2) & (evidence.label != 2)
    scores[lucky, 1] = 1.0
    choice = solve_rule(replace(evidence, scores=scores), Budget(), "map")
    assert choice is not None
    assert choice.map.named()["c2"] == "e2"
    assert all(1 not in choice.map.ranked[row] for row in (2,))


def test_when_no_expert_fits_alone_the_map_mixes() -> None:
    truth = np.array([[0.9, 0.2], [0.2, 0.9]])
    evidence = recorded(truth)
    required = Budget(required={"c0": "e0", "c1": "e1"})
    choice = choose_map(evidence, required, seed=0, kinds=("map",))
    assert choice.single is None
    assert not choice.fell_back
    assert "No expert alone" in choice.verdict
    assert np.isnan(choice.gain)


def test_an_infeasible_budget_is_explained() -> None:
    with pytest.raises(InfeasibleBudget, match="Raise active_params_b to 3"):
        choose_map(recorded(SPECIALISTS), Budget(active_params_b=2), seed=0)


def test_the_same_seed_gives_the_same_choice() -> None:
    first, second = (choose_map(recorded(SPECIALISTS, 300), seed=3) for _ in range(2))
    assert first.score_ci95 == second.score_ci95
    assert first.tried == second.tried


def test_the_front_rises_and_ends_at_the_unlimited_map() -> None:
    problem = recorded(SPECIALISTS).instance(Budget()).problem
    front = pareto_front(problem, "active_params_b")
    assert len(front) > 2
    assert all(left.spend < right.spend and left.value < right.value for left, right in pairwise(front))
    assert front[0].spend == pytest.approx(3.0)
    assert front[-1].value == pytest.approx(solve(problem).value, abs=1e-5)
    assert pareto_front(replace(problem, active_params_b=np.full(4, np.nan)), "active_params_b") == ()


def test_marginal_values() -> None:
    problem = recorded(SPECIALISTS).instance(Budget()).problem
    worth = {each.expert: each.loss for each in marginal_values(problem, Budget(), solve(problem))}
    assert worth["e3"] == 0.0
    assert all(worth[name] == pytest.approx(0.2, abs=0.05) for name in ("e0", "e1", "e2"))


def test_clear_assignments_are_stable_and_close_ones_are_not() -> None:
    truth = np.array([[0.9, 0.2, 0.2, 0.1], [0.55, 0.55, 0.2, 0.1], [0.2, 0.2, 0.9, 0.1]])
    evidence = recorded(truth, 400, wrong=0.0)
    solved = solve(evidence.instance(Budget()).problem)
    found = stability(evidence, Budget(), solved, caution=0.0, seed=0, resamples=60)
    assert found[0].kept > 0.95
    assert found[0].rival is None or found[0].rival_share < 0.05
    assert found[1].kept < 0.9
    assert {found[1].expert, found[1].rival} == {"e0", "e1"}


def test_pruning_keeps_what_is_needed() -> None:
    evidence = recorded(SPECIALISTS)
    solved = solve_rule(evidence, Budget(), "expected")
    assert solved is not None
    curve = pruning_curve(evidence, Budget(), solved.map, kind="expected", caution=0.0, seed=0)
    assert [point.k for point in curve] == [1, 2, 3]
    assert [point.measurable for point in curve] == [True, True, False]
    assert curve[-1].experts == ("e0", "e1", "e2")
    assert curve[0].loss > curve[1].loss > 0.05


def test_a_cheaper_rule_needs_no_more_than_a_gain() -> None:
    """Where half the price does slightly better, a gain within a standard error is enough."""
    truth = np.array([[0.9, 0.5], [0.6, 0.64], [0.6, 0.64]])
    found = recorded(truth, 900, seed=1, wrong=0.02)
    choice = choose_map(found, seed=0)
    chosen = choice.rule.choose(np.eye(3), np.zeros(3, dtype=bool))
    assert choice.single == "e0"
    assert choice.gain < (choice.gain_ci95[1] - choice.gain_ci95[0]) / 2
    assert not choice.fell_back
    assert set(chosen.tolist()) == {0, 1}


@pytest.mark.parametrize("seed", range(5))
def test_a_gain_within_a_standard_error_is_used_only_where_it_is_cheaper(seed: int) -> None:
    """Slightly better specialists that cost more: what is used gains more than a standard error."""
    truth = np.array([[0.74, 0.7, 0.3], [0.7, 0.72, 0.3], [0.68, 0.72, 0.3]])
    found = recorded(truth, 400, seed=seed, wrong=0.02)
    choice = choose_map(found, seed=seed)
    cheaper = "at a lower cost" in choice.verdict
    error = (choice.gain_ci95[1] - choice.gain_ci95[0]) / (2 * 1.96)
    assert choice.fell_back or cheaper or choice.gain > error or len(choice.map.used()) == 1
    if choice.fell_back:
        assert choice.map.used() == (choice.single,)
        assert "does not beat" in choice.verdict
    anyway = choose_map(found, seed=seed, fall_back=False)
    assert not anyway.fell_back


def test_what_costs_less_is_judged_in_usd_where_it_is_known() -> None:
    """Fewer characters at a higher price are not a lower cost."""
    truth = np.array([[0.9, 0.6], [0.6, 0.61], [0.6, 0.61]])
    found = recorded(truth, 900, seed=2, wrong=0.02)
    dear = replace(found, usd=np.tile([0.001, 0.002], (900, 1)), cost=np.tile([400.0, 200.0], (900, 1)))
    assert "at a lower cost" in choose_map(replace(dear, usd=np.full((900, 2), np.nan)), seed=0).verdict
    assert choose_map(dear, seed=0).fell_back
