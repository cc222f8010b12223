"""Launch, watch and stop the server process."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

_SCRIPT = str(Path(__file__).with_name("_server.py"))
_LOG_PREFIX = re.compile(r"^[\d.]+ E +")
_STOP_S = 2.0
_LOG_BYTES = 16 * 1024


class StartFailed(Exception):
    """The process did not come to serve; the message is the reason in a few words."""


class Child:
    """A server process that was ready when `launch` returned."""

    def __init__(self, process: asyncio.subprocess.Process, base_url: str) -> None:
        self._process = process
        self.base_url = base_url

    @classmethod
    async def launch(cls, order: Mapping[str, Any], max_start_s: float) -> Child:
        """Start a process and wait until it serves.

        Args:
            order: what to serve; see `_server.py`. It travels through a pipe, for it holds a secret.
            max_start_s: longest wait, in seconds.

        Raises:
            StartFailed: it ended, or was not ready in time.
        """
        with tempfile.TemporaryFile() as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                _SCRIPT,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
            try:
                async with asyncio.timeout(max_start_s):
                    line = await _exchange(process, json.dumps(order).encode() + b"\n")
                    if not line:
                        await process.wait()
            except BaseException as error:
                await _end(process, at_once=True)
                if isinstance(error, TimeoutError):
                    raise StartFailed(f"not ready within {max_start_s:g} s") from None
                raise
            if not line:
                raise StartFailed(_reason(_tail(log), ended(process.returncode)))
        return cls(process, json.loads(line)["base_url"])

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process was alive when last heard of."""
        return self._process.returncode is None

    async def wait(self) -> str:
        """Wait until it ends; how it ended, in words."""
        return ended(await self._process.wait())

    async def stop(self) -> None:
        """End it: closing its stdin asks, a kill follows when it does not listen."""
        await _end(self._process, at_once=False)


async def _exchange(process: asyncio.subprocess.Process, order: bytes) -> bytes:
    """Write the order and read the line that says the process serves; empty when it ended instead."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(order)
    try:
        await process.stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        return b""
    return await process.stdout.readline()


async def _end(process: asyncio.subprocess.Process, *, at_once: bool) -> None:
    if process.stdin is not None:
        process.stdin.close()
    if process.returncode is None and at_once:
        process.kill()
    try:
        async with asyncio.timeout(_STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def ended(returncode: int | None) -> str:
    """How a process ended: its exit status, or the name of the signal."""
    if returncode is not None and returncode < 0:
        return f"killed by {signal.Signals(-returncode).name}"
    return f"exit status {returncode}"


def _tail(log: IO[bytes]) -> list[str]:
    size = log.seek(0, 2)
    log.seek(max(0, size - _LOG_BYTES))
    return log.read().decode(errors="replace").splitlines()


def _reason(lines: list[str], otherwise: str) -> str:
    """The telling part of llama.cpp's log: its first errors, else the last line."""
    errors = [_LOG_PREFIX.sub("", line) for line in lines if _LOG_PREFIX.match(line)]
    return "; ".join(errors[:2]) or next((line for line in reversed(lines) if line.strip()), otherwise)
