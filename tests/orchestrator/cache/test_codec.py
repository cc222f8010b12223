"""Stored decisions: all of them come back, and nothing else does."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.cache._codec import SCHEMA, decode, encode
from coe.contracts import Decision, Excluded, Ranked, Reason

KEY = bytes(range(20))
names = st.text(max_size=12)
shares = st.floats(0, 1)
decisions = st.builds(
    lambda ranked, rest: Decision(expert=ranked[0].expert, ranked=tuple(ranked), **rest),
    st.lists(st.builds(Ranked, names, st.none() | st.floats(allow_nan=False)), min_size=1, max_size=4),
    st.fixed_dictionaries(
        {
            "reason": st.sampled_from(Reason),
            "category": names,
            "probabilities": st.lists(st.tuples(names, shares), max_size=3).map(tuple),
            "uncertainty": shares,
            "excluded": st.lists(st.builds(Excluded, names, names), max_size=3).map(tuple),
            "revision": names,
            "propensity": st.floats(0, 1, exclude_min=True),
        }
    ),
)


@given(st.binary(min_size=20, max_size=20), decisions)
def test_a_decision_comes_back_equal(key, decision):
    assert decode(key, encode(key, decision)) == decision


@given(st.binary(max_size=300))
def test_any_bytes_are_a_decision_or_a_miss(stored):
    assert decode(KEY, stored) is None


@given(st.binary(max_size=300))
def test_any_bytes_after_a_right_head_do_not_raise(rest):
    decode(KEY, bytes([SCHEMA]) + KEY + rest)


@given(decisions, st.data())
def test_a_cut_value_is_a_miss(decision, data):
    stored = encode(KEY, decision)
    cut = data.draw(st.integers(0, len(stored) - 1))
    assert decode(KEY, stored[:cut]) is None


def test_another_schema_is_a_miss(decide):
    stored = encode(KEY, decide())
    assert decode(KEY, bytes([SCHEMA + 1]) + stored[1:]) is None


def test_the_value_of_another_key_is_a_miss(decide):
    assert decode(bytes(20), encode(KEY, decide())) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"expert": "somebody else"},
        {"ranked": []},
        {"uncertainty": 1.5},
        {"uncertainty": float("nan")},
        {"propensity": 0.0},
        {"propensity": float("nan")},
        {"probabilities": [("code", -0.1)]},
        {"probabilities": [("code", float("nan"))]},
        {"reason": "because"},
        {"expert": None},
        {"ranked": {}},
    ],
)
def test_a_decision_that_no_router_makes_is_a_miss(decide, wrong):
    fields = msgspec.to_builtins(decide()) | wrong
    assert decode(KEY, bytes([SCHEMA]) + KEY + msgspec.msgpack.encode(fields)) is None


def test_deep_nesting_is_a_miss():
    assert decode(KEY, bytes([SCHEMA]) + KEY + b"\x81\xa1x" + b"\x91" * 100_000) is None


def test_the_schema_number_belongs_to_these_fields():
    """A change of Decision must raise SCHEMA, or replicas of two versions would read each other wrongly."""
    stored = {
        each.__name__: [field.name for field in dataclasses.fields(each)]
        for each in (Decision, Ranked, Excluded)
    }
    assert (SCHEMA, stored) == (
        2,
        {
            "Decision": [
                "expert",
                "ranked",
                "reason",
                "category",
                "probabilities",
                "uncertainty",
                "excluded",
                "revision",
                "propensity",
            ],
            "Ranked": ["expert", "score"],
            "Excluded": ["expert", "why"],
        },
    )
