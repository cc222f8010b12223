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


def test_calibrate_prints_thresholds_and_what_they_are_worth(folder: Path) -> None:
    rows = [
        {
            "prompt": f"Say hello to the river. ({number})",
            "task": "greet",
            "scores": {"small": number % 2, "large": 1},
            "answers": {"small": "river." if number % 2 else "river garden " * 15 + "?", "large": "river."},
            "cost_usd": {"small": 1, "large": 10},
        }
        for number in range(20)
    ]
    write(folder / "answers.jsonl", rows)
    command = ("calibrate", "answers.jsonl", "--model", "model", "--expert", "small", "--expert", "large")
    done = coe(folder, *command, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["score"], found["taken"], found["usd"]) == (1.0, {"small": 0.5, "large": 0.5}, 6.0)
    assert coe(folder, *command).stdout.startswith(f"thresholds: [{found['thresholds'][0]:g}]")


def test_the_journals_candidates_become_outcomes(folder: Path) -> None:
    candidates = [{"expert": "small", "reward": 0.0, "cost_usd": 0.1}, {"expert": "large", "reward": 0.0}]
    write(folder / "records.jsonl", [{"id": "r", "prompt": "Which?", "candidates": candidates}])
    done = coe(folder, "outcomes", "records.jsonl", "--out", "outcomes.jsonl")
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / "outcomes.jsonl").read_text()) == {
        "prompt_id": "r",
        "prompt": "Which?",
        "scores": {"large": 0.5, "small": 0.5},
        "cost_usd": {"small": 0.1},
    }
    write(folder / "records.jsonl", [{"id": "r", "candidates": []}])
    done = coe(folder, "outcomes", "records.jsonl", "--out", "other.jsonl")
    assert done.returncode != 0
    assert "no request with a prompt" in done.stderr
    assert not (folder / "other.jsonl").exists()


def test_adapters_need_a_language_model(folder: Path) -> None:
    done = coe(folder, "train", "train.jsonl", "--out", "lora", "--backbone", "lora")
    assert done.returncode != 0
    assert "--backbone lora and --base FOLDER go together" in done.stderr
