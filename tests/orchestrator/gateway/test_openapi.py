"""The OpenAPI document says what the gateway does: schemathesis asks a running one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.generation import GenerationMode

if TYPE_CHECKING:
    from conftest import Running, Start

POOL = """
plugins: {allow: [coe-test-plugin]}
experts: {a: {kind: echo}, b: {kind: echo}, c: {kind: critic}}
routers: {auto: {kind: first}}
"""
EXTRA = "server: {extra_fields: [my_field]}\n"


@pytest.fixture
def gateway(start: Start) -> Running:
    return start(POOL + EXTRA)


def document(gateway: Running) -> dict[str, Any]:
    return gateway.client.get("/openapi.json").json()


def test_every_endpoint_is_in_the_document_and_nothing_else(gateway: Running) -> None:
    served = gateway.gateway._generations.current.paths
    told = {path: {method.upper() for method in each} for path, each in document(gateway)["paths"].items()}
    assert told == {path: set(methods) for path, methods in served.items()}


def test_the_admin_endpoint_and_keys_are_told_where_they_are(start: Start) -> None:
    told = document(start(POOL + "server: {admin_key: an-admin-key-of-the-tests}\n"))
    assert told["paths"]["/admin/reload"]["post"]["security"] == [{"admin": []}]
    assert "an-admin-key" not in str(told)


def test_all_references_lead_somewhere_and_the_schemas_are_schemas(gateway: Running) -> None:
    told = document(gateway)
    for schema in told["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)

    def references(part: Any) -> list[str]:
        if isinstance(part, dict):
            own = [part["$ref"]] if "$ref" in part else []
            return own + [ref for each in part.values() for ref in references(each)]
        return [ref for each in part for ref in references(each)] if isinstance(part, list) else []

    names = {ref.removeprefix("#/components/schemas/") for ref in references(told)}
    assert names <= told["components"]["schemas"].keys()


OPERATIONS = [
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/score"),
    ("POST", "/v1/rerank"),
    ("POST", "/v1/route"),
    ("GET", "/v1/models"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
]


OTHERS = ("/v1/completions", "/v1/embeddings", "/v1/score", "/v1/rerank")
NATIVE = ("suffix", "echo", "logprobs", "best_of")


def ask_all(gateway: Running, method: str, path: str, mode: GenerationMode) -> None:
    operation = schemathesis.openapi.from_dict(document(gateway))[path][method]

    @settings(
        max_examples=6 if path in OTHERS else 20,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        if mode is GenerationMode.POSITIVE and isinstance(case.body, dict):
            case.body["model"] = "auto"  # names are data, which no schema knows
            if path == "/v1/completions":  # nor does it know that these experts only chat
                case.body = {key: each for key, each in case.body.items() if key not in NATIVE}
                case.body["prompt"] = "any"
            if path == "/v1/score":  # nor that as many are wanted on either side
                case.body |= dict.fromkeys(case.body.keys() & {"text_1", "queries"}, "any")
        case.call_and_validate(base_url=gateway.url)

    ask()


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_whatever_fits_the_document_is_answered_as_it_says(gateway: Running, method: str, path: str) -> None:
    ask_all(gateway, method, path, GenerationMode.POSITIVE)


@pytest.mark.parametrize("path", [path for method, path in OPERATIONS if method == "POST"])
def test_whatever_does_not_fit_is_refused_with_an_envelope(gateway: Running, path: str) -> None:
    ask_all(gateway, "POST", path, GenerationMode.NEGATIVE)
