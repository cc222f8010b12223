"""The commands as a script uses them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from reward_data import ratings, write

pytestmark = pytest.mark.slow


def coe(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("coe")), "rewards", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("commands")
    write(path / "train.jsonl", ratings())
    write(path / "held.jsonl", ratings(seed=1))
    done = coe(path, "train", "train.jsonl", "--out", "model")
    assert done.returncode == 0, done.stderr
    return path


def test_scores_have_reward_task_and_aspects(folder: Path) -> None:
    done = coe(folder, "score", "model", "--input", "held.jsonl", "--output", "scores.jsonl")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
    given = ratings(seed=1)
    assert [row["item_id"] for row in rows] == [row["item_id"] for row in given]
    assert [row["task"] for row in rows] == [row["task"] for row in given]
    assert all(set(row) == {"item_id", "reward", "task", "aspects"} for row in rows)
    assert all({"clear", "polite"} <= set(row["aspects"]) for row in rows)


def test_evaluate_prints_json_for_programs(folder: Path) -> None:
    done = coe(folder, "evaluate", "model", "held.jsonl", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["tasks"]["greet"]["pair_accuracy"] > 0.7
    assert set(found["tasks"]) == {"explain", "greet"}


def test_a_wrong_file_is_said_without_a_traceback(folder: Path) -> None:
    (folder / "bad.jsonl").write_text('{"label": "a", "prompt": 1}\n')
    done = coe(folder, "train", "bad.jsonl", "--out", "other")
    assert done.returncode != 0
    assert "bad.jsonl:1: `prompt` must be a text, found int" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "other").exists()
