"""The fault scorecard as a user runs it: no wrong answer, nobody hangs, no record is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "fault_scorecard.py"


def scored(out: Path, *options: str, timeout_s: float) -> list[dict[str, Any]]:
    command = [sys.executable, str(SCRIPT), *options, "--json", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(out.read_text())["rows"]


@pytest.mark.slow
def test_all_upstream_faults_at_once(tmp_path: Path) -> None:
    (row,) = scored(tmp_path / "score.json", "--quick", timeout_s=120)
    assert (row["wrong"], row["hung"], row["cut"], row["bystanders"], row["missing"]) == (0, 0, 0, 0, 0)
    assert row["right"] + row["error"] == row["requests"] > 80
    assert row["error"] >= 20


@pytest.mark.slow
def test_every_row_of_the_scorecard(tmp_path: Path) -> None:
    rows = scored(tmp_path / "score.json", timeout_s=1800)
    assert len(rows) == 38
    assert all(row["requests"] for row in rows)
