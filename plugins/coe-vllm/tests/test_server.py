"""Launching a server, watching it, leaving nothing behind. The server is small; the processes are real."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from coe.errors import ExpertTimeout, ExpertUnavailable
from coe.testing import chat, collect, context
from coe_vllm._expert import VllmExpert
from coe_vllm.server import Order, Process, StartFailed

from .conftest import FAKE, launched, make_expert

pytestmark = pytest.mark.slow


def alive(pid: int) -> bool:
    """Whether a process lives; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def until(done: Callable[[], bool], timeout_s: float = 15) -> None:
    async with asyncio.timeout(timeout_s):
        while not done():
            await asyncio.sleep(0.02)


def with_expert(check: Callable[[VllmExpert], Awaitable[None]], keys: dict[str, Any]) -> None:
    async def run() -> None:
        expert: VllmExpert = make_expert("vllm", "base", keys)
        try:
            await check(expert)
        finally:
            await expert.aclose()

    asyncio.run(run())


async def answer(expert: VllmExpert, text: str, **fields: Any) -> str:
    reply = await expert.complete(chat(text, **fields), context())
    return (await collect(reply)).text


async def worker_of(expert: VllmExpert) -> int:
    raw = await expert.backend.api._ask("GET", "/server_info")
    return json.loads(raw)["worker"]


def test_a_server_is_launched_answers_and_leaves_nothing() -> None:
    async def check(expert: VllmExpert) -> None:
        assert not expert.awake
        assert expert.card.context_window is None
        await expert.start()
        await expert.start()
        assert expert.awake
        assert expert.card.context_window == 512
        assert await answer(expert, "hello") == "base: hello"
        assert await answer(expert, "hello", stream=True) == "base: hello"
        pids.extend([expert.backend.server.pid, await worker_of(expert)])  # type: ignore[attr-defined]
        assert all(map(alive, pids))

    pids: list[int] = []
    with_expert(check, launched())
    assert len(pids) == 2
    assert not any(map(alive, pids))


def test_a_request_starts_a_server_that_is_not_there_yet() -> None:
    async def check(expert: VllmExpert) -> None:
        assert await answer(expert, "hello") == "base: hello"

    with_expert(check, launched())


def test_the_deadline_ends_the_wait_and_not_the_start() -> None:
    async def check(expert: VllmExpert) -> None:
        with pytest.raises(ExpertTimeout, match=r"being made ready at the deadline: [a-z ]+, \d+ s"):
            await expert.complete(chat("hello"), context(timeout_s=0.6))
        await until(lambda: expert.backend.status.state == "ready")
        assert await answer(expert, "hello") == "base: hello"

    with_expert(check, launched(args={"delay_s": 1.0}))


def test_a_server_that_cannot_start_gives_the_reason_of_its_log() -> None:
    async def check(expert: VllmExpert) -> None:
        with pytest.raises(
            ExpertUnavailable, match=r"`base` cannot be started: ValueError: no memory"
        ) as caught:
            await expert.start()
        assert caught.value.retry_after_s is not None
        assert expert.backend.status.state == "failed"
        with pytest.raises(ExpertUnavailable, match=r"no memory .*; the next try is in 1 s"):
            await expert.start()

    with_expert(check, launched(args={"fail": "no memory"}))


def test_a_python_that_is_not_there_is_named(tmp_path: Path) -> None:
    async def check(expert: VllmExpert) -> None:
        with pytest.raises(ExpertUnavailable, match=r"none/python: No such file"):
            await expert.start()

    with_expert(check, launched(python=str(tmp_path / "none" / "python")))


def test_a_server_that_never_gets_ready_is_ended_with_its_last_words() -> None:
    async def check(expert: VllmExpert) -> None:
        with pytest.raises(
            ExpertUnavailable, match=r"not ready after 1 s \(loading weights\); its last words"
        ):
            await expert.start()

    with_expert(check, launched(args={"delay_s": 60}, start_timeout_s=1.0))


def test_a_killed_server_comes_back() -> None:
    async def check(expert: VllmExpert) -> None:
        await expert.start()
        server = expert.backend.server  # type: ignore[attr-defined]
        before, worker = server.pid, await worker_of(expert)
        os.kill(before, signal.SIGKILL)
        await until(lambda: not alive(worker))
        await until(lambda: expert.awake and server.pid not in (None, before))
        assert await answer(expert, "again") == "base: again"

    with_expert(check, launched())


def test_nobody_waits_for_a_server_that_died() -> None:
    async def check(expert: VllmExpert) -> None:
        await expert.start()
        server = expert.backend.server  # type: ignore[attr-defined]
        os.kill(server.pid, signal.SIGKILL)
        await until(lambda: expert.backend.status.state == "starting")
        with pytest.raises(ExpertUnavailable, match=r"signal SIGKILL; it is being started again"):
            await answer(expert, "now")
        await until(lambda: expert.awake)
        assert await answer(expert, "again") == "base: again"

    with_expert(check, launched(args={"delay_s": 2}))


def test_a_killed_keeper_takes_the_server_with_it() -> None:
    async def check(expert: VllmExpert) -> None:
        await expert.start()
        server = expert.backend.server  # type: ignore[attr-defined]
        before = server.pid
        os.kill(server._process._keeper.pid, signal.SIGKILL)
        await until(lambda: not alive(before))
        await until(lambda: expert.awake and server.pid not in (None, before))

    with_expert(check, launched())


def test_a_server_whose_engine_died_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(expert: VllmExpert) -> None:
        await expert.start()
        server = expert.backend.server  # type: ignore[attr-defined]
        before = server.pid
        await expert.backend.api._ask("POST", "/fake", {"healthy": False})
        await until(lambda: server.pid not in (None, before) and expert.awake)

    monkeypatch.setattr("coe_vllm.server._supervisor._WATCH_S", 0.05)
    with_expert(check, launched())


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left_when_the_gateway_is_killed(how: signal.Signals, tmp_path: Path) -> None:
    script = textwrap.dedent(
        f"""
        import asyncio, sys
        from pathlib import Path
        from coe_vllm.server import Order, Process
        async def main():
            argv = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
            argv += ["--host", "127.0.0.1", "--port", "0"]
            order = Order(argv=argv, env={{"PYTHONPATH": {str(FAKE)!r}}}, cwd=Path("."), grace_s=5)
            process = await Process.launch(order, lambda line: print(line, flush=True))
            print("server", process.pid, flush=True)
            await asyncio.sleep(60)
        asyncio.run(main())
        """
    )
    pids: list[int] = []
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as gateway:
        assert gateway.stdout is not None
        while len(pids) < 2:
            line = gateway.stdout.readline()
            assert line, "the gateway ended early"
            pids += [int(pid) for pid in re.findall(r"^(?:server|worker) (\d+)$", line)]
        assert all(map(alive, pids))
        gateway.send_signal(how)
    until_s = time.monotonic() + 15
    while any(map(alive, pids)) and time.monotonic() < until_s:
        time.sleep(0.02)
    assert not any(map(alive, pids))


def test_output_goes_to_the_log_file(tmp_path: Path) -> None:
    async def run() -> None:
        code = "print('first'); print('x' * 3_000_000); print('last')"
        order = Order(argv=[sys.executable, "-c", code], env={}, cwd=tmp_path, log_file=tmp_path / "log")
        lines: list[str] = []
        process = await Process.launch(order, lines.append)
        assert "status 0" in await process.wait()
        await process.stop()
        assert (lines[0], lines[-1]) == ("first", "last")
        assert (tmp_path / "log").read_text().startswith("first\n")

    asyncio.run(run())


def test_a_log_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    order = Order(argv=["x"], env={}, cwd=tmp_path, log_file=tmp_path / "none" / "log")
    with pytest.raises(StartFailed, match="none/log cannot be written"):
        asyncio.run(Process.launch(order))


def test_a_start_that_is_cancelled_leaves_nothing() -> None:
    async def check(expert: VllmExpert) -> None:
        task = asyncio.create_task(expert.start())
        await until(lambda: expert.backend.server.pid is not None)  # type: ignore[attr-defined]
        pids.append(expert.backend.server.pid)  # type: ignore[attr-defined]
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    pids: list[int] = []
    with_expert(check, launched(args={"delay_s": 60}))
    assert not alive(pids[0])
