"""`coe serve --workers N`: several processes, one gateway."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest

from coe.testing import FakeUpstream, Fault

if TYPE_CHECKING:
    from conftest import Served

    Serve = Callable[..., Served]

# Real processes that are killed, drained and reloaded: minutes, not seconds.
pytestmark = pytest.mark.slow

BODY = {"model": "auto", "messages": [{"role": "user", "content": "one two three"}]}


def config(upstream: FakeUpstream, expert: str) -> str:
    return (
        "routers: {auto: {kind: two-step}}\n"
        f"experts: {{{expert}: {{kind: openai, base_url: '{upstream.base_url}', model: {expert}}}}}\n"
    )


def until(reached: Callable[[], bool], what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


def children(pid: int) -> set[int]:
    return {
        int(child)
        for listed in Path(f"/proc/{pid}/task").glob("*/children")
        for child in listed.read_text().split()
    }


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def connections_to(port: int, pid: int) -> int:
    """How many TCP connections a process has to a port on this machine."""
    ends = {
        fields[9]
        for fields in (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
        if fields[3] == "01" and int(fields[2].split(":")[1], 16) == port
    }
    links = (os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir() if path.exists())
    return sum(link.removeprefix("socket:[").removesuffix("]") in ends for link in links)


def ask(served: Served, **fields: Any) -> httpx.Response:
    # Without `verify` each call would read all certificates of this machine.
    return httpx.post(f"{served.url}/v1/chat/completions", json={**BODY, **fields}, timeout=30, verify=False)


def metric(served: Served, name: str) -> float:
    found = [line for line in served.metrics().splitlines() if line.startswith(name)]
    return sum(float(line.split()[-1]) for line in found)


def ask_at_once(
    served: Served, count: int
) -> tuple[list[threading.Thread], list[httpx.Response | Exception]]:
    ends: list[httpx.Response | Exception] = []

    def call() -> None:
        try:
            ends.append(ask(served))
        except httpx.HTTPError as error:
            ends.append(error)

    callers = [threading.Thread(target=call) for _ in range(count)]
    for caller in callers:
        caller.start()
    return callers, ends


def test_a_killed_worker_takes_only_its_own_requests_along(serve: Serve, tmp_path: Path) -> None:
    with FakeUpstream(Fault.HANG) as upstream:
        (tmp_path / "coe.yaml").write_text(config(upstream, "a"))
        served = serve("--workers", "3")
        workers = children(served.process.pid)
        assert len(workers) == 3
        callers, ends = ask_at_once(served, 12)
        upstream.run(upstream.wait_served(12))
        port = urlsplit(upstream.base_url).port or 0
        shares = {pid: connections_to(port, pid) for pid in workers}
        assert sum(shares.values()) == 12
        victim = max(shares, key=lambda pid: shares[pid])
        os.kill(victim, signal.SIGKILL)
        upstream.run(upstream.wait_cancelled(shares[victim]))
        upstream.release()
        for caller in callers:
            caller.join(30)
        lost = [end for end in ends if isinstance(end, Exception)]
        assert len(lost) == shares[victim]
        assert {end.status_code for end in ends if isinstance(end, httpx.Response)} <= {200}
        assert [ask(served).status_code for _ in range(20)] == [200] * 20
        until(lambda: metric(served, "coe_workers") == 3, lambda: served.log)
        assert len(children(served.process.pid)) == 3
        assert victim not in children(served.process.pid)
        assert metric(served, "coe_worker_deaths_total") == 1
        assert "killed by SIGKILL" in served.log
        assert served.stop() == 0


def test_metrics_are_those_of_all_workers_also_of_one_that_has_ended(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "coe.yaml").write_text("experts: {a: {kind: echo}}\nrouters: {auto: {kind: two-step}}\n")
    served = serve("--workers", "2")
    for _ in range(30):
        assert ask(served).status_code == 200
    name = 'coe_requests_total{path="/v1/chat/completions",status="200"}'
    assert {metric(served, name) for _ in range(6)} == {30}
    for pid in children(served.process.pid):
        os.kill(pid, signal.SIGTERM)  # one by one: a worker that is told to go drains and is replaced
        until(lambda gone=pid: gone not in children(served.process.pid), lambda: served.log)
        until(lambda: metric(served, "coe_workers") == 2, lambda: served.log)
    assert metric(served, name) == 30
    assert ask(served).status_code == 200
    assert metric(served, name) == 31
    assert metric(served, "coe_worker_deaths_total") == 0


def test_sigterm_drains_all_workers(serve: Serve, tmp_path: Path) -> None:
    with FakeUpstream(Fault.HANG) as upstream:
        (tmp_path / "coe.yaml").write_text(config(upstream, "a"))
        served = serve("--workers", "2")
        workers = children(served.process.pid)
        callers, ends = ask_at_once(served, 8)
        upstream.run(upstream.wait_served(8))
        served.process.terminate()
        upstream.release()
        for caller in callers:
            caller.join(30)
        assert served.process.wait(30) == 0
    assert [end.status_code for end in ends if isinstance(end, httpx.Response)] == [200] * 8
    assert not any(map(running, workers))


def test_no_worker_outlives_its_supervisor(serve: Serve, tmp_path: Path) -> None:
    with FakeUpstream(Fault.HANG) as upstream:
        (tmp_path / "coe.yaml").write_text(config(upstream, "a"))
        served = serve("--workers", "2")
        workers = children(served.process.pid)
        callers, ends = ask_at_once(served, 4)
        upstream.run(upstream.wait_served(4))
        served.process.kill()
        upstream.release()
        for caller in callers:
            caller.join(30)
        # Nobody is left to start another, but what was running is finished.
        assert [end.status_code for end in ends if isinstance(end, httpx.Response)] == [200] * 4
        until(lambda: not any(map(running, workers)), lambda: workers)


def test_all_workers_follow_a_reload_and_keep_the_last_good(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "coe.yaml"
    with FakeUpstream() as upstream:
        path.write_text(config(upstream, "a"))
        served = serve("--workers", "2")
        path.write_text(config(upstream, "b"))
        served.process.send_signal(signal.SIGHUP)
        until(lambda: "configuration applied" in served.log, lambda: served.log)
        assert {ask(served).headers["x-coe-expert"] for _ in range(20)} == {"b"}
        path.write_text("experts: {}\n")
        served.process.send_signal(signal.SIGHUP)
        until(lambda: "configuration refused" in served.log, lambda: served.log)
        # A worker that begins now begins with the last good one, not with the file.
        for pid in children(served.process.pid):
            os.kill(pid, signal.SIGKILL)
        until(lambda: metric(served, "coe_workers") == 2, lambda: served.log)
        assert {ask(served).headers["x-coe-expert"] for _ in range(20)} == {"b"}
        assert metric(served, 'coe_config_reloads_total{outcome="applied"}') == 1
        assert metric(served, 'coe_config_reloads_total{outcome="refused"}') >= 1


def known_of(served: Served, name: str) -> tuple[int, int | None]:
    """Load and context window of an expert, as the worker has them that happens to answer."""
    listed = httpx.get(f"{served.url}/v1/models", timeout=30, verify=False).json()["data"]
    facts = next(each["coe"] for each in listed if each["id"] == name)
    return facts["load"], facts.get("context_window")


def test_an_expert_that_exists_once_is_asked_by_all_workers(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "coe.yaml").write_text(
        "plugins: {allow: [coe-test-plugin]}\nbreaker: {failures: 1000}\nrouters: {auto: {kind: first}}\n"
        "experts: {loud: {kind: shout, fail_on: mouse}, quiet: {kind: echo}}\n"
    )
    served = serve("--workers", "2")
    processes = children(served.process.pid)
    assert len(processes) == 3
    for stream in (False, True) * 3:
        answer = ask(served, stream=stream)
        assert answer.headers["x-coe-expert"] == "loud"
        assert "ONE TWO THREE!" in answer.text
        assert answer.text.count('"coe":') == 1
    ask(served, messages=[{"role": "user", "content": "a crowd"}])
    # Both workers learn within a second or two what only the host can know.
    until(lambda: {known_of(served, "loud") for _ in range(8)} == {(2, 1234)}, lambda: served.log)
    failed = ask(served, messages=[{"role": "user", "content": "a mouse"}])
    assert failed.headers["x-coe-fallback-from"] == "loud"
    os.kill(min(processes), signal.SIGKILL)  # the host begins first
    # Who asks before another one has taken its place waits, or is answered by somebody else.
    assert [ask(served).status_code for _ in range(5)] == [200] * 5
    until(lambda: ask(served).headers["x-coe-expert"] == "loud", lambda: served.log)
    assert served.stop() == 0
    assert not any(map(running, processes))


def test_all_endpoints_work_with_workers_and_are_counted_once(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "coe.yaml").write_text(
        "plugins: {allow: [coe-test-plugin]}\nrouters: {auto: {kind: first, experts: [a]}}\n"
        "experts: {a: {kind: echo}, judge: {kind: critic}}\n"
    )
    served = serve("--workers", "2")
    bodies: dict[str, dict[str, Any]] = {
        "completions": {"model": "auto", "prompt": "x"},
        # Where workers are several another process has the critic.
        "embeddings": {"model": "judge", "input": ["aei", "b"]},
        "score": {"model": "judge", "chats": [[{"role": "user", "content": "x"}] * 3]},
        "rerank": {"model": "judge", "query": "x", "documents": ["y", "x"]},
    }
    for path, body in bodies.items():
        for _ in range(4):
            answered = httpx.post(f"{served.url}/v1/{path}", json=body, timeout=30, verify=False)
            assert answered.status_code == 200, answered.text
    assert answered.json()["results"][0]["index"] == 1
    for path in bodies:
        assert metric(served, f'coe_requests_total{{path="/v1/{path}",status="200"}}') == 4
    assert metric(served, 'coe_overhead_seconds_count{answer="whole"}') == 16
    assert metric(served, 'coe_expert_first_byte_seconds_count{expert="judge"}') == 12
    assert metric(served, 'coe_route_seconds_count{cache="miss"}') >= 1
    assert metric(served, "coe_workers") == 2


def test_what_a_worker_cannot_build_is_said_once_and_ends_with_its_exit_code(tmp_path: Path) -> None:
    (tmp_path / "coe.yaml").write_text(
        "experts: {a: {kind: echo}}\nrouters: {auto: {kind: two-step, artifact: nowhere}}\n"
    )
    command = [str(Path(sys.executable).with_name("coe")), "serve", "--port", "0", "--workers", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    alone = subprocess.run(command[:-2], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert alone.returncode == done.returncode != 0
    assert alone.stderr in done.stderr
    assert "Traceback" not in done.stderr


def test_one_worker_looks_at_the_experts_for_all(serve: Serve, tmp_path: Path) -> None:
    with FakeUpstream(keep=10_000) as upstream:
        text = config(upstream, "a").replace("model: a}", "model: a, probe: {interval_s: 0.1, jitter: 0}}")
        (tmp_path / "coe.yaml").write_text(text)
        served = serve("-c", str(tmp_path / "coe.yaml"), "--workers", "3")

        def said(times: int = 20) -> set[str]:
            """By whoever of the workers takes the connection."""
            url = f"{served.url}/health/ready"
            answers = [httpx.get(url, timeout=20, verify=False) for _ in range(times)]
            return {each.json()["experts"]["a"]["probe"] for each in answers}

        until(lambda: said() == {"ok"}, lambda: served.log)
        began, before = time.monotonic(), len(upstream.received)
        time.sleep(2)
        looks = len(upstream.received) - before
        assert 0 < looks <= (time.monotonic() - began) / 0.1 + 2
        upstream.run(upstream.refuse())
        until(lambda: said() == {"failing"}, lambda: served.log)
