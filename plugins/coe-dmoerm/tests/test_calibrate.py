"""Thresholds of cascades, and the journal's candidates as outcomes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reward_data import write
from strategy_experts import Judge, Talker

from coe.contracts import Candidate
from coe.errors import DataError
from coe.testing import build, chat, context, create, load
from coe_dmoerm._answers import outcomes_of, read_answered
from coe_dmoerm._calibrate import Answered, calibrate, cheapest, climb
from coe_routers.outcomes import read_outcomes


def world(prompts: int = 200, noise: float = 0.0, seed: int = 0) -> Answered:
    """A cheap expert that is right on half of the prompts, a dear one on all; rewards know it, less noise."""
    draw = np.random.default_rng(seed)
    right = (draw.random(prompts) < 0.5).astype(float)
    scores = np.stack([right, np.ones(prompts)], axis=1)
    usd = np.tile([1.0, 10.0], (prompts, 1))
    return Answered(("small", "large"), scores + noise * draw.normal(size=scores.shape), scores, usd)


def test_a_judge_that_knows_halves_the_cost() -> None:
    found = calibrate(world(), 0.0)
    assert 0 < found.thresholds[0] <= 1
    assert found.held_back.score.mean() == 1.0
    assert found.held_back.usd.mean() == pytest.approx(1 + 10 * (world().scores[:, 0] == 0).mean())
    assert found.single == "large"


def test_a_judge_that_knows_nothing_asks_the_best_one() -> None:
    blind = world(noise=1e6)
    found = climb(blind, cheapest(blind, 0.0))
    assert found.score.mean() == 1.0
    # What may be lost is spent on the cheaper one.
    assert climb(blind, cheapest(blind, 0.2)).usd.mean() < found.usd.mean()


@given(st.integers(0, 10_000), st.floats(0, 0.3), st.integers(2, 3))
@settings(max_examples=10, deadline=None)
def test_no_more_is_lost_than_allowed_where_it_was_chosen(seed: int, loss: float, experts: int) -> None:
    draw = np.random.default_rng(seed)
    shape = (30, experts)
    answered = Answered(
        tuple("abc"[:experts]),
        draw.normal(size=shape),
        draw.random(shape).cumsum(axis=1),
        draw.random(shape),
    )
    found = climb(answered, cheapest(answered, loss))
    assert found.score.mean() >= answered.scores.mean(axis=0).max() - loss - 1e-9
    moved = Answered(answered.experts, answered.rewards + 5, answered.scores, answered.usd)
    np.testing.assert_array_equal(climb(moved, cheapest(moved, loss)).step, found.step)


def test_rows_without_an_expert_are_left_out_and_wrong_ones_are_named(tmp_path: Path) -> None:
    row: dict[str, Any] = {"prompt": "p", "scores": {"a": 0, "b": 1}, "rewards": {"a": 0.5, "b": 2}}
    path = write(tmp_path / "rows.jsonl", [row, {**row, "scores": {"a": 1}}])
    found = read_answered([path], ["a", "b"], None)
    assert (found.scores.tolist(), found.rewards.tolist()) == ([[0, 1]], [[0.5, 2]])
    for change, said in (
        ({"scores": {"a": "x", "b": 1}}, "`scores.a` must be a number"),
        ({"rewards": 3}, "`rewards` must be an object by expert, found int"),
        ({"cost_usd": {"a": 1}}, "`cost_usd` says nothing of `b`"),
    ):
        write(path, [{**row, **change}])
        with pytest.raises(DataError, match=f"rows.jsonl:1: {said}"):
            read_answered([path], ["a", "b"], None)
    with pytest.raises(DataError, match="expected 2 experts and 10 prompts"):
        calibrate(found, 0.01)


def record(number: int, candidates: list[Candidate], prompt: str | None = "Which?") -> dict[str, Any]:
    return {
        "id": f"r{number}",
        "prompt": prompt,
        "category": "math",
        "candidates": msgspec.to_builtins(candidates),
    }


def test_what_best_of_n_leaves_in_the_journal_trains_a_router(tmp_path: Path) -> None:
    async def run() -> tuple[Candidate, ...]:
        experts = {"small": Talker("small", "fine"), "large": Talker("large", "best")}
        judge = Judge({"best": 2.0, "fine": 1.0})
        keys = {"experts": list(experts), "reward": "judge"}
        made = create(
            load("coe.experts", "best_of_n"), "best", keys, build(experts={**experts, "judge": judge})
        )
        return (await made.complete(chat("Which?"), context())).candidates

    found = list(asyncio.run(run()))
    path = write(
        tmp_path / "records.jsonl",
        [record(1, found), record(2, found[:1]), record(3, found, None), record(4, [])],
    )
    (row,) = outcomes_of(path)
    assert row["scores"] == {"large": pytest.approx(0.731059), "small": pytest.approx(0.268941)}
    outcomes = read_outcomes([write(tmp_path / "outcomes.jsonl", [row])])
    assert outcomes.experts == ("large", "small")


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=5), st.floats(-100, 100))
@settings(max_examples=25, deadline=None)
def test_a_constant_added_to_all_rewards_changes_no_outcome(rewards: list[float], constant: float) -> None:
    import tempfile

    def scores(add: float) -> dict[str, float]:
        candidates = [Candidate(expert=f"e{at}", reward=reward + add) for at, reward in enumerate(rewards)]
        with tempfile.TemporaryDirectory() as folder:
            (row,) = outcomes_of(write(Path(folder) / "r.jsonl", [record(1, candidates)]))
        return row["scores"]

    plain = scores(0.0)
    assert all(0 <= value <= 1 for value in plain.values())
    assert scores(constant) == pytest.approx(plain, abs=1e-5)


def test_what_is_no_record_is_named(tmp_path: Path) -> None:
    for row, said in (
        ({"prompt": "p"}, "`id` must be a text"),
        ({"id": "1", "candidates": [1]}, "`candidates`"),
    ):
        path = tmp_path / "records.jsonl"
        path.write_text(json.dumps(row) + "\n")
        with pytest.raises(DataError, match=said):
            list(outcomes_of(path))


@pytest.mark.parametrize(
    ("score", "said"), [(1.5, "0 to 1, found 1.5"), (float("nan"), "a number, found nan")]
)
def test_a_score_that_is_none_is_refused(tmp_path: Path, score: float, said: str) -> None:
    row = {"prompt": "?", "scores": {"a": score, "b": 0.5}, "rewards": {"a": 1.0, "b": 0.0}}
    with pytest.raises(DataError, match=rf"`scores\.a` must be {said}"):
        read_answered([write(tmp_path / "bad.jsonl", [row])], ["a", "b"], None)
