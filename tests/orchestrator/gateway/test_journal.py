"""One record per served request, however the request ends."""

from __future__ import annotations

import json
import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from coe.contracts import Card, Reply
from coe.gateway._note import cost_usd
from coe.journal import Attempt, Reader, Record, session_hash
from coe.tenants import change_keys, new_key
from coe.testing import FakeUpstream, Fault
from coe.wire import Usage

if TYPE_CHECKING:
    from conftest import Running, Start

Records = Callable[..., list[Record]]


def behind(upstream: FakeUpstream, *names: str, **journal: Any) -> str:
    settings = ", ".join(f"{key}: {value}" for key, value in journal.items())
    experts = "".join(
        f"  {name}: {{kind: openai, base_url: '{upstream.base_url}', model: {name}, "
        "card: {input_usd_per_mtok: 100, output_usd_per_mtok: 200}}\n"
        for name in names
    )
    return f"experts:\n{experts}routers: {{auto: {{kind: first}}}}\njournal: {{{settings}}}\n"


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """The journal once it holds so many records."""

    def wait(count: int, folder: Path = tmp_path) -> list[Record]:
        deadline = time.monotonic() + 20
        while len(found := list(Reader(folder).records())) < count:
            assert time.monotonic() < deadline, found
            time.sleep(0.01)
        assert len(found) == count
        return found

    return wait


def test_an_answered_request(start: Start, upstream: FakeUpstream, tmp_path: Path, records: Records) -> None:
    gateway = start(behind(upstream, "a", "b", dir=tmp_path))
    before = time.time()
    response = gateway.client.post(
        "/v1/chat/completions",
        json={"model": "auto", "messages": [{"role": "user", "content": "one two three"}]},
        headers={"x-coe-session": "s-1", "authorization": "Bearer sk-secret"},
    )
    (record,) = records(1)
    assert record.id == response.headers["x-coe-decision-id"]
    assert before <= record.time <= time.time()
    assert (record.status, record.error, record.streamed) == (200, None, False)
    assert (record.tenant, record.model, record.expert) == ("default", "auto", "a")
    assert (record.chosen, record.reason, record.propensity) == ("a", response.json()["coe"]["reason"], 1.0)
    assert [each.expert for each in record.ranked] == ["a", "b"]
    assert record.cache == response.headers["x-coe-cache"]
    assert record.route_us == int(response.headers["x-coe-route-us"])
    assert record.session == session_hash("default", "s-1")
    assert (record.prompt_tokens, record.completion_tokens) == (3, 3)
    assert record.cost_usd == pytest.approx((3 * 100 + 3 * 200) / 1e6)
    assert record.sent_bytes == len(response.content)
    assert [(each.expert, each.error) for each in record.attempts] == [("a", "")]
    assert record.first_byte_us is not None
    assert 0 < record.first_byte_us <= record.total_us
    text = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for never in (b"one two three", b"sk-secret", b"s-1"):
        assert never not in text


def test_prompts_are_kept_when_asked_for(
    start: Start, upstream: FakeUpstream, tmp_path: Path, records: Records
) -> None:
    start(behind(upstream, "a", dir=tmp_path, prompts="true")).chat("é" * 40_000)
    (record,) = records(1)
    assert record.prompt == "é" * 32_768


def test_a_whole_stream(start: Start, upstream: FakeUpstream, tmp_path: Path, records: Records) -> None:
    response = start(behind(upstream, "a", dir=tmp_path)).chat("one two three", stream=True)
    (record,) = records(1)
    assert (record.status, record.error, record.streamed) == (200, None, True)
    assert record.sent_bytes == len(response.content)
    assert record.sent_chunks >= 1


def test_a_stream_that_breaks_says_how_far_it_got(start: Start, tmp_path: Path, records: Records) -> None:
    with FakeUpstream(Fault.RESET_MID_BODY) as upstream:
        gateway = start(behind(upstream, "a", dir=tmp_path))
        response = gateway.chat("several words of an answer", stream=True)
        (record,) = records(1)
    frame = len(b'data: {"error"' + response.content.rpartition(b'data: {"error"')[2])
    assert (record.status, record.error, record.expert) == (200, "expert_unavailable", "a")
    assert record.sent_chunks >= 1
    assert record.sent_bytes == len(response.content) - frame


def test_a_fallback(start: Start, tmp_path: Path, records: Records) -> None:
    with FakeUpstream(faults={"a": Fault.SERVER_ERROR}) as upstream:
        start(behind(upstream, "a", "b", dir=tmp_path)).chat("x")
        (record,) = records(1)
    assert (record.status, record.chosen, record.expert) == (200, "a", "b")
    assert [(each.expert, each.error) for each in record.attempts] == [("a", "expert_unavailable"), ("b", "")]


def test_a_request_that_nobody_answers(start: Start, tmp_path: Path, records: Records) -> None:
    with FakeUpstream(Fault.OVERLOADED) as upstream:
        start(behind(upstream, "a", "b", dir=tmp_path)).chat("x")
        (record,) = records(1)
    assert (record.status, record.error, record.expert) == (429, "expert_overloaded", None)
    assert (record.chosen, len(record.attempts), record.first_byte_us) == ("a", 2, None)


def test_requests_that_are_refused(
    start: Start, upstream: FakeUpstream, tmp_path: Path, records: Records
) -> None:
    gateway = start(behind(upstream, "a", dir=tmp_path))
    assert gateway.client.post("/v1/chat/completions", content=b"{").status_code == 400
    assert gateway.chat("x", model="none").status_code == 404
    bad, unknown = records(2)
    assert (bad.status, bad.error, bad.model, bad.chosen) == (400, "invalid_request", None, None)
    assert (unknown.status, unknown.error, unknown.model) == (404, "model_not_found", "none")
    assert (unknown.propensity, unknown.attempts) == (None, ())


def test_the_tenant_is_recorded_and_who_has_no_key_is_not(
    start: Start, upstream: FakeUpstream, tmp_path: Path, records: Records
) -> None:
    keys = tmp_path / "keys.json"
    key, secret = new_key("acme", secrets.token_bytes, time.time())
    change_keys(keys, lambda known: (*known, key))
    folder = tmp_path / "journal"
    gateway = start(behind(upstream, "a", dir=folder) + f"tenants: {{keys_file: {keys}}}\n")
    body = {"model": "auto", "messages": [{"role": "user", "content": "x"}]}
    statuses = [
        gateway.client.post(
            "/v1/chat/completions", json=body, headers={"authorization": f"Bearer {each}"}
        ).status_code
        for each in ("nonsense", secret)
    ]
    assert statuses == [401, 200]
    (record,) = records(1, folder)
    assert record.tenant == "acme"
    assert secret.encode() not in b"".join(path.read_bytes() for path in folder.iterdir())


@pytest.mark.parametrize(("stream", "fault"), [(False, Fault.HANG), (True, Fault.ENDLESS)])
def test_a_caller_that_goes_away(
    start: Start, tmp_path: Path, records: Records, stream: bool, fault: Fault
) -> None:
    with FakeUpstream(fault) as upstream:
        gateway = start(behind(upstream, "a", dir=tmp_path))
        body = {"model": "auto", "messages": [{"role": "user", "content": "x"}], "stream": stream}
        leave_early(gateway, json.dumps(body).encode(), upstream, read=stream)
        (record,) = records(1)
    assert (record.status, record.error) == (499, "client_gone")
    if stream:
        assert record.expert == "a"
        assert record.sent_chunks >= 1
    else:
        assert record.expert is None
        assert [(each.expert, each.error) for each in record.attempts] == [("a", "cancelled")]


def leave_early(gateway: Running, body: bytes, upstream: FakeUpstream, *, read: bool) -> None:
    host, port = gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        upstream.run(upstream.wait_served(1))
        if read:
            connection.recv(100)
            time.sleep(0.05)
    upstream.run(upstream.wait_cancelled(1))


PRICED = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0}


@pytest.mark.parametrize(
    ("card", "reply", "cost"),
    [
        (PRICED, Reply(usage=Usage(prompt_tokens=10, completion_tokens=20)), 50e-6),
        (PRICED, Reply(usage=Usage(prompt_tokens=10), cost_usd=0.5), 0.5),
        (PRICED, Reply(), None),
        ({"input_usd_per_mtok": 1.0}, Reply(usage=Usage(prompt_tokens=10, completion_tokens=1)), None),
        ({"input_usd_per_mtok": 1.0}, Reply(usage=Usage(prompt_tokens=10)), 10e-6),
        ({}, Reply(usage=Usage(prompt_tokens=10)), None),
        ({"locality": "local"}, Reply(), 0.0),
        ({"locality": "local", **PRICED}, Reply(), None),
    ],
)
def test_what_an_answer_cost(card: dict[str, Any], reply: Reply, cost: float | None) -> None:
    assert cost_usd(Card(name="a", **card), reply) == pytest.approx(cost)


def test_metrics_count_the_journal(
    start: Start, upstream: FakeUpstream, tmp_path: Path, records: Records
) -> None:
    gateway = start(behind(upstream, "a", dir=tmp_path))
    for _ in range(3):
        gateway.chat("x")
    records(3)
    text = gateway.client.get("/metrics").text
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert "coe_journal_records_total 3.0" in text
    assert "coe_journal_dropped_total 0.0" in text
    assert "coe_journal_errors_total 0.0" in text
    assert f"coe_journal_bytes_total {float(size)}" in text


def test_without_a_folder_nothing_is_kept(start: Start, upstream: FakeUpstream) -> None:
    gateway = start(behind(upstream, "a"))
    assert gateway.chat("x").status_code == 200
    assert gateway.gateway.serving.journal is None
    assert "coe_journal" not in gateway.client.get("/metrics").text


def test_a_disk_that_fails_fails_no_request(
    start: Start, upstream: FakeUpstream, tmp_path: Path, records: Records
) -> None:
    folder = tmp_path / "journal"
    gateway = start(behind(upstream, "a", dir=folder))
    folder.rmdir()
    folder.write_text("in the way")
    assert [gateway.chat("x").status_code for _ in range(3)] == [200, 200, 200]
    deadline = time.monotonic() + 20
    while "coe_journal_errors_total 0.0" in gateway.client.get("/metrics").text:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert gateway.chat("x").status_code == 200


def test_closing_writes_everything(start: Start, upstream: FakeUpstream, tmp_path: Path) -> None:
    journal = start(behind(upstream, "a", dir=tmp_path)).gateway.serving.journal
    assert journal is not None
    journal.add(Record(id="last", time=1.0, status=200, total_us=1, attempts=(Attempt("a", "", 0.1),)))
    journal.close()
    assert [each.id for each in Reader(tmp_path).records()] == ["last"]
