from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coe.errors import ConfigError, DataError
from coe_routers.outcomes import Outcomes
from coe_routers.ranking import Plan, Ranking, rank
from coe_routers.ranking._rank import expected_excess

MEANS = np.array([[0.9, 0.5, 0.3], [0.3, 0.5, 0.9]])


def unscored(per_category: int, categories: int = 2, experts: int = 3) -> Outcomes:
    n = per_category * categories
    return Outcomes(
        prompt_ids=tuple(f"p{number}" for number in range(n)),
        prompts=tuple(f"prompt {number}" for number in range(n)),
        experts=tuple(f"e{number}" for number in range(experts)),
        categories=tuple(f"c{number}" for number in range(categories)),
        category=np.tile(np.arange(categories), per_category).astype(np.int32),
        scores=np.full((n, experts), np.nan, np.float32),
    )


def truth(outcomes: Outcomes, means: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.random(outcomes.scores.shape) < means[outcomes.category]).astype(np.float32)


def follow(ranking: Ranking, scores: np.ndarray, most: int = 100_000) -> int:
    """Evaluate what is proposed, one cell at a time, until nothing is; returns the number of evaluations."""
    spent = 0
    while spent < most:
        cells = ranking.cells(1)
        if not cells:
            return spent
        category, expert, rows, _ = cells[0]
        race = ranking.races[category]
        assert race.winner is None, "a cell of a settled category was proposed"
        assert not race.beaten[expert], "an expert that is out was proposed"
        assert len(rows), "a proposal without prompts"
        assert np.isnan(ranking.scores[rows, expert]).all(), "scored already"
        ranking.observe(category, expert, rows, scores[rows, expert])
        spent += len(rows)
    raise AssertionError("it does not end")


def test_a_clear_map_is_found_with_few_evaluations() -> None:
    outcomes = unscored(400)
    ranking = Ranking(outcomes, Plan())
    spent = follow(ranking, truth(outcomes, MEANS, 0))
    verdicts = ranking.standing().verdicts
    assert [(v.category, v.expert, v.settled) for v in verdicts] == [("c0", "e0", True), ("c1", "e2", True)]
    assert spent < 0.25 * outcomes.scores.size


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1000), experts=st.integers(2, 4), batch=st.integers(1, 12), first=st.integers(1, 6)
)
def test_it_ends_and_never_proposes_what_is_settled(seed: int, experts: int, batch: int, first: int) -> None:
    outcomes = unscored(30, experts=experts)
    means = np.random.default_rng(seed).random((2, experts))
    ranking = Ranking(outcomes, Plan(delta=0.3, tolerance=0.2, batch=batch, first=first))
    assert follow(ranking, truth(outcomes, means, seed)) <= outcomes.scores.size
    for verdict in ranking.standing().verdicts:
        assert verdict.settled or verdict.exhausted
        assert verdict.expert == verdict.contenders[0]


def test_a_map_is_settled_wrongly_less_often_than_delta() -> None:
    """The confidence is of all categories together, with adaptive choices in between."""
    plan, wrong, runs = Plan(delta=0.1, tolerance=0.2, batch=20), 0, 40
    means = np.array([[0.6, 0.6, 0.35], [0.4, 0.5, 0.65]])
    outcomes = unscored(600)
    for seed in range(runs):
        ranking = Ranking(outcomes, plan)
        follow(ranking, truth(outcomes, means, seed))
        winners = [race.winner for race in ranking.races]
        assert None not in winners
        wrong += any(means[c, e] <= means[c].max() - 0.2 for c, e in enumerate(winners) if e is not None)
    # At a true rate of 0.1, ten or more of forty have a chance below 0.006.
    assert wrong <= 9


def test_scores_that_exist_count() -> None:
    outcomes = unscored(400)
    scores = truth(outcomes, MEANS, 0)
    known = replace(outcomes, scores=scores)
    standing = rank(known)
    assert all(verdict.settled for verdict in standing.verdicts)
    assert standing.proposals == ()


def test_ties_are_left_open_when_prompts_run_out() -> None:
    outcomes = replace(unscored(20), scores=np.full((40, 3), 1.0, np.float32))
    verdicts = rank(outcomes, Plan(tolerance=0.01)).verdicts
    assert all(verdict.exhausted and len(verdict.contenders) == 3 for verdict in verdicts)


def test_every_expert_is_tried_everywhere_first() -> None:
    proposals = rank(unscored(30), Plan(first=4)).proposals
    assert {(p.category, p.expert) for p in proposals} == {
        (c, e) for c in ("c0", "c1") for e in ("e0", "e1", "e2")
    }
    assert {len(p.prompt_ids) for p in proposals} == {4}
    assert proposals[0].prompt_ids == ("p0", "p2", "p4", "p6")
    assert len(rank(unscored(30), Plan(first=4), limit=2).proposals) == 2


def test_a_category_without_prompts_is_left_out() -> None:
    outcomes = replace(unscored(30), categories=("c0", "c1", "unused"))
    standing = rank(outcomes)
    assert [verdict.category for verdict in standing.verdicts] == ["c0", "c1"]
    assert {proposal.category for proposal in standing.proposals} == {"c0", "c1"}


def test_what_cannot_be_ranked_is_refused() -> None:
    outcomes = unscored(30)
    with pytest.raises(DataError, match="category for every prompt"):
        rank(replace(outcomes, category=np.full(60, -1, np.int32)))
    with pytest.raises(DataError, match="two experts"):
        rank(outcomes.of_experts(["e0"]))


@pytest.mark.parametrize(
    "wrong", [{"delta": 0.0}, {"delta": 1.0}, {"tolerance": 0.0}, {"first": 0}, {"batch": 0}]
)
def test_a_senseless_plan_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"`{next(iter(wrong))}`"):
        Plan(**wrong)  # pyright: ignore[reportArgumentType]  (any number may be passed at run time)


@given(st.floats(-1, 1), st.floats(0, 1))
def test_expected_excess_is_what_sampling_gives(mean: float, deviation: float) -> None:
    drawn = mean + deviation * np.random.default_rng(0).standard_normal(20_000)
    assert expected_excess(mean, deviation) == pytest.approx(np.maximum(drawn, 0).mean(), abs=0.03)
