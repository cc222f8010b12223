"""`GET /openapi.json`: the HTTP API as an OpenAPI 3.1 document, from the wire types and the table below."""

from __future__ import annotations

import copy
from typing import Any

import msgspec

from coe.config import Config
from coe.gateway._reload import Outcome
from coe.wire import ChatBody, EmbeddingBody, ErrorEnvelope, ModelList, PromptBody, RerankBody, ScoreBody

Json = dict[str, Any]

_REF = "#/components/schemas/{name}"
_ROUTING_HEADERS = {
    "x-coe-schema": "Version of these facts.",
    "x-coe-decision-id": "Names this request everywhere.",
    "x-coe-category": "The prompt's category.",
    "x-coe-confidence": "Calibrated probability of the most probable category.",
    "x-coe-expert": "Who answered, or would.",
    "x-coe-expert-kind": "What sort of expert that is.",
    "x-coe-cache": "Whether the decision was in the cache: hit, miss or off.",
    "x-coe-route-us": "Microseconds from the request's features to the decision.",
    "x-coe-session-switch": "Why the session left its expert; absent when it did not.",
}
_REQUEST_HEADERS = {
    "x-coe-session": "Requests of one session stay with one expert while it can serve them.",
    "x-coe-explain": "`1` adds the whole decision to the answer.",
    "traceparent": "W3C trace context, passed on to the expert.",
}


def document(config: Config, version: str) -> Json:
    """The document for a gateway of this configuration.

    Args:
        config: says which fields pass, whether keys are wanted and whether there is an admin endpoint.
        version: of coe.
    """
    paths: Json = {
        "/v1/chat/completions": {"post": _complete("ChatBody", "Route a chat and answer it.")},
        "/v1/completions": {"post": _complete("PromptBody", "Route a prompt and continue it.")},
        "/v1/embeddings": {"post": _one("EmbeddingBody", "Embed texts.", "data")},
        "/v1/score": {"post": _one("ScoreBody", "Score answers; higher is better.", "data")},
        "/v1/rerank": {"post": _one("RerankBody", "Rank documents, the best first.", "results")},
        "/v1/route": {"post": _route()},
        "/v1/models": {"get": _get("What may stand in `model`.", _ref("ModelList"))},
        "/health/live": {"get": _health("200 while the process answers.", ["live"])},
        "/health/ready": {"get": _ready()},
        "/metrics": {"get": _metrics()},
        "/openapi.json": {"get": _get("This document.", {"type": "object"})},
    }
    schemes: Json = {}
    if config.tenants.keys_file is not None:
        schemes["key"] = {"type": "http", "scheme": "bearer", "description": "An API key of `coe keys`."}
        for path, operations in paths.items():
            if path.startswith("/v1/"):
                for operation in operations.values():
                    operation["security"] = [{"key": []}]
    if config.server.admin_key is not None:
        schemes["admin"] = {"type": "http", "scheme": "bearer", "description": "`server.admin_key`."}
        paths["/admin/reload"] = {"post": _change("Read the configuration again.")}
        paths["/admin/rollback"] = {"post": _change("Put in force what was before.")}
        paths["/admin/diff"] = {"get": _change("What a reload would change; changes nothing.")}
    return {
        "openapi": "3.1.0",
        "info": {"title": "coe", "version": version, "description": "Router and gateway for compound AI."},
        "paths": paths,
        "components": {"schemas": _schemas(config), "securitySchemes": schemes},
    }


# --- schemas ---


def _schemas(config: Config) -> Json:
    bodies = (ChatBody, PromptBody, EmbeddingBody, ScoreBody, RerankBody)
    wire = (*bodies, ErrorEnvelope, ModelList, Outcome)
    _, schemas = msgspec.json.schema_components(wire, ref_template=_REF)
    chat: Json = schemas["ChatBody"]
    # What `coe.wire.parse_chat` asks for beyond the types.
    chat["required"] = ["model", "messages"]
    chat["properties"]["messages"] = {**chat["properties"]["messages"], "minItems": 1}
    chat["properties"]["messages"].pop("default", None)
    for body in bodies:
        for field in config.server.extra_fields:
            schemas[body.__name__]["properties"].setdefault(field, {})
    route: Json = copy.deepcopy(chat)
    del route["properties"]["messages"]
    route["title"] = "RouteBody"
    route["required"] = ["model", "prompt"]
    route["properties"]["prompt"] = schemas["Message"]["properties"]["content"]
    _narrow(schemas)
    return {**schemas, "RouteBody": route}


def _narrow(schemas: Json) -> None:
    """What the parsers of the other bodies ask for beyond the types."""
    text = {"type": "string", "minLength": 1}
    tokens = {"type": "array", "items": {"type": "integer"}, "minItems": 1}
    texts = {"type": "array", "items": {"anyOf": [text, tokens]}, "minItems": 1}
    schemas["PromptBody"]["properties"]["prompt"] = {"anyOf": [text, tokens, texts]}
    schemas["EmbeddingBody"]["properties"]["input"] = {"anyOf": [text, tokens, texts]}
    one_or_many = {"anyOf": [text, {"type": "array", "items": text, "minItems": 1}]}
    score = schemas["ScoreBody"]
    for field in ("text_1", "text_2", "queries", "documents"):
        score["properties"][field] = one_or_many
    chat = {"type": "array", "items": _ref("Message"), "minItems": 1}
    score["properties"]["chats"] = {"type": "array", "items": chat, "minItems": 1}
    score["anyOf"] = [{"required": pair} for pair in (["text_1", "text_2"], ["queries", "documents"])]
    score["anyOf"].append({"required": ["chats"]})
    rerank: Json = schemas["RerankBody"]["properties"]
    with_text = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    documents = {"type": "array", "items": {"anyOf": [{"type": "string"}, with_text]}, "minItems": 1}
    rerank["documents"] = documents
    rerank["top_n"] = {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]}


def _ref(name: str) -> Json:
    return {"$ref": _REF.format(name=name)}


def _content(schema: Json, kind: str = "application/json") -> Json:
    return {"content": {kind: {"schema": schema}}}


def _answer(description: str, schema: Json) -> Json:
    return {"description": description, **_content(schema)}


_FAILED: Json = {
    "description": "OpenAI's error envelope; `code` is stable, `param` names the field.",
    **_content(_ref("ErrorEnvelope")),
}


def _headers(texts: dict[str, str]) -> Json:
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in texts.items()}


# --- operations ---


def _get(summary: str, schema: Json) -> Json:
    return {"summary": summary, "responses": {"200": _answer(summary, schema), "default": _FAILED}}


def _one(body: str, summary: str, answer: str) -> Json:
    """What one expert does, which the caller names unless only one can."""
    whole: Json = {
        "type": "object",
        "description": "With `model` and `coe` set.",
        "properties": {"model": {"type": "string"}, "coe": {"type": "object"}, answer: {"type": "array"}},
        "required": ["model", "coe", answer],
    }
    done = _answer(summary, whole)
    done["headers"] = _headers(_ROUTING_HEADERS)
    return {
        "summary": summary,
        "parameters": _parameters(),
        "requestBody": {"required": True, **_content(_ref(body))},
        "responses": {"200": done, "default": {**_FAILED, "headers": _headers(_ROUTING_HEADERS)}},
    }


def _complete(body: str, summary: str) -> Json:
    whole: Json = {
        "type": "object",
        "description": "The expert's completion, with `model` and `coe` set.",
        "properties": {"model": {"type": "string"}, "coe": {"type": "object"}, "choices": {"type": "array"}},
        "required": ["model", "coe", "choices"],
    }
    answer = _answer("The completion; with `stream: true` its events.", whole)
    # OpenAPI 3.1 has no words for what an event holds.
    answer["content"]["text/event-stream"] = {}
    answer["headers"] = _headers(_ROUTING_HEADERS)
    return {
        "summary": summary,
        "parameters": _parameters(),
        "requestBody": {"required": True, **_content(_ref(body))},
        "responses": {"200": answer, "default": {**_FAILED, "headers": _headers(_ROUTING_HEADERS)}},
    }


def _route() -> Json:
    decision: Json = {
        "type": "object",
        "properties": {
            "object": {"const": "route"},
            "id": {"type": "string"},
            "expert": {"type": "string"},
            "category": {"type": "string"},
            "reason": {"type": "string"},
        },
        "required": ["object", "id", "expert", "category", "reason"],
    }
    answer = _answer("The decision.", decision)
    answer["headers"] = _headers(_ROUTING_HEADERS)
    body = {"anyOf": [_ref("ChatBody"), _ref("RouteBody")]}
    return {
        "summary": "Decide who should answer; asks nobody.",
        "parameters": _parameters(),
        "requestBody": {"required": True, **_content(body)},
        "responses": {"200": answer, "default": _FAILED},
    }


def _parameters() -> list[Json]:
    return [
        {"name": name, "in": "header", "description": text, "schema": {"type": "string", "maxLength": 256}}
        for name, text in _REQUEST_HEADERS.items()
    ]


def _health(summary: str, states: list[str]) -> Json:
    schema: Json = {
        "type": "object",
        "properties": {"status": {"enum": states}},
        "required": ["status"],
    }
    return _get(summary, schema)


def _ready() -> Json:
    operation = _health("200 when an expert can answer at once, else 503.", ["ready"])
    expert: Json = {
        "type": "object",
        "properties": {
            "healthy": {"type": "boolean"},
            "awake": {"type": "boolean"},
            "probe": {"enum": ["ok", "failing", "pending"]},
        },
        "required": ["healthy", "awake"],
    }
    experts: Json = {"type": "object", "additionalProperties": expert}
    ready: Json = operation["responses"]["200"]["content"]["application/json"]["schema"]["properties"]
    ready["experts"] = experts
    status = {"enum": ["starting", "draining"]}
    state: Json = {"type": "object", "properties": {"status": status, "experts": experts}}
    operation["responses"]["503"] = _answer("Not now.", state)
    return operation


def _metrics() -> Json:
    text = {"description": "Prometheus' text format.", **_content({"type": "string"}, "text/plain")}
    return {"summary": "Metrics of all workers.", "responses": {"200": text, "default": _FAILED}}


def _change(summary: str) -> Json:
    refused = _answer("Refused: what is in force stays.", _ref("Outcome"))
    return {
        "summary": summary,
        "security": [{"admin": []}],
        "responses": {
            "200": _answer("Accepted.", _ref("Outcome")),
            "422": refused,
            "default": _FAILED,
        },
    }
