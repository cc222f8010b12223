from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coe.errors import ConfigError, DataError
from coe_routers.commands.rank import app


@pytest.fixture
def outcomes(tmp_path: Path) -> Path:
    """Two categories; alpha and beta are scored on every prompt of `easy`, nobody on any of `hard`."""
    rows = [
        {"prompt_id": f"e{n}", "prompt": "?", "category": "easy", "scores": {"alpha": 1, "beta": 0}}
        for n in range(60)
    ]
    rows += [{"prompt_id": f"h{n}", "prompt": "?", "category": "hard"} for n in range(30)]
    path = tmp_path / "outcomes.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def ranked(outcomes: Path, *options: str) -> dict[str, object]:
    done = CliRunner().invoke(app, [str(outcomes), "--json", *options], catch_exceptions=False)
    assert done.exit_code == 0
    return json.loads(done.stdout)


def test_json_says_what_is_settled_and_what_is_next(outcomes: Path) -> None:
    found = ranked(outcomes, "--first", "3")
    easy, hard = found["verdicts"]
    assert (easy["category"], easy["settled"], easy["expert"]) == ("easy", True, "alpha")
    assert (hard["settled"], sorted(hard["contenders"])) == (False, ["alpha", "beta"])
    assert [(p["category"], p["expert"], p["prompt_ids"]) for p in found["proposals"]] == [
        ("hard", "alpha", ["h0", "h1", "h2"]),
        ("hard", "beta", ["h0", "h1", "h2"]),
    ]
    assert found["plan"] == {"delta": 0.05, "tolerance": 0.05, "first": 3, "batch": 10}


def test_a_new_expert_is_to_be_tried_everywhere(outcomes: Path) -> None:
    found = ranked(outcomes, "--expert", "newcomer", "--expert", "alpha")
    assert {p["category"] for p in found["proposals"] if p["expert"] == "newcomer"} == {"easy", "hard"}
    assert not found["verdicts"][0]["settled"]


def test_for_people_there_is_a_table(outcomes: Path) -> None:
    done = CliRunner().invoke(app, [str(outcomes), "--limit", "1"], catch_exceptions=False)
    assert "1 of 2 settled" in done.stdout
    assert "Evaluate next" in done.stdout
    assert "h0, h1, h2 …" in done.stdout


def test_mistakes_are_told(outcomes: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`delta` is 2"):
        ranked(outcomes, "--delta", "2")
    bare = tmp_path / "bare.jsonl"
    bare.write_text('{"prompt_id": 1, "prompt": "?", "scores": {"alpha": 1, "beta": 0}}\n', encoding="utf-8")
    with pytest.raises(DataError, match="category for every prompt"):
        ranked(bare)
