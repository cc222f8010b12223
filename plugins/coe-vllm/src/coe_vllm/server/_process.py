"""One running vLLM server, as a process group with a keeper."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from coe_vllm.server._log import reason

KEEPER = Path(__file__).with_name("_keeper.py")
TAIL_LINES = 400
_MARK = "COE_VLLM_SERVER"
_MAX_LINE_BYTES = 1024 * 1024
_KEEPER_MARGIN_S = 5.0


class StartFailed(Exception):
    """The server could not be started; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to run.

    Attributes:
        argv: the command.
        env: variables laid over the gateway's own.
        cwd: working directory.
        grace_s: seconds between SIGTERM and SIGKILL.
        log_file: where the server's output is appended; None keeps only its last lines, in memory.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    grace_s: float = 20.0
    log_file: Path | None = None


class Process:
    """A server process and all that it started."""

    def __init__(self, keeper: asyncio.subprocess.Process, pid: int, grace_s: float, mark: str) -> None:
        self._keeper = keeper
        self._grace_s = grace_s
        self._mark = mark
        self._lines: deque[str] = deque(maxlen=TAIL_LINES)
        self._reading: asyncio.Task[None] | None = None
        self.pid = pid

    @classmethod
    async def launch(cls, order: Order, on_line: Callable[[str], None] = lambda _: None) -> Process:
        """Start it. `on_line` gets each line of its output.

        Raises:
            StartFailed: the command or the log file cannot be opened.
        """
        try:
            log = order.log_file.open("ab", buffering=0) if order.log_file else None
        except OSError as error:
            raise StartFailed(f"the log file {order.log_file} cannot be written: {error.strerror}") from error
        output, write_end = await _pipe()
        # -I: whatever lies in the working directory is not imported in place of the standard library.
        try:
            keeper = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                str(KEEPER),
                stdin=asyncio.subprocess.PIPE,
                stdout=write_end,
                start_new_session=True,
            )
        finally:
            os.close(write_end)
        assert keeper.stdin is not None
        mark = secrets.token_hex(16)
        document: dict[str, Any] = {
            "argv": list(order.argv),
            "env": {**order.env, _MARK: mark},
            "cwd": str(order.cwd),
            "grace_s": order.grace_s,
        }
        try:
            keeper.stdin.write(json.dumps(document).encode() + b"\n")
            await keeper.stdin.drain()
            answer: dict[str, Any] = json.loads(await output.reader.readline() or b"{}")
            if "pid" not in answer:
                raise StartFailed(str(answer.get("error", "its keeper process failed")))
        except BaseException:
            keeper.stdin.close()
            await asyncio.shield(keeper.wait())
            output.transport.close()
            if log is not None:
                log.close()
            raise
        process = cls(keeper, answer["pid"], order.grace_s, mark)
        process._reading = asyncio.create_task(process._read(output, log, on_line))
        return process

    @property
    def running(self) -> bool:
        """Whether the server, or at least its keeper, is still there."""
        return self._keeper.returncode is None

    @property
    def tail(self) -> list[str]:
        """The last lines of its output."""
        return list(self._lines)

    async def wait(self) -> str:
        """Until it has ended; in a few words, how."""
        status = await self._keeper.wait()
        if self._reading is not None:
            # Output that is still in the pipe says why it ended; a worker that holds the pipe open does not
            # matter.
            await asyncio.wait([self._reading], timeout=_KEEPER_MARGIN_S)
        self._sweep()
        how = f"signal {signal.Signals(status - 128).name}" if 128 < status < 160 else f"status {status}"
        return f"{why} ({how})" if (why := reason(self._lines)) else f"it ended with {how}"

    async def stop(self) -> None:
        """End the server and all that it started. Idempotent."""
        if self._keeper.stdin is not None:
            self._keeper.stdin.close()
        try:
            async with asyncio.timeout(self._grace_s + _KEEPER_MARGIN_S):
                await self._keeper.wait()
        except TimeoutError:
            self._keeper.kill()
            await self._keeper.wait()
        self._sweep()
        if self._reading is not None:
            await asyncio.wait([self._reading], timeout=_KEEPER_MARGIN_S)
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    def _sweep(self) -> None:
        """Kill what is left, where the keeper itself was killed."""
        if (self._keeper.returncode or 0) >= 0:
            return  # it did so itself, and the ids may be somebody else's by now
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        for pid in _marked(self._mark):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)

    async def _read(self, output: _Output, log: IO[bytes] | None, on_line: Callable[[str], None]) -> None:
        try:
            while True:
                try:
                    line = await output.reader.readline()
                except ValueError:  # a line longer than the limit: its beginning is gone
                    continue
                if not line:
                    return
                if log is not None:
                    log.write(line)
                text = line.decode(errors="replace").rstrip()
                self._lines.append(text)
                on_line(text)
        finally:
            output.transport.close()
            if log is not None:
                log.close()


@dataclass(frozen=True, slots=True)
class _Output:
    """The reading end of a pipe: ours to close, whoever still holds the other end."""

    reader: asyncio.StreamReader
    transport: asyncio.ReadTransport


async def _pipe() -> tuple[_Output, int]:
    """A pipe's reading end, and the descriptor of its writing end."""
    read_end, write_end = os.pipe()
    reader = asyncio.StreamReader(limit=_MAX_LINE_BYTES)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb", 0)
    )
    return _Output(reader, transport), write_end


def _marked(mark: str) -> list[int]:
    """Processes that were started with our mark in their environment."""
    wanted = f"{_MARK}={mark}".encode()
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone, or somebody else's
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found
