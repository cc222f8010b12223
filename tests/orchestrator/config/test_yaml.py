"""YAML text to data: the core schema's types, lines, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.config._yaml import Document, parse


def read(text: str, **environ: str) -> Document:
    return parse(text, environ, source="coe.yaml", base_dir=Path("/nowhere"))


def said(text: str, **environ: str) -> list[str]:
    return [str(problem) for problem in read(text, **environ).problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("Y", "Y"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("1_000", "1_000"),
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        ("-4", -4),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("null", None),
        ("'5'", "5"),
        ("!!str 5", "5"),
        ("qwen3:8b", "qwen3:8b"),
    ],
)
def test_plain_values_have_the_types_of_yaml_1_2(text: str, value: Any) -> None:
    document = read(f"a: {text}")
    assert document.problems == []
    assert document.data == {"a": value}
    assert type(document.data["a"]) is type(value)


def test_not_a_number_is_a_number() -> None:
    assert math.isnan(read("a: .nan").data["a"])


def test_every_key_and_item_has_its_line() -> None:
    document = read("a:\n  - x\n  -\n    b: 1\n# comment\nc: {d: 2}\n")
    assert document.lines == {
        (): 1,
        ("a",): 1,
        ("a", 0): 2,
        ("a", 1): 4,
        ("a", 1, "b"): 4,
        ("c",): 6,
        ("c", "d"): 6,
    }


def test_aliases_are_read() -> None:
    assert read("a: &x [1]\nb: *x").data == {"a": [1], "b": [1]}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3", "coe.yaml:3: a: stands twice; first on line 1."),
        ("a: {b: 1, 'b': 2}", "coe.yaml:1: a.b: stands twice; first on line 1."),
        ("12: x", "coe.yaml:1: a key must be text, found `12`; put it in quotes."),
        ("[a]: x", "coe.yaml:1: a key must be text, found a list or block; put it in quotes."),
        (
            "a: &x {b: 1}\nc: {<<: *x}",
            "coe.yaml:2: c: merge keys (`<<`) are not supported; write the keys out.",
        ),
        ("a: !!python/name:os.system x", "a: YAML tags (`!…`) are not supported; a text that starts with"),
        ("a: !x {b: 1}", "coe.yaml:1: a: YAML tags (`!…`) are not supported."),
        ("a: !!int x", "coe.yaml:1: a: not a value of YAML's type int."),
        ("a: &x [*x]", "coe.yaml:1: a[0]: an alias refers to what contains it."),
        ('a: "\\ud800"', "coe.yaml:1: a: half of a surrogate pair is not a character."),
        ("a: " + "9" * 5000, "coe.yaml:1: a: not a value of YAML's type int."),
        ("a: 1\n---\nb: 2", "coe.yaml:2: not YAML: expected a single document in the stream"),
        ("a: [1\nb: 2", "coe.yaml:2: not YAML: while parsing a flow sequence"),
        ("a: 1\nb: \x07", "coe.yaml:2: not YAML: it holds a character that YAML does not allow."),
        ("[" * 2_000, "coe.yaml: nested too deeply."),
    ],
)
def test_problems_have_line_and_key(text: str, problem: str) -> None:
    assert any(problem in line for line in said(text)), said(text)


def test_an_unquoted_placeholder_in_braces_gets_advice() -> None:
    (problem,) = said("a: {b: ${NAME}}", NAME="x")
    assert "inside `{}` or `[]` a `${…}` needs quotes" in problem


def test_a_bomb_of_aliases_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert any("more than 100000 values" in line for line in said("\n".join(lines)))


@pytest.mark.parametrize(
    "text", ["password: *hunter2", "password: !hunter2! x", "password: &hunter2", "%hunter2"]
)
def test_what_yaml_quotes_is_not_repeated(text: str) -> None:
    """An unquoted password may start with one of YAML's signs: the parser's complaint must not show it."""
    assert "hunter2" not in " ".join(said(text))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_json_is_yaml(data: Any) -> None:
    """JSON is a subset: whatever is written as JSON is read back, `${` being escaped."""
    text = json.dumps(data, indent=1).replace("${", "$${")
    # JSON writes astral characters as surrogate pairs, which YAML does not have.
    if "\\ud" in text:
        return
    document = read(text)
    assert document.problems == []
    assert document.data == data


@given(
    st.text(alphabet=st.characters(codec="utf-8")) | st.text(alphabet="ab:-{}[]!&*|>'\"%@`#?,~<$\\ \n\t01")
)
def test_no_text_crashes_the_reader(text: str) -> None:
    document = read(text)
    assert document.problems or document.lines or document.data is None
