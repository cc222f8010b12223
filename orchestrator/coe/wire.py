"""OpenAI wire types: what crosses HTTP, and nothing else.

A request is kept twice: `payload`, the parsed JSON object that experts forward untouched but for the
fields they must set, and `body`, the typed and validated view that coe reads.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

import msgspec
from msgspec import UNSET, UnsetType

from coe.errors import InvalidRequest

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]


class Part(msgspec.Struct):
    """One part of a message's content: text, image_url, input_audio, file or refusal."""

    type: str
    text: str | None = None


class Message(msgspec.Struct):
    """One message. Fields that coe does not read (name, tool_call_id …) stay in the payload."""

    role: Role
    content: str | list[Part] | None = None
    tool_calls: list[dict[str, Any]] | None = None


class FunctionSpec(msgspec.Struct):
    """The function of a tool: coe reads name and description."""

    name: str
    description: str | None = None


class Tool(msgspec.Struct):
    """A tool the model may call. `function` is absent for tools of other types."""

    type: str
    function: FunctionSpec | None = None


class ResponseFormat(msgspec.Struct):
    """What shape the answer must have."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: dict[str, Any] | None = None


class StreamOptions(msgspec.Struct):
    """Options of a streamed answer."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Body of `POST /v1/chat/completions`: every field of OpenAI's API and the common sampling extensions.

    A field that is listed here but typed `Any` is passed through unread.
    """

    model: str
    messages: list[Message] = msgspec.field(default_factory=list[Message])
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    n: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    seed: int | None = None
    user: str | None = None
    tools: list[Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    functions: Any | UnsetType = UNSET
    function_call: Any | UnsetType = UNSET
    audio: Any | UnsetType = UNSET
    modalities: Any | UnsetType = UNSET
    metadata: Any | UnsetType = UNSET
    store: Any | UnsetType = UNSET
    prediction: Any | UnsetType = UNSET
    reasoning_effort: Any | UnsetType = UNSET
    service_tier: Any | UnsetType = UNSET
    verbosity: Any | UnsetType = UNSET
    web_search_options: Any | UnsetType = UNSET
    safety_identifier: Any | UnsetType = UNSET
    prompt_cache_key: Any | UnsetType = UNSET
    prompt_cache_retention: Any | UnsetType = UNSET
    # Sampling extensions that vLLM, llama.cpp, Ollama and SGLang understand.
    top_k: Any | UnsetType = UNSET
    min_p: Any | UnsetType = UNSET
    repetition_penalty: Any | UnsetType = UNSET
    length_penalty: Any | UnsetType = UNSET
    stop_token_ids: Any | UnsetType = UNSET
    include_stop_str_in_output: Any | UnsetType = UNSET
    ignore_eos: Any | UnsetType = UNSET
    min_tokens: Any | UnsetType = UNSET
    skip_special_tokens: Any | UnsetType = UNSET
    prompt_logprobs: Any | UnsetType = UNSET
    add_generation_prompt: Any | UnsetType = UNSET
    continue_final_message: Any | UnsetType = UNSET
    chat_template_kwargs: Any | UnsetType = UNSET
    structured_outputs: Any | UnsetType = UNSET
    guided_json: Any | UnsetType = UNSET
    guided_regex: Any | UnsetType = UNSET
    guided_choice: Any | UnsetType = UNSET
    guided_grammar: Any | UnsetType = UNSET
    priority: Any | UnsetType = UNSET


class ChatRequest:
    """A validated chat completion request.

    Most requests are forwarded with another `model` and nothing else: `encoded` does that without building an
    object of every message.

    Args:
        body: the typed view that coe reads.
        payload: the JSON object as received; None to have it parsed from `raw` when somebody asks for it.
        raw: the body as received.
    """

    __slots__ = ("_payload", "_raw", "body")

    def __init__(self, body: ChatBody, payload: dict[str, Any] | None = None, *, raw: bytes = b"{}") -> None:
        self.body = body
        self._payload = payload
        self._raw = raw

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, ChatRequest)
        return same and (self.body, self.payload) == (other.body, other.payload)

    def __hash__(self) -> int:
        raise TypeError("a request may be changed by its reader")

    def __repr__(self) -> str:
        return f"ChatRequest({self.body!r})"

    @property
    def payload(self) -> dict[str, Any]:
        """The JSON object as received; forwarded by experts, never changed in place."""
        if self._payload is None:
            self._payload = cast("dict[str, Any]", msgspec.json.decode(self._raw))
        return self._payload

    def encoded(self, changes: Mapping[str, Any], without: Collection[str] = ()) -> bytes:
        """The payload as JSON, with these top-level fields set and those left out."""
        members: dict[str, Any] = (
            {**_members.decode(self._raw), **changes}
            if self._payload is None
            else {**self._payload, **changes}
        )
        for name in without:
            members.pop(name, None)
        return msgspec.json.encode(members)


_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class PromptBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Body of `POST /v1/completions`: a prompt to continue, as text or as tokens."""

    model: str
    prompt: str | list[int | str | list[int]]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    n: int | None = None
    stop: str | list[str] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    seed: int | None = None
    user: str | None = None
    logprobs: int | None = None
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None
    top_k: Any | UnsetType = UNSET
    min_p: Any | UnsetType = UNSET
    repetition_penalty: Any | UnsetType = UNSET
    length_penalty: Any | UnsetType = UNSET
    stop_token_ids: Any | UnsetType = UNSET
    include_stop_str_in_output: Any | UnsetType = UNSET
    ignore_eos: Any | UnsetType = UNSET
    min_tokens: Any | UnsetType = UNSET
    skip_special_tokens: Any | UnsetType = UNSET
    structured_outputs: Any | UnsetType = UNSET
    priority: Any | UnsetType = UNSET


class EmbeddingBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Body of `POST /v1/embeddings`: texts, or lists of tokens."""

    model: str
    input: str | list[int | str | list[int]]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    user: str | None = None
    truncate_prompt_tokens: Any | UnsetType = UNSET
    priority: Any | UnsetType = UNSET


class ScoreBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Body of `POST /v1/score`, as vLLM's: one text against one or many, or pairs; or whole `chats`.

    `queries` and `documents` are other names of `text_1` and `text_2`. `chats` is coe's own: each a list of
    messages that ends with the answer to be scored.
    """

    model: str
    text_1: str | list[str] | None = None
    text_2: str | list[str] | None = None
    queries: str | list[str] | None = None
    documents: str | list[str] | None = None
    chats: list[list[Message]] | None = None


class RerankBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Body of `POST /v1/rerank`, as Cohere's, Jina's and vLLM's."""

    model: str
    query: str
    documents: list[str | dict[str, Any]]
    top_n: int | None = None
    return_documents: bool | None = None


Body = TypeVar("Body", PromptBody, EmbeddingBody, ScoreBody, RerankBody)


@dataclass(frozen=True, slots=True)
class PromptRequest:
    """A validated prompt to continue; `body` and `payload` as in `ChatRequest`."""

    body: PromptBody
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """Validated texts to embed; `body` and `payload` as in `ChatRequest`."""

    body: EmbeddingBody
    payload: dict[str, Any]


_chat_body = msgspec.json.Decoder(ChatBody)
FIELDS: frozenset[str] = frozenset(field.name for field in msgspec.structs.fields(ChatBody))
_PATH = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"unknown field `(?P<name>.*)`$")
_MISSING = re.compile(r"missing required field `(?P<name>.*)`$")


def parse_chat(raw: bytes, extra_fields: Collection[str] = ()) -> ChatRequest:
    """Parse and validate the body of a chat completion.

    Args:
        raw: the body as received, JSON in UTF-8.
        extra_fields: top-level fields beyond `ChatBody`'s that are passed through unread.

    Raises:
        InvalidRequest: not JSON, a wrong type, or an unknown field; `param` names the field.
    """
    if not extra_fields:
        try:
            body = _chat_body.decode(raw)
            # What is passed through unread is not looked into: that it is text must be seen here.
            if body.messages and (raw.isascii() or raw.decode()):
                return ChatRequest(body, raw=raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass  # said better below
    return chat_request(_decoded(raw), extra_fields)


def parse_body(
    raw: bytes, kind: type[Body], extra_fields: Collection[str] = ()
) -> tuple[Body, dict[str, Any]]:
    """Parse and validate the body of another endpoint.

    Args:
        raw: the body as received, JSON in UTF-8.
        kind: what it must be.
        extra_fields: top-level fields beyond those of `kind` that are passed through unread.

    Returns:
        The typed view, and the JSON object as received.

    Raises:
        InvalidRequest: not JSON, a wrong type, or an unknown field; `param` names the field.
    """
    fields, known = _fields(_decoded(raw), extra_fields)
    try:
        return msgspec.convert(known, kind), fields
    except msgspec.ValidationError as error:
        names = frozenset(field.name for field in msgspec.structs.fields(kind))
        raise _explain(str(error), names) from None


def chat_request(payload: Any, extra_fields: Collection[str] = ()) -> ChatRequest:
    """Validate a parsed chat completion body. Raises `InvalidRequest` like `parse_chat`."""
    fields, known = _fields(payload, extra_fields)
    try:
        body = msgspec.convert(known, ChatBody)
    except msgspec.ValidationError as error:
        raise _explain(str(error)) from None
    if not body.messages:
        raise InvalidRequest("`messages` must hold at least one message.", param="messages")
    return ChatRequest(body, fields)


def message_text(message: Message) -> str:
    """The text of a message; parts are joined by line breaks, images and the like left out."""
    if isinstance(message.content, str):
        return message.content
    return "\n".join(part.text for part in message.content or () if part.text)


def last_user_text(body: ChatBody) -> str:
    """The text of the last user turn; empty when there is none."""
    for message in reversed(body.messages):
        if message.role == "user":
            return message_text(message)
    return ""


def _decoded(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.") from None


def _fields(payload: Any, extra_fields: Collection[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The object's fields, and those among them that are not passed through unread."""
    if not isinstance(payload, dict):
        raise InvalidRequest(f"The body must be a JSON object, not {_json_type(payload)}.")
    fields = cast("dict[str, Any]", payload)
    return fields, {
        # JSON has one kind of number: 3.0 is an integer.
        key: int(value) if isinstance(value, float) and value.is_integer() else value
        for key, value in fields.items()
        if key not in extra_fields
    }


def _explain(error: str, fields: Collection[str] = FIELDS) -> InvalidRequest:
    """Turn msgspec's message into one that names the field the way OpenAI's API does."""
    match = _PATH.match(error)
    what, path = (match["what"], match["path"] or "") if match else (error, "")
    if unknown := _UNKNOWN.search(what):
        name = unknown["name"]
        param = f"{path}.{name}" if path else name
        close = difflib.get_close_matches(name, fields, n=1)
        hint = (
            f"Did you mean `{close[0]}`?" if close else "List it in `server.extra_fields` to pass it through."
        )
        return InvalidRequest(f"Unknown field `{param}`.", param=param, hint=hint)
    if missing := _MISSING.search(what):
        param = f"{path}.{missing['name']}" if path else missing["name"]
        return InvalidRequest(f"Missing required field `{param}`.", param=param)
    return InvalidRequest(f"Wrong value in `{path}`: {what}." if path else f"{what}.", param=path or None)


def _json_type(value: Any) -> str:
    names: dict[str, str] = {"list": "an array", "str": "a string", "bool": "a boolean", "NoneType": "null"}
    return names.get(type(value).__name__, "a number")


class ErrorDetail(msgspec.Struct, kw_only=True):
    """The inside of an error envelope."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorEnvelope(msgspec.Struct):
    """OpenAI's error envelope."""

    error: ErrorDetail


class Usage(msgspec.Struct, kw_only=True):
    """Tokens of one completion."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class ModelInfo(msgspec.Struct, kw_only=True):
    """One row of `GET /v1/models`."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "coe"
    coe: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


class ModelList(msgspec.Struct):
    """`GET /v1/models`."""

    data: list[ModelInfo]
    object: Literal["list"] = "list"
