"""The commands of docs/other-routers.md run, in order, and its YAML configures what they fitted."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from coe.cli import main
from coe.contracts import Features
from coe.testing import build, create, load, pool_view

from .conftest import CARDS, EXPERTS, synthetic

PAGE = Path(__file__).parents[3] / "docs" / "other-routers.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcomes = synthetic(60)
    rows = [
        {
            "prompt_id": outcomes.prompt_ids[row],
            "prompt": outcomes.prompts[row],
            "category": outcomes.categories[outcomes.category[row]],
            "scores": dict(zip(EXPERTS, outcomes.scores[row].tolist(), strict=True)),
        }
        for row in range(len(outcomes))
    ]
    for name in ("outcomes.jsonl", "test.jsonl"):
        Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    models = [{"model": name, "params_b": card.params_b} for name, card in CARDS.items()]
    Path("models.json").write_text(json.dumps(models), encoding="utf-8")
    configured = 0
    for language, text in BLOCKS:
        if language == "bash":
            for line in text.splitlines():
                with pytest.raises(SystemExit) as caught:
                    main(shlex.split(line)[1:])
                assert not caught.value.code, line
        elif language == "yaml":
            settings = yaml.safe_load(text)["routers"]["main"]
            kind = settings.pop("kind")
            made = create(load("coe.routers", kind), settings=settings, build=build(base_dir=tmp_path))
            decision = made.route(Features(text="the integral of a prime number"), pool_view(*EXPERTS))
            assert decision.ranked[0].score is not None
            configured += 1
    assert configured == 2
