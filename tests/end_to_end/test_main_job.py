"""The main job from outside: prompts in over the OpenAI API, the right expert answers, and says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
import openai

from coe.testing import FakeUpstream, Fault

if TYPE_CHECKING:
    from conftest import Served

    Serve = Callable[..., Served]

PROMPTS = {
    "Write a Python function that reverses a string.": "coding",
    "What is 17 * 23? Show your work.": "math",
    "Why does ice float on water?": "science",
    "What are the symptoms of the flu?": "health",
    "Write a short poem about the sea.": "writing",
    "How did the Roman Empire fall?": "humanities",
    "Fix this bug: for i in range(len(xs)) print(xs[i])": "coding",
    "Solve for x: 3x + 5 = 20": "math",
    "zxqv brr 19 ; lorem": "general",
}

ANSWERED = {
    "Write a SQL query that counts rows.": "coding",
    "What is 12 + 30?": "math",
}
"""Of these the answers are wanted too, one of them as a stream."""


def decided(served: Served, prompt: str) -> httpx.Headers:
    """What is decided about a prompt that nobody answers."""
    body = {"model": "auto", "prompt": prompt}
    response = httpx.post(f"{served.url}/v1/route", json=body, timeout=30, verify=False)
    assert response.status_code == 200
    return response.headers


def ask(client: openai.OpenAI, prompt: str, *, stream: bool) -> tuple[str, dict[str, Any], httpx.Headers]:
    """Text, `coe` object and headers of one answer."""
    messages: list[Any] = [{"role": "user", "content": prompt}]
    if not stream:
        raw = client.chat.completions.with_raw_response.create(model="auto", messages=messages, max_tokens=8)
        answer = raw.parse()
        assert answer.model_extra is not None
        assert answer.model == answer.model_extra["coe"]["expert"]
        return answer.choices[0].message.content or "", answer.model_extra["coe"], raw.headers
    with client.chat.completions.with_streaming_response.create(
        model="auto", messages=messages, max_tokens=8, stream=True
    ) as response:
        lines = [line for line in response.iter_lines() if line.startswith("data: ")]
    assert lines[-1] == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
    return text, chunks[0]["coe"], response.headers


def test_the_main_job_with_no_configuration(serve: Serve, redis_server: Any) -> None:
    first = serve("--redis", redis_server.url)
    first.ready()
    assert "very small" in first.log
    with openai.OpenAI(base_url=f"{first.url}/v1", api_key="unused", max_retries=0) as client:
        for prompt, category in PROMPTS.items():
            assert decided(first, prompt)["x-coe-category"] == category
        for at, (prompt, category) in enumerate(ANSWERED.items()):
            text, facts, headers = ask(client, prompt, stream=bool(at % 2))
            assert text.strip()
            assert facts["category"] == facts["expert"] == category
            assert facts["expert"] == headers["x-coe-expert"]
            assert facts["category"] == headers["x-coe-category"]
            assert facts["decision_id"] == headers["x-coe-decision-id"]
            assert facts["cache"] == headers["x-coe-cache"] == "miss"

        # Another process of the same configuration finds the decisions in Redis.
        second = serve("--redis", redis_server.url)
        second.ready()  # who is awake is a part of what a decision depends on
        headers = decided(second, next(iter(PROMPTS)))
        assert (headers["x-coe-cache"], headers["x-coe-expert"]) == ("hit", "coding")
        assert 'coe_decision_cache_lookups_total{source="shared"} 1.0' in second.metrics()

        # Without Redis nothing changes for the caller.
        assert 'coe_shared_cache_events_total{event="hits"} 1.0' in second.metrics()
        redis_server.kill()
        text, facts, _ = ask(client, "Solve for y: 2y = 8", stream=False)
        assert text.strip()
        assert facts["category"] == "math"
        assert decided(first, next(iter(PROMPTS)))["x-coe-category"] == "coding"

        body = {"model": "auto", "messages": [{"role": "user", "content": "x"}], "temprature": 1}
        refused = httpx.post(f"{first.url}/v1/chat/completions", json=body)
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == "temprature"
        assert "`temperature`" in refused.json()["error"]["message"]
    assert first.stop() == 0
    assert second.stop() == 0


def test_one_of_two_experts_fails_and_the_other_answers(serve: Serve, tmp_path: Any) -> None:
    with FakeUpstream(faults={"bad": Fault.UNAVAILABLE}) as upstream:
        (tmp_path / "coe.yaml").write_text(
            "experts:\n"
            f"  bad: {{kind: openai, base_url: '{upstream.base_url}', model: bad}}\n"
            f"  good: {{kind: openai, base_url: '{upstream.base_url}', model: good}}\n"
            "routers:\n"
            "  auto: {kind: two-step, map: {general: [bad, good], coding: [bad, good]}}\n"
        )
        served = serve()
        with openai.OpenAI(base_url=f"{served.url}/v1", api_key="unused", max_retries=0) as client:
            for stream in (False, True):
                text, facts, headers = ask(client, "Write a Python function that adds.", stream=stream)
                assert text == "Write a Python function that adds."
                assert facts["expert"] == "good"
                assert facts["fallback_from"] == ["bad"]
                assert headers["x-coe-fallback-from"] == "bad"


def test_requests_in_flight_are_finished_on_sigterm(serve: Serve, tmp_path: Any) -> None:
    with FakeUpstream(Fault.HANG) as upstream:
        (tmp_path / "coe.yaml").write_text(
            f"experts: {{a: {{kind: openai, base_url: '{upstream.base_url}', model: a}}}}\n"
            "routers: {auto: {kind: two-step}}\n"
        )
        served = serve()
        import threading

        answers: list[httpx.Response] = []
        body = {"model": "auto", "messages": [{"role": "user", "content": "late"}]}
        caller = threading.Thread(
            target=lambda: answers.append(
                httpx.post(f"{served.url}/v1/chat/completions", json=body, timeout=30)
            )
        )
        caller.start()
        upstream.run(upstream.wait_served(1))
        served.process.terminate()
        upstream.release()
        caller.join(30)
        assert served.process.wait(30) == 0
    (answer,) = answers
    assert answer.json()["choices"][0]["message"]["content"] == "late"


def test_a_port_in_use_is_said_without_a_traceback(serve: Serve, tmp_path: Any) -> None:
    import subprocess
    import sys
    from pathlib import Path

    (tmp_path / "coe.yaml").write_text("experts: {a: {kind: echo}}\nrouters: {auto: {kind: two-step}}\n")
    port = serve().url.rpartition(":")[2]
    command = [str(Path(sys.executable).with_name("coe")), "serve", "--port", port]
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert again.returncode == 3
    assert f"Cannot listen on 127.0.0.1:{port}" in again.stderr
    assert "Traceback" not in again.stderr
