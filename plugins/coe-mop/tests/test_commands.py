"""The commands as a script uses them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mop_pupil import examples

CONFIG = """\
version: 1
experts:
  echo: {kind: echo}
routers:
  auto: {kind: two-step}
"""


def coe(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("coe")), "mop", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("commands")
    rows = [{"input": each.input, "output": each.output, "task": each.task} for each in examples()]
    (path / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (path / "coe.yaml").write_text(CONFIG)
    done = coe(
        path, "build", "examples.jsonl", "--out", "mop", "--base", "echo", "--budget", "120", "--seed", "1"
    )
    assert done.returncode == 0, done.stderr
    return path


def test_build_writes_bundle_reports_and_calls(folder: Path) -> None:
    assert {file.name for file in (folder / "mop").iterdir()} == {
        "manifest.json",
        "model.safetensors",
        "prompts.json",
        "report.html",
        "report.md",
    }
    spent = (folder / "mop.calls.jsonl").read_text().count('{"call"')
    assert 0 < spent <= 120
    again = coe(
        folder,
        "build",
        "examples.jsonl",
        "--out",
        "mop",
        "--base",
        "echo",
        "--budget",
        "120",
        "--seed",
        "1",
        "--json",
    )
    assert json.loads(again.stdout)["calls"] <= 120
    assert (folder / "mop.calls.jsonl").read_text().count('{"call"') == spent, "all answers were kept"


def test_route_keeps_the_contract(folder: Path) -> None:
    (folder / "in.jsonl").write_text('{"id": "q1", "input": "3 + 4"}\n{"input": "silver spoon"}\n')
    done = coe(folder, "route", "mop", "--input", "in.jsonl", "--output", "out.jsonl")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert [list(row) for row in rows] == [["id", "region", "distance", "margin"]] * 2
    assert [row["id"] for row in rows] == ["q1", 1]
    assert rows[0]["region"] != rows[1]["region"]


def test_evaluate_prints_json(folder: Path) -> None:
    done = coe(folder, "evaluate", "mop", "examples.jsonl", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["examples"] == 60
    assert found["purity"] == 1
    assert {row["policy"] for row in found["policies"]} >= {
        "mop",
        "single",
        "no demos",
        "one instruction (APE)",
    }
    assert found["calls"] <= 360


def test_a_function_of_the_users_scores_and_is_named_again(folder: Path) -> None:
    (folder / "mine.py").write_text("def first_letter(answer, right):\n    return answer[:1] == right[:1]\n")
    build = ["build", "examples.jsonl", "--out", "own", "--base", "echo", "--budget", "120"]
    done = coe(folder, *build, "--metric", "mine:first_letter")
    assert done.returncode == 0, done.stderr
    unsaid = coe(folder, "evaluate", "own", "examples.jsonl", "--json")
    assert (unsaid.returncode, "--metric mine:first_letter" in unsaid.stderr) == (3, True)
    said = coe(folder, "evaluate", "own", "examples.jsonl", "--json", "--metric", "mine:first_letter")
    assert said.returncode == 0, said.stderr
    exact = coe(folder, "evaluate", "own", "examples.jsonl", "--json", "--metric", "exact")
    scores = [
        {row["policy"]: row["score"] for row in json.loads(done.stdout)["policies"]} for done in (said, exact)
    ]
    assert scores[0] != scores[1]


def test_without_instructions_nobody_is_asked(folder: Path) -> None:
    done = coe(folder, "build", "examples.jsonl", "--out", "plain", "--no-instructions", "--json")
    assert json.loads(done.stdout)["calls"] == 0
    assert not (folder / "plain.calls.jsonl").exists()
    judged = coe(folder, "evaluate", "plain", "examples.jsonl", "--json")
    assert json.loads(judged.stdout)["calls"] == 0


def test_the_printed_configuration_is_valid(folder: Path) -> None:
    printed = coe(folder, "config", "mop", "--base", "echo").stdout
    whole = printed.replace("experts:\n", "version: 1\nexperts:\n  echo: {kind: echo}\n", 1)
    (folder / "served.yaml").write_text(whole)
    command = [str(Path(sys.executable).with_name("coe")), "config", "validate", "served.yaml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + whole


def test_mistakes_are_told(folder: Path) -> None:
    unknown = coe(folder, "build", "examples.jsonl", "--out", "x", "--base", "nobody")
    assert (unknown.returncode, "No expert is called `nobody`" in unknown.stderr) == (3, True)
    nothing = coe(folder, "build", "examples.jsonl", "--out", "x")
    assert (nothing.returncode, "--no-instructions" in nothing.stderr) == (2, True)
