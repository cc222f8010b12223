"""The key covers everything that a decision depends on, and nothing is written alike."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.cache import KEY_BYTES, decision_key
from coe.contracts import Features, ToolFact

# Lone surrogates too: a Python string may hold them.
texts = st.text(st.characters(exclude_categories=()), max_size=8)
features = st.builds(
    Features,
    text=texts,
    tools=st.lists(st.builds(ToolFact, texts, texts), max_size=2).map(tuple),
    required=st.frozensets(st.sampled_from(["chat", "stream", "tools", "vision"])),
    tokens=st.integers(0, 2**40),
    sticky_expert=st.none() | texts,
)
arguments = st.tuples(texts, texts, texts, features, texts)

# One other value of every field of Features. A new field fails the test below until it has one here.
OTHER = {
    "text": "other",
    "tools": (ToolFact("search"),),
    "required": frozenset({"chat", "tools"}),
    "tokens": 1,
    "sticky_expert": "coder",
}


def key_of(arguments: tuple[str, str, str, Features, str]) -> bytes:
    tenant, revision, digest, features, router = arguments
    return decision_key(tenant, revision, digest, features, router=router)


@given(arguments, arguments)
def test_keys_are_equal_exactly_when_the_arguments_are(one, other):
    assert (key_of(one) == key_of(other)) == (one == other)


@given(st.tuples(texts, texts, texts, texts), st.integers(0, 2), st.data())
def test_moving_characters_between_arguments_changes_the_key(parts, left, data):
    joined = parts[left] + parts[left + 1]
    cut = data.draw(st.integers(0, len(joined)))
    moved = (*parts[:left], joined[:cut], joined[cut:], *parts[left + 2 :])

    def key(each: tuple[str, ...]) -> bytes:
        return decision_key(each[0], each[1], each[2], Features(text="x"), router=each[3])

    assert (key(moved) == key(parts)) == (moved == parts)


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Features)])
def test_every_field_of_the_features_is_in_the_key(field):
    features = Features(text="hello")
    other = dataclasses.replace(features, **{field: OTHER[field]})
    assert other != features
    assert decision_key("t", "r", "p", features, router="a") != decision_key("t", "r", "p", other, router="a")


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(ToolFact)])
def test_every_field_of_a_tool_is_in_the_key(field):
    tool = ToolFact("search", "the web")
    one = Features(text="x", tools=(tool,))
    other = Features(text="x", tools=(dataclasses.replace(tool, **{field: "other"}),))
    assert decision_key("t", "r", "p", one, router="a") != decision_key("t", "r", "p", other, router="a")


@given(arguments)
def test_a_key_has_its_length(one):
    assert len(key_of(one)) == KEY_BYTES


PROGRAM = """
from coe.cache import decision_key
from coe.contracts import Features
required = frozenset({"chat", "stream", "tools", "vision", "json_schema"})
print(decision_key("t", "r", "p", Features(text="x", required=required), router="a").hex())
print(decision_key("t", "r", "p", Features(text="\\ud800", required=required), router="a").hex())
"""


def test_every_process_makes_the_same_key():
    outputs = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(outputs) == 1
