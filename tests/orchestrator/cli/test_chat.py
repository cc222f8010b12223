"""`coe chat`, once and as a conversation."""

from __future__ import annotations

import io
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from coe.testing import FakeUpstream

Run = Callable[..., tuple[int, str, str]]

COE = [sys.executable, "-c", "from coe.cli import main; main()"]


def test_once_in_process(run: Run, pool_file: Path) -> None:
    code, out, err = run("chat", "hello there", "-c", pool_file)
    assert (code, out) == (0, "A: hello there\n")
    told, routing = err.splitlines()
    assert told.endswith("the experts run in this process.")
    assert routing.startswith(
        "alpha, because it is the best eligible expert of that category · general (1.00) · cache miss"
    )


def test_once_at_a_server(run: Run, server_url: str) -> None:
    code, out, err = run("chat", "hello", "--model", "beta", "--url", server_url)
    assert (code, out) == (0, "B: hello\n")
    assert err.startswith("beta, because you asked for it · ")


def test_a_server_at_the_configured_address_is_asked(run: Run, server_url: str, tmp_path: Path) -> None:
    path = tmp_path / "coe.yaml"
    port = urlsplit(server_url).port
    path.write_text(
        f"server: {{host: 0.0.0.0, port: {port}}}\n"
        "experts: {other: {kind: echo}}\nrouters: {auto: {kind: two-step}}\n"
    )
    code, out, err = run("chat", "hello")
    assert (code, out) == (0, "A: hello\n")
    assert err.startswith(f"Asking the server at {server_url}.\n")


def test_the_prompt_from_stdin(run: Run, pool_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("two\nlines"))
    assert run("chat", "-", "-c", pool_file)[1] == "A: two\nlines\n"


def test_mistakes_have_their_exit_codes(run: Run, pool_file: Path) -> None:
    code, out, err = run("chat", "hello", "--model", "nobody", "-c", pool_file)
    assert (code, out) == (6, "")
    assert "error: No model is called `nobody`." in err
    code, out, err = run("chat", "hello", "--model", "error-frame", "-c", pool_file)
    assert code == 7
    assert out  # what came before the failure


def test_a_conversation(
    run: Run, upstream: FakeUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "coe.yaml").write_text(
        "server: {port: 0}\nplugins: {allow: [coe-test-plugin]}\n"
        f"experts: {{only: {{kind: openai, base_url: '{upstream.base_url}', model: fine}}}}\n"
        "routers: {auto: {kind: first}}\n"
    )
    monkeypatch.setattr("sys.stdin", io.StringIO("one\n\n two \n/new\nthree\n"))
    code, out, _ = run("chat")
    assert (code, out) == (0, "one\ntwo\nthree\n")
    asked = [each.json()["messages"] for each in list(upstream.received)[-3:]]
    said = [[(message["role"], message["content"]) for message in messages] for messages in asked]
    assert said == [
        [("user", "one")],
        [("user", "one"), ("assistant", "one"), ("user", "two")],
        [("user", "three")],
    ]


def test_a_failed_turn_does_not_end_the_conversation(
    run: Run, pool_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("one\ntwo\n"))
    code, out, err = run("chat", "--model", "down", "-c", pool_file)
    assert (code, out) == (0, "")
    assert err.count("error: `down` cannot be reached") == 2


def _chat(pool_file: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COE, "chat", *arguments, "-c", str(pool_file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    )


def test_ctrl_c_stops_an_answer_then_leaves(pool_file: Path, upstream: FakeUpstream) -> None:
    cancelled = upstream.cancelled
    with _chat(pool_file, "--model", "endless") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write("hello\n")
        process.stdin.flush()
        assert process.stdout.read(3)  # the endless answer has begun
        process.send_signal(signal.SIGINT)
        while (line := process.stderr.readline()) != "Stopped.\n":
            assert line
        upstream.run(upstream.wait_cancelled(cancelled + 1))
        assert _interrupt(process) == 130
        assert "Traceback" not in process.stderr.read()


def _interrupt(process: subprocess.Popen[str]) -> int:
    """Its exit status after Ctrl-C, pressed again where the first was not seen.

    Python looks for signals between its own instructions: one that comes after the last look before a read of
    stdin waits until the read is over.
    """
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        try:
            return process.wait(10)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError("Ctrl-C does not end it")


def test_ctrl_c_ends_a_single_question(pool_file: Path, upstream: FakeUpstream) -> None:
    served = upstream.served
    with _chat(pool_file, "--model", "hang", "hello") as process:
        assert process.stderr is not None
        upstream.run(upstream.wait_served(served + 1))
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert "Traceback" not in process.stderr.read()


def test_at_a_terminal_there_is_a_prompt_and_ctrl_d_leaves(pool_file: Path) -> None:
    ours, theirs = pty.openpty()
    command = [*COE, "chat", "-c", str(pool_file)]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True) as process:
        os.close(theirs)
        seen = _until(ours, b"> ")
        assert b"Ctrl-D leaves" in seen
        os.write(ours, b"hello\n")
        assert b"A: hello" in _until(ours, b"> ")
        os.write(ours, b"\x04")
        assert process.wait(20) == 0
    os.close(ours)


def _until(terminal: int, end: bytes) -> bytes:
    seen = b""
    while not seen.endswith(end):
        seen += os.read(terminal, 1024)
    return seen
