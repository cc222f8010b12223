"""`coe serve` as a process, as a user starts it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest


class Served:
    """A running `coe serve`.

    Attributes:
        url: where it listens.
        log: what it has printed so far.
    """

    def __init__(self, *options: str, folder: Path) -> None:
        command = [Path(sys.executable).with_name("coe"), "serve", "--port", "0", *options]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("COE_")}
        self.process = subprocess.Popen(
            list(map(str, command)),
            cwd=folder,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.log = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = self._wait(lambda: re.search(r"serves (http://\S+)/v1", self.log))[1]

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self.log += line

    def _wait(self, found: Callable[[], re.Match[str] | None], timeout_s: float = 120) -> re.Match[str]:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if match := found():
                return match
            assert self.process.poll() is None, self.log
            time.sleep(0.02)
        raise AssertionError(f"nothing of it after {timeout_s} s:\n{self.log}")

    def metrics(self) -> str:
        """The Prometheus text."""
        return httpx.get(f"{self.url}/metrics", timeout=20, verify=False).text

    def ready(self) -> None:
        """Wait until an expert can answer at once."""
        deadline = time.monotonic() + 60
        while httpx.get(f"{self.url}/health/ready", timeout=20, verify=False).status_code != 200:
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        self._reader.join(60)
        return status


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Start `coe serve` with these options in an empty folder; it is stopped at the end of the test."""
    started: list[Served] = []

    def start(*options: str) -> Served:
        started.append(Served(*options, folder=tmp_path))
        return started[-1]

    yield start
    for served in started:
        served.stop()
