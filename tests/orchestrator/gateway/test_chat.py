"""Chat completions over HTTP."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest

from coe.testing import FakeUpstream, Fault, events

if TYPE_CHECKING:
    from conftest import Running, Start

HEADERS = {
    "x-coe-schema",
    "x-coe-decision-id",
    "x-coe-category",
    "x-coe-confidence",
    "x-coe-expert",
    "x-coe-expert-kind",
    "x-coe-cache",
    "x-coe-route-us",
}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def behind(upstream: FakeUpstream, *names: str, more: str = "") -> str:
    lines = [
        f"  {name}: {{kind: openai, base_url: '{upstream.base_url}', model: {name},"
        " card: {capabilities: [chat, stream, tools, vision, json_schema]}}"
        for name in names
    ]
    return "experts:\n" + "\n".join(lines) + f"\nrouters: {{auto: {{kind: first}}}}\n{more}"


@pytest.fixture
def gateway(start: Start, upstream: FakeUpstream) -> Running:
    return start(behind(upstream, "a", "b"))


def test_headers_and_body_agree(gateway: Running) -> None:
    response = gateway.chat("hello there")
    body = response.json()
    assert response.status_code == 200
    assert set(response.headers) >= HEADERS
    assert "x-coe-fallback-from" not in response.headers
    assert body["choices"][0]["message"]["content"] == "hello there"
    assert body["model"] == response.headers["x-coe-expert"] == body["coe"]["expert"] == "a"
    assert body["coe"]["decision_id"] == response.headers["x-coe-decision-id"]
    assert body["coe"]["category"] == response.headers["x-coe-category"]
    assert str(body["coe"]["route_us"]) == response.headers["x-coe-route-us"]
    assert body["coe"]["cache"] == response.headers["x-coe-cache"] == "miss"
    assert body["coe"]["expert_kind"] == response.headers["x-coe-expert-kind"] == "model"
    assert gateway.chat("hello there").headers["x-coe-cache"] == "hit"


def test_a_stream_carries_the_facts_in_its_first_event_and_is_otherwise_untouched(
    gateway: Running, upstream: FakeUpstream
) -> None:
    response = gateway.chat("one two three", stream=True)
    first, *rest = events(response.content)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert json.loads(first)["coe"]["expert"] == json.loads(first)["model"] == "a"
    assert rest[-1] == b"[DONE]"
    assert all(b'"coe"' not in event for event in rest)
    text = "".join(
        json.loads(event)["choices"][0]["delta"].get("content", "") for event in [first, *rest[:-1]]
    )
    assert text == "one two three"


def test_explain_adds_the_whole_decision(gateway: Running) -> None:
    body = gateway.client.post(
        "/v1/chat/completions",
        json={"model": "auto", "messages": [{"role": "user", "content": "x"}]},
        headers={"x-coe-explain": "1"},
    ).json()
    assert [each["expert"] for each in body["coe"]["decision"]["ranked"]] == ["a", "b"]
    assert "decision" not in gateway.chat("x").json()["coe"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_fallback_is_told_in_headers_and_body(start: Start, stream: bool) -> None:
    with FakeUpstream(faults={"a": Fault.SERVER_ERROR}) as upstream:
        gateway = start(behind(upstream, "a", "b"))
        response = gateway.chat("hello", stream=stream)
    assert response.headers["x-coe-expert"] == "b"
    assert response.headers["x-coe-fallback-from"] == "a"
    assert b'"fallback_from":["a"]' in response.content


def test_silence_within_a_whole_answer_leaves_time_to_fall_back(start: Start) -> None:
    with FakeUpstream(faults={"a": Fault.STALL}) as upstream:
        quick = behind(upstream, "a", "b").replace("model: a", "model: a, idle_timeout_s: 0.2")
        response = start(quick).chat("hello")
    assert (response.status_code, response.headers["x-coe-expert"]) == (200, "b")


def test_inbound_control_headers_change_nothing(gateway: Running, upstream: FakeUpstream) -> None:
    spoofed = {
        "x-coe-expert": "b",
        "x-coe-tenant": "root",
        "x-coe-cache": "hit",
        "x-coe-base-url": "http://evil",
    }
    body = {"model": "auto", "messages": [{"role": "user", "content": "x"}]}
    response = gateway.client.post("/v1/chat/completions", json=body, headers=spoofed)
    assert response.headers["x-coe-expert"] == "a"
    assert not any(name.startswith("x-coe") for name, _ in upstream.received[-1].headers)


def test_the_callers_credentials_do_not_reach_an_expert(gateway: Running, upstream: FakeUpstream) -> None:
    body = {"model": "auto", "messages": [{"role": "user", "content": "x"}]}
    gateway.client.post("/v1/chat/completions", json=body, headers={"authorization": "Bearer sk-caller"})
    assert upstream.received[-1].header("authorization") is None


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        ("{", None, "not valid JSON"),
        ("[]", None, "must be a JSON object, not an array"),
        ("{}", "model", "Missing required field `model`"),
        ('{"model": "auto"}', "messages", "at least one message"),
        ('{"model": "auto", "mesages": []}', "mesages", "Did you mean `messages`"),
        ('{"model": "auto", "messages": [{"role": "usr"}]}', "messages[0].role", "usr"),
        ('{"model": "auto", "messages": [{"role": "user", "content": 1}]}', "messages[0].content", "int"),
        ('{"model": "auto", "messages": [{"role": "user"}], "temperature": "hot"}', "temperature", "str"),
    ],
)
def test_a_wrong_body_gets_an_envelope_that_names_the_field(
    gateway: Running, upstream: FakeUpstream, body: str, param: str | None, message: str
) -> None:
    response = gateway.client.post("/v1/chat/completions", content=body)
    error = response.json()["error"]
    assert response.status_code == 400
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert message in error["message"]
    assert upstream.served == 0


def test_extra_fields_pass_when_they_are_listed(start: Start, upstream: FakeUpstream) -> None:
    gateway = start(behind(upstream, "a", more="server: {extra_fields: [my_field]}"))
    assert gateway.chat("x", my_field={"a": 1}).status_code == 200
    assert upstream.received[-1].json()["my_field"] == {"a": 1}
    assert gateway.chat("x", other_field=1).status_code == 400


def test_a_body_over_the_limit_is_refused(start: Start, upstream: FakeUpstream) -> None:
    gateway = start(behind(upstream, "a", more="server: {max_body_mb: 0.001}"))
    response = gateway.chat("x" * 2000)
    assert (response.status_code, response.json()["error"]["code"]) == (413, "request_too_large")

    def pieces() -> Any:
        for _ in range(20):
            yield b"x" * 100

    assert gateway.client.post("/v1/chat/completions", content=pieces()).status_code == 413
    assert upstream.served == 0


def test_an_unknown_model_is_told_about_auto(gateway: Running) -> None:
    response = gateway.chat("x", model="gpt-9")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "model_not_found"
    assert "`auto`" in response.json()["error"]["message"]
    # Nothing was decided, but the request has a name.
    assert response.headers["x-coe-decision-id"]
    assert "x-coe-expert" not in response.headers


def test_an_expert_that_cannot_serve_is_excluded_by_name(start: Start, upstream: FakeUpstream) -> None:
    gateway = start(
        f"experts: {{a: {{kind: openai, base_url: '{upstream.base_url}', model: a, "
        "card: {capabilities: [chat]}}}\nrouters: {auto: {kind: first}}\n"
    )
    response = gateway.chat("x", tools=[TOOL], stream=True)
    assert response.status_code == 422
    assert "`a` cannot do stream, tools" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (Fault.SERVER_ERROR, 503, "expert_unavailable"),
        (Fault.OVERLOADED, 429, "expert_overloaded"),
        (Fault.MALFORMED, 502, "expert_protocol_error"),
        (Fault.REJECTED, 400, "expert_rejected"),
    ],
)
def test_when_nobody_answers_the_last_error_is_told(
    start: Start, fault: Fault, status: int, code: str
) -> None:
    with FakeUpstream(fault) as upstream:
        response = start(behind(upstream, "a", "b")).chat("x")
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    if status in (429, 503):
        assert int(response.headers["retry-after"]) >= 1
    assert set(response.headers) >= HEADERS
    # A refusal is an answer: nobody else is asked. All else is tried with the next.
    told = (response.headers["x-coe-expert"], response.headers.get("x-coe-fallback-from"))
    assert told == (("a", None) if fault is Fault.REJECTED else ("b", "a"))


def test_a_defect_is_told_without_details_and_with_the_name_of_the_request(
    gateway: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def defective(*_: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(gateway.engine, "_ask", defective)
    response = gateway.chat()
    assert (response.status_code, response.json()["error"]["code"]) == (500, "internal_error")
    assert "secret" not in response.text
    assert set(response.headers) >= HEADERS
    assert response.headers["x-coe-expert"] == "a"


def test_a_stream_that_never_ends_is_ended_at_the_deadline(start: Start) -> None:
    with FakeUpstream(Fault.ENDLESS) as upstream:
        gateway = start(
            f"experts: {{a: {{kind: openai, base_url: '{upstream.base_url}', model: a}}}}\n"
            "routers: {auto: {kind: first}}\nserver: {request_timeout_s: 0.3}\n"
        )
        answer = gateway.chat("x", stream=True)
        upstream.run(upstream.wait_cancelled(1))
        *_, last = events(answer.content)
        assert json.loads(last)["error"]["code"] == "expert_timeout"
        assert b"[DONE]" not in answer.content


def test_a_failure_after_the_first_byte_is_an_error_frame_without_done(start: Start) -> None:
    with FakeUpstream(Fault.RESET_MID_BODY) as upstream:
        response = start(behind(upstream, "a", "b")).chat("several words of an answer", stream=True)
    *_, last = events(response.content)
    assert json.loads(last)["error"]["code"] == "expert_unavailable"
    assert b"[DONE]" not in response.content


@pytest.mark.parametrize(
    ("stream", "fault"), [(False, Fault.HANG), (True, Fault.HANG), (True, Fault.ENDLESS)]
)
def test_the_call_ends_at_once_when_the_caller_goes_away(start: Start, stream: bool, fault: Fault) -> None:
    with FakeUpstream(fault) as upstream:
        gateway = start(behind(upstream, "a"))
        body = {"model": "auto", "messages": [{"role": "user", "content": "x"}], "stream": stream}
        raw = json.dumps(body).encode()
        host, port = gateway.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(raw)}\r\n\r\n"
            connection.sendall(head.encode() + raw)
            upstream.run(upstream.wait_served(1))
            if fault is Fault.ENDLESS:
                connection.recv(100)
        upstream.run(upstream.wait_cancelled(1))
        deadline = time.monotonic() + 5
        while gateway.engine.pool.member("a").in_flight and time.monotonic() < deadline:
            time.sleep(0.01)
        assert gateway.engine.pool.member("a").in_flight == 0
        assert b"coe_client_disconnects_total 1.0" in gateway.client.get("/metrics").content


def test_images_tools_and_response_format_pass_through(gateway: Running, upstream: FakeUpstream) -> None:
    content = [
        {"type": "text", "text": "what is this"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}},
    ]
    schema = {
        "type": "json_schema",
        "json_schema": {"name": "s", "schema": {"type": "object"}, "strict": True},
    }
    gateway.chat(content, tools=[TOOL], tool_choice="auto", response_format=schema, seed=7, top_k=3)
    sent = upstream.received[-1].json()
    assert sent["messages"][0]["content"] == content
    assert (sent["tools"], sent["response_format"], sent["tool_choice"]) == ([TOOL], schema, "auto")
    assert (sent["seed"], sent["top_k"], sent["model"]) == (7, 3, "a")


def test_the_openai_sdk_works_unchanged(gateway: Running, upstream: FakeUpstream) -> None:
    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0)
    with client:
        whole = client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "hi you"}])
        assert whole.choices[0].message.content == "hi you"
        assert whole.model == "a"
        assert whole.model_extra is not None
        assert whole.model_extra["coe"]["expert"] == "a"
        with client.chat.completions.create(
            model="auto",
            messages=[{"role": "user", "content": "hi you"}],
            stream=True,
            stream_options={"include_usage": True},
        ) as stream:
            chunks = list(stream)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "hi you"
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.prompt_tokens == 2
        assert {model.id for model in client.models.list()} == {"auto", "a", "b"}
        with pytest.raises(openai.NotFoundError) as missing:
            client.chat.completions.create(model="none", messages=[{"role": "user", "content": "x"}])
        assert missing.value.code == "model_not_found"
        upstream.fault = Fault.OVERLOADED
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(model="a", messages=[{"role": "user", "content": "y"}])


def test_tool_calls_come_back_through_the_sdk(start: Start) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    with FakeUpstream(answer=lambda payload: message) as upstream:
        gateway = start(behind(upstream, "a"))
        with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0) as client:
            answer = client.chat.completions.create(
                model="auto",
                messages=[{"role": "user", "content": "x"}],
                tools=[{"type": "function", "function": {"name": "f"}}],
            )
    (called,) = answer.choices[0].message.tool_calls or ()
    assert called.type == "function"
    assert called.function.arguments == '{"x":1}'


def test_many_callers_at_once_get_their_own_answers(gateway: Running) -> None:
    import asyncio

    async def main() -> list[bool]:
        async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as client:

            async def one(number: int) -> bool:
                messages = [{"role": "user", "content": f"nonce {number} end"}]
                body = {"model": "auto", "messages": messages, "stream": bool(number % 2)}
                response = await client.post("/v1/chat/completions", json=body)
                data = response.content.replace(b'"content":" ', b'"content":"')
                return f"{number}".encode() in data and response.status_code == 200

            return await asyncio.gather(*(one(number) for number in range(100)))

    assert all(asyncio.run(main()))
