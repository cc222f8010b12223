"""Signals at a real server's end."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Served

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_that_come_late_change_no_exit_status(
    serve: Callable[..., Served], tmp_path: Path, number: signal.Signals, workers: str
) -> None:
    """They come all the time until the process is gone, so they meet every step of its end."""
    config = tmp_path / "coe.yaml"
    config.write_text("experts: {a: {kind: echo}}\nrouters: {auto: {kind: two-step}}\njournal: {dir: j}\n")
    process = serve("-c", str(config), "--workers", workers).process
    deadline = time.monotonic() + 60
    while process.poll() is None:
        assert time.monotonic() < deadline
        process.send_signal(number)
        time.sleep(0.0005)
    assert process.returncode == 0
