"""The JSON Schema says what the loader says."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from coe.config import EMBEDDED_TEXT, json_schema
from coe.registry import FIRST_PARTY, Registry


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return json_schema(Registry(allow=FIRST_PARTY | {"coe-test-plugin"}))


def errors(schema: dict[str, Any], text: str) -> list[str]:
    found = Draft202012Validator(schema).iter_errors(yaml.safe_load(text))
    return [f"{error.json_path}: {error.message}" for error in found]


def with_expert(*lines: str) -> str:
    return (
        "experts:\n  a:\n" + "".join(f"    {line}\n" for line in lines) + "routers: {auto: {kind: two-step}}"
    )


def test_it_is_a_json_schema(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    references = {
        line.split('"')[3] for line in json.dumps(schema, indent=0).splitlines() if '"$ref"' in line
    }
    assert references
    assert all(reference.removeprefix("#/$defs/") in schema["$defs"] for reference in references)


@pytest.mark.parametrize(
    "text",
    [
        EMBEDDED_TEXT,
        with_expert("kind: shout", "marks: 3"),
        with_expert("kind: shout", "marks: ${MARKS}"),
        with_expert("kind: openai", "base_url: x", "model: y", "api_key: ${KEY}", "card: {params_b: 7}"),
        with_expert("kind: echo") + "\nserver: {port: '${PORT}'}\ncache: {shared: {kind: redis, url: x}}",
    ],
)
def test_good_files_pass(schema: dict[str, Any], text: str) -> None:
    assert errors(schema, text) == []


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (with_expert("kind: openai", "model: y"), "$.experts.a: 'base_url' is a required property"),
        (
            with_expert("kind: openai", "base_url: x", "model: y", "ap_key: z"),
            "$.experts.a: Additional properties",
        ),
        (with_expert("kind: shout", "base_url: x"), "$.experts.a: Additional properties"),
        (with_expert("kind: shout", "marks: many"), "$.experts.a.marks: 'many' is not valid"),
        (with_expert("kind: nobody"), "$.experts.a.kind: 'nobody' is not valid"),
        (with_expert("marks: 3"), "$.experts.a: 'kind' is a required property"),
        (with_expert("kind: echo", "card: {domain: [x]}"), "$.experts.a.card: Additional properties"),
        (with_expert("kind: echo") + "\nsever: {}", "$: Additional properties"),
        (with_expert("kind: echo") + "\ncache: {shared: {kind: redis}}", "$.cache.shared: "),
    ],
)
def test_wrong_files_fail_where_they_are_wrong(schema: dict[str, Any], text: str, error: str) -> None:
    assert any(line.startswith(error) for line in errors(schema, text)), errors(schema, text)


def test_settings_and_kinds_are_described(schema: dict[str, Any]) -> None:
    kinds = schema["$defs"]["ExpertConfig"]["properties"]["kind"]["oneOf"]
    assert {"const": "shout", "description": "Answers in capitals"} in kinds
    marks = schema["$defs"]["experts.shout"]["properties"]["marks"]
    assert (marks["description"], marks["default"]) == ("Exclamation marks.", 1)


def test_broken_plugins_are_left_out_with_a_note(schema: dict[str, Any]) -> None:
    assert "experts.broken" not in schema["$defs"]
    notes = schema["$comment"].splitlines()
    assert any(note.startswith("broken of coe.experts is left out: ") for note in notes)
    assert "flux_capacitor" in schema["$comment"]
    assert "$comment" not in json_schema(Registry(entry_points=[]))
