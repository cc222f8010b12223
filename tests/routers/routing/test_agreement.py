"""Words that pull any prompt to a costly expert do not pull all of its pieces."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.contracts import Features, Reason
from coe.testing import build, create, load, pool_view
from coe_routers.routing._agreement import MAX_PIECES, PIECE_WORDS, pieces

MAP = {"science": "strong", "coding": "strong", "writing": "cheap"}
GADGET = "reactor magnetism chemical solar reactor atomic carbon earthquakes"
POEM = "Write a short poem about rain on a Sunday morning for my grandmother"
CODE = "Write a Python function that merges two sorted lists and returns a new sorted list"


@functools.cache
def router(*guarded: str, general: str = "cheap") -> Any:
    settings = {"map": {**MAP, "general": general}, "guarded": guarded}
    echo = load("coe.experts", "echo")
    experts = {name: create(echo) for name in ("cheap", "strong")}
    plugin = load("coe.routers", "two-step")
    return create(plugin, settings=settings, build=build(experts=experts))


@pytest.mark.parametrize("prompt", [f"{GADGET} {POEM}", f"{POEM} {GADGET}"])
def test_a_guarded_expert_is_not_reached_by_a_gadget(prompt: str) -> None:
    view = pool_view("cheap", "strong")
    assert router().route(Features(text=prompt), view).expert == "strong"
    decision = router("strong").route(Features(text=prompt), view)
    assert (decision.expert, decision.category, decision.reason) == ("cheap", "general", Reason.UNCERTAIN)


def test_a_guarded_expert_answers_what_is_his() -> None:
    view = pool_view("cheap", "strong")
    plain, guarded = router(), router("strong")
    decision = guarded.route(Features(text=CODE), view)
    assert (decision.expert, decision.category) == ("strong", "coding")
    assert guarded.route(Features(text="Sort a list in Python"), view).expert == "strong"
    assert plain.revision != guarded.revision


def test_nothing_is_disputed_where_nobody_else_could_answer() -> None:
    guarded = router("strong")
    assert guarded.route(Features(text=f"{GADGET} {POEM}"), pool_view("strong")).category == "science"
    everything = router("strong", general="strong")
    assert (
        everything.route(Features(text=f"{GADGET} {POEM}"), pool_view("cheap", "strong")).expert == "strong"
    )


def test_a_batch_decides_as_one_by_one() -> None:
    view = pool_view("cheap", "strong")
    guarded = router("strong")
    many = [Features(text=text) for text in (CODE, POEM, f"{GADGET} {POEM}")]
    assert guarded.route_batch(many, view) == [guarded.route(each, view) for each in many]


@given(st.lists(st.text("ab", min_size=1), max_size=200))
def test_pieces_are_few_and_hold_the_first_and_the_last_words(words: list[str]) -> None:
    found = pieces(" ".join(words))
    assert 1 <= len(found) <= MAX_PIECES
    if len(words) > PIECE_WORDS:
        assert all(len(piece.split()) == PIECE_WORDS for piece in found)
        assert found[0].split() == words[:PIECE_WORDS]
        assert found[-1].split() == words[-PIECE_WORDS:]
