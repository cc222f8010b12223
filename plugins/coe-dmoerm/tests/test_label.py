"""Labels from a judge: both orders, the budget, going on after a break."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from reward_data import pairs, write
from strategy_experts import Talker

from coe.contracts import Expert
from coe.errors import ArtifactError, DataError, ExpertUnavailable
from coe.wire import ChatRequest, last_user_text
from coe_dmoerm._items import read_data
from coe_dmoerm._label import (
    Labelled,
    Question,
    agreed,
    label,
    open_verdicts,
    own_answers,
    read_questions,
)


class Honest(Talker):
    """Names the answer without a question mark, wherever it stands."""

    def __init__(self) -> None:
        super().__init__("honest", "")

    def said(self, request: ChatRequest, number: int) -> str | None:
        shown = last_user_text(request.body).partition("Answer 1:")[2].partition("Which answer")[0]
        first, _, second = shown.partition("Answer 2:")
        return "I choose 2." if "?" in first else "1" if "?" in second else "neither"


def judged(questions: list[Question], judge: Expert, path: Path, budget: int = 1000) -> Labelled:
    async def run() -> Labelled:
        with open_verdicts(path, judge.card.name, budget) as verdicts:
            return await label(questions, {"polite": "politeness"}, judge, verdicts, clock=time.monotonic)

    return asyncio.run(run())


@pytest.fixture
def questions(tmp_path: Path) -> list[Question]:
    return read_questions([write(tmp_path / "pairs.jsonl", pairs(6))])


def test_an_honest_judge_is_kept_and_what_it_says_trains(questions: list[Question], tmp_path: Path) -> None:
    found = judged(questions, Honest(), tmp_path / "calls.jsonl")
    assert [row["label"] for row in found.rows] == [each.row["label"] for each in questions]
    assert (found.calls, found.agreement("polite"), found.complete) == (12, 1.0, True)
    data = read_data([write(tmp_path / "labels.jsonl", found.rows)])
    assert {pair.aspect for pair in data.pairs} == {"polite"}


def test_a_judge_that_prefers_a_place_is_discarded(questions: list[Question], tmp_path: Path) -> None:
    found = judged(questions, Talker("first", "1"), tmp_path / "calls.jsonl")
    assert found.rows == []
    assert found.outcomes == {"polite": {"disagree": 6}}
    assert found.agreement("polite") == 0.0
    silent = judged(questions, Talker("silent", "well"), tmp_path / "others.jsonl")
    assert (silent.outcomes, silent.agreement("polite")) == ({"polite": {"no verdict": 6}}, None)


@pytest.mark.parametrize(
    ("straight", "swapped", "outcome"),
    [
        ("1", "2", "a"),
        ("The better one is 2 (not 1)", "1", "b"),
        ("1", "1", "disagree"),
        ("1", "", "no verdict"),
        ("3", "2", "no verdict"),
    ],
)
def test_verdicts(straight: str, swapped: str, outcome: str) -> None:
    assert agreed(straight, swapped) == outcome


@pytest.mark.parametrize("budget", [1, 5, 11])
def test_the_budget_is_hard_and_a_larger_one_goes_on(
    questions: list[Question], tmp_path: Path, budget: int
) -> None:
    path, judge = tmp_path / "calls.jsonl", Honest()
    first = judged(questions, judge, path, budget)
    assert (len(judge.asked), first.calls, first.complete) == (budget, budget, False)
    assert len(first.rows) >= (budget - 4) // 2  # four pairs at once may be cut in half
    second = judged(questions, judge, path, 12)
    assert (len(judge.asked), second.complete, len(second.rows)) == (12, True, 6)


def test_a_failed_call_counts_and_a_line_cut_short_is_dropped(
    questions: list[Question], tmp_path: Path
) -> None:
    path = tmp_path / "calls.jsonl"
    with pytest.raises(ExpertUnavailable):
        judged(questions, Talker("honest", None), path)
    spent = path.read_text().count('"call"')
    assert spent >= 1
    with path.open("a") as file:
        file.write('{"key": "x", "sa')
    assert judged(questions, Honest(), path).calls == spent + 12


def test_verdicts_of_another_judge_are_refused(questions: list[Question], tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    judged(questions, Honest(), path)
    with pytest.raises(ArtifactError, match="keeps verdicts of `honest`, not of `first`"):
        judged(questions, Talker("first", "1"), path)
    path.write_text("nonsense\n")
    with pytest.raises(ArtifactError, match="does not hold kept verdicts"):
        judged(questions, Honest(), path)


def test_a_judge_of_its_own_answers_is_found_out(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = pairs(4)
    rows[0]["model_a"] = "honest"
    rows[1]["models"] = "other_Honest"
    rows[2]["model_b"] = "other"
    assert own_answers(read_questions([write(tmp_path / "p.jsonl", rows)]), Honest()) == 2


def test_a_row_without_a_pair_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", [{"prompt": "x", "response_a": "y"}])
    with pytest.raises(DataError, match=r"p.jsonl:1: `response_b` must be a text"):
        read_questions([path])
