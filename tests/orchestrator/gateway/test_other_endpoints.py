"""Completions, embeddings, score and rerank over HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest

from coe.journal import Reader
from coe.testing import FakeUpstream, Fault

if TYPE_CHECKING:
    from conftest import Running, Start


def config(upstream: FakeUpstream, more: str = "") -> str:
    """`chatty` only chats, `base` completes, `vectors` embeds, `judge` and `far` score."""
    at = f"kind: openai, base_url: '{upstream.base_url}'"
    return f"""
plugins: {{allow: [coe-test-plugin]}}
experts:
  chatty: {{{at}, model: m-chatty, card: {{domains: [coding]}}}}
  base: {{{at}, model: m-base, card: {{domains: [math, general], capabilities: [chat, stream, complete]}}}}
  vectors: {{{at}, model: m-vectors, card: {{capabilities: [embed], input_usd_per_mtok: 1000000}}}}
  judge: {{kind: critic, card: {{capabilities: [score]}}}}
  far: {{{at}, model: m-far, routable: false, card: {{capabilities: [score]}}}}
routers: {{auto: {{kind: two-step}}}}
{more}"""


@pytest.fixture
def gateway(start: Start, upstream: FakeUpstream) -> Running:
    return start(config(upstream))


def post(gateway: Running, path: str, **body: Any) -> Any:
    return gateway.client.post(path, json=body)


CODE = "Write a Python function that reverses a list."
SUM = "What is the integral of x^2 from 0 to 3?"

# --- completions


def test_a_prompt_is_routed_by_what_it_says(gateway: Running, upstream: FakeUpstream) -> None:
    translated = post(gateway, "/v1/completions", model="auto", prompt=CODE, max_tokens=9)
    native = post(gateway, "/v1/completions", model="auto", prompt=[SUM], temperature=0.5)
    assert [each.headers["x-coe-expert"] for each in (translated, native)] == ["chatty", "base"]
    for answered, text in ((translated, CODE), (native, f"['{SUM}']")):
        body = answered.json()
        assert body["object"] == "text_completion"
        assert (body["choices"][0]["text"], body["choices"][0]["finish_reason"]) == (text, "stop")
        assert body["usage"]["completion_tokens"] == len(text.split())
        assert body["coe"]["category"] == answered.headers["x-coe-category"] != "general"
    one, two = upstream.received
    assert (one.path, two.path) == ("/v1/chat/completions", "/v1/completions")
    messages = [{"role": "user", "content": CODE}]
    assert one.json() == {"model": "m-chatty", "messages": messages, "max_tokens": 9}
    assert two.json() == {"model": "m-base", "prompt": [SUM], "temperature": 0.5}


@pytest.mark.parametrize("expert", ["chatty", "base"])
def test_a_streamed_prompt_reads_the_same_either_way(gateway: Running, expert: str) -> None:
    with openai.OpenAI(base_url=gateway.url + "/v1", api_key="any") as client:
        stream = client.completions.create(
            model=expert, prompt="one two three", stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == "one two three"
    assert all(chunk.object == "text_completion" for chunk in chunks)
    assert chunks[0].model == expert
    assert chunks[0].model_extra is not None
    assert chunks[0].model_extra["coe"]["reason"] == "requested"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 3


@pytest.mark.parametrize("fault", [Fault.SPLIT, Fault.TRUNCATED, Fault.ERROR_FRAME])
def test_a_translated_stream_keeps_what_streams_promise(
    gateway: Running, upstream: FakeUpstream, fault: Fault
) -> None:
    upstream.fault = fault
    text = post(gateway, "/v1/completions", model="chatty", prompt="one two three", stream=True).text
    events = [event.removeprefix("data: ") for event in text.split("\n\n") if event]
    assert (events[-1] == "[DONE]") == (fault is Fault.SPLIT)
    assert ("error" in json.loads(events[-1] if fault is not Fault.SPLIT else events[-2])) == (
        fault is not Fault.SPLIT
    )


def test_the_next_expert_answers_a_prompt_when_the_first_fails(
    gateway: Running, upstream: FakeUpstream
) -> None:
    upstream.faults = {"m-base": Fault.SERVER_ERROR}
    answered = post(gateway, "/v1/completions", model="auto", prompt=SUM)
    assert (answered.json()["model"], answered.headers["x-coe-fallback-from"]) == ("chatty", "base")
    assert answered.json()["choices"][0]["text"] == SUM


@pytest.mark.parametrize(
    "only", [{"suffix": "."}, {"logprobs": 1}, {"echo": True}, {"prompt": [1, 2]}, {"prompt": ["a", "b"]}]
)
def test_what_a_chat_cannot_say_goes_to_who_completes(gateway: Running, only: dict[str, Any]) -> None:
    body = {"model": "auto", "prompt": CODE, **only}
    assert post(gateway, "/v1/completions", **body).headers["x-coe-expert"] == "base"
    refused = post(gateway, "/v1/completions", **{**body, "model": "chatty"})
    assert refused.json()["error"]["code"] == "no_eligible_expert"
    assert "cannot do complete" in refused.json()["error"]["message"]


def test_a_pool_of_base_models_completes_too(start: Start, upstream: FakeUpstream) -> None:
    card = "card: {capabilities: [complete, stream]}"
    at = f"kind: openai, base_url: '{upstream.base_url}', model: m"
    gateway = start(f"experts: {{a: {{{at}, {card}}}}}\nrouters: {{auto: {{kind: first}}}}\n")
    assert post(gateway, "/v1/completions", model="auto", prompt="x").json()["choices"][0]["text"] == "x"
    assert gateway.chat("x").json()["error"]["code"] == "no_eligible_expert"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({}, "prompt"),
        ({"prompt": "x", "promt": 1}, "promt"),
        ({"prompt": "x", "max_tokens": "9"}, "max_tokens"),
        ({"prompt": "x", "messages": []}, "messages"),
    ],
)
def test_a_wrong_prompt_names_its_field(gateway: Running, body: dict[str, Any], param: str) -> None:
    refused = post(gateway, "/v1/completions", model="auto", **body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)


# --- embeddings


def test_texts_are_embedded_by_the_expert_that_can(gateway: Running, upstream: FakeUpstream) -> None:
    with openai.OpenAI(base_url=gateway.url + "/v1", api_key="any") as client:
        answered = client.embeddings.create(model="vectors", input=["a bc", "d"], encoding_format="float")
    assert [each.embedding for each in answered.data] == [[4.0, 2.0], [1.0, 1.0]]
    assert (answered.model, answered.usage.prompt_tokens) == ("vectors", 3)
    assert upstream.received[0].path == "/v1/embeddings"
    assert upstream.received[0].json()["model"] == "m-vectors"
    by_router = post(gateway, "/v1/embeddings", model="auto", input="x")
    assert by_router.json()["coe"]["reason"] == "only_eligible"
    refused = post(gateway, "/v1/embeddings", model="chatty", input="x").json()["error"]
    assert "cannot do embed" in refused["message"]


def test_vectors_of_different_experts_are_never_mixed_up(start: Start, upstream: FakeUpstream) -> None:
    at = f"kind: openai, base_url: '{upstream.base_url}', model: m, card: {{capabilities: [embed]}}"
    gateway = start(f"experts: {{a: {{{at}}}, b: {{{at}}}}}\nrouters: {{auto: {{kind: first}}}}\n")
    refused = post(gateway, "/v1/embeddings", model="auto", input="x").json()["error"]
    assert (refused["param"], "`a`, `b`" in refused["message"]) == ("model", True)
    assert post(gateway, "/v1/embeddings", model="b", input="x").json()["model"] == "b"


def test_an_expert_that_fails_to_embed_is_told_and_nobody_else_is_asked(
    gateway: Running, upstream: FakeUpstream
) -> None:
    upstream.run(upstream.refuse())
    refused = post(gateway, "/v1/embeddings", model="vectors", input="x")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "expert_unavailable")


# --- score and rerank


@pytest.mark.parametrize("model", ["judge", "far", "auto"])
def test_scores_come_in_the_order_of_the_answers(gateway: Running, model: str) -> None:
    body = post(gateway, "/v1/score", model=model, text_1="red house", text_2=["a house", "x", "red house"])
    rows = body.json()["data"]
    assert [row["score"] for row in rows] == [0.5, 0.0, 1.0]
    assert [(row["index"], row["object"]) for row in rows] == [(0, "score"), (1, "score"), (2, "score")]
    assert body.json()["model"] == ("judge" if model == "auto" else model)


def test_pairs_and_whole_chats_are_scored(gateway: Running) -> None:
    pairs = post(gateway, "/v1/score", model="judge", queries=["a", "b"], documents=["b", "b"]).json()
    assert [row["score"] for row in pairs["data"]] == [0.0, 1.0]
    chat = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    chats = [[*chat, {"role": "assistant", "content": "a"}]]
    assert post(gateway, "/v1/score", model="judge", chats=chats).json()["data"][0]["score"] == 0.5
    refused = post(gateway, "/v1/score", model="far", chats=chats)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "chats")
    uneven = post(gateway, "/v1/score", model="judge", text_1=["a", "b"], text_2=["a", "b", "c"])
    assert uneven.json()["error"]["param"] == "text_1"


def test_documents_are_ranked(gateway: Running) -> None:
    documents = ["x", {"text": "red house", "id": 7}, "a house"]
    answered = post(gateway, "/v1/rerank", model="auto", query="red house", documents=documents, top_n=2)
    first, second = answered.json()["results"]
    assert first == {"index": 1, "relevance_score": 1.0, "document": {"text": "red house", "id": 7}}
    assert second == {"index": 2, "relevance_score": 0.5, "document": {"text": "a house"}}
    bare = post(
        gateway, "/v1/rerank", model="judge", query="red", documents=documents, return_documents=False
    )
    assert all(set(row) == {"index", "relevance_score"} for row in bare.json()["results"])


# --- as every request


def test_tenants_limits_metrics_and_journal_hold_for_all_of_them(
    start: Start, upstream: FakeUpstream, tmp_path: Path
) -> None:
    policy = "{models: [vectors, judge, base], tokens_per_minute: 60000, budget_usd: {amount: 9, per: day}}"
    gateway = start(
        config(upstream, f"tenants: {{policies: {{default: {policy}}}}}\njournal: {{dir: {tmp_path}}}\n")
    )
    embedded = post(gateway, "/v1/embeddings", model="vectors", input=["four words are here", "x"])
    assert embedded.headers["x-ratelimit-limit-tokens"] == "60000"
    post(gateway, "/v1/score", model="judge", text_1="red house", text_2="red")
    hidden = post(gateway, "/v1/embeddings", model="auto", input="x").json()["error"]
    assert hidden["code"] == "model_not_found"
    spent = post(gateway, "/v1/embeddings", model="vectors", input="word " * 40).json()["error"]
    assert spent["code"] == "budget_exceeded"
    metrics = gateway.client.get("/metrics").text
    assert 'coe_tenant_spent_usd_total{policy="default"} 5.0' in metrics
    assert 'coe_requests_total{path="/v1/score",status="200"} 1.0' in metrics
    assert 'coe_tokens_total{expert="vectors",kind="prompt"} 5.0' in metrics
    assert 'expert="judge",kind="prompt"' not in metrics  # an estimate is nobody's report
    gateway.gateway.serving.journal.close()  # type: ignore[union-attr]
    records = list(Reader(tmp_path).records())
    assert [(each.endpoint, each.status, each.expert, each.estimated) for each in records] == [
        ("/v1/embeddings", 200, "vectors", False),
        ("/v1/score", 200, "judge", True),
        ("/v1/embeddings", 404, None, None),
        ("/v1/embeddings", 429, None, None),
    ]
    assert records[0].prompt_tokens == 5
    assert records[0].cost_usd == 5
    assert records[0].propensity == 1


def test_limits_of_an_expert_hold_for_scores(start: Start) -> None:
    gateway = start(
        "plugins: {allow: [coe-test-plugin]}\nrouters: {auto: {kind: first}}\nexperts:\n"
        "  judge: {kind: critic, max_concurrency: 1, max_queue: 0, fail_on: nonce}\n"
    )
    assert post(gateway, "/v1/score", model="judge", text_1="a", text_2="a").status_code == 200
    assert post(gateway, "/v1/score", model="judge", text_1="a", text_2="nonce").status_code == 503
    assert post(gateway, "/v1/embeddings", model="judge", input="aei").json()["data"][0]["embedding"][:3] == [
        1.0,
        1.0,
        1.0,
    ]
    gate = gateway.engine.pool.member("judge").gate
    assert gate is not None
    assert gate.inside == 0


def test_a_card_promises_no_more_than_its_kind_can_do(start: Start) -> None:
    from coe.errors import ConfigError

    with pytest.raises(ConfigError, match=r"experts.a.card.capabilities: EchoExpert cannot do `score`"):
        start("experts: {a: {kind: echo, card: {capabilities: [score]}}}\nrouters: {auto: {kind: first}}\n")
