"""The commands and the Python of docs/active-ranking.md run, in order."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from coe_routers.commands import place, rank
from coe_routers.features import StaticEmbedder
from coe_routers.offline import TrainOptions, train
from coe_routers.outcomes import read_outcomes

PAGE = Path(__file__).parents[3] / "docs" / "active-ranking.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
APPS = {"rank": rank.app, "place": place.app}


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    texts = {"code": "Write a unit test in Python", "verse": "Write a poem about the sea"}
    rows = [
        {
            "prompt_id": f"{category}-{number}",
            "prompt": f"{texts[category]}, number {number}",
            "category": category,
            "scores": {name: int(rng.integers(2)) for name in ("alpha", "beta")},
        }
        for category in texts
        for number in range(20)
    ]
    Path("outcomes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    Path("prompts.jsonl").write_text(json.dumps(rows[0]) + "\n", encoding="utf-8")
    outcomes = read_outcomes([Path("outcomes.jsonl")])
    train(outcomes, {}, Path("router"), TrainOptions(), embedder=StaticEmbedder.load())
    ran = 0
    for language, text in BLOCKS:
        if language == "python":
            exec(compile(text, str(PAGE), "exec"), {})
        for line in text.splitlines() if language == "bash" else ():
            program, command, *arguments = shlex.split(line)
            assert program == "coe"
            done = CliRunner().invoke(APPS[command], arguments, catch_exceptions=False)
            assert done.exit_code == 0, line
            assert done.stdout
            ran += 1
    assert ran == 5
