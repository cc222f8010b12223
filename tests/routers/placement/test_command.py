from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from coe_routers.commands.place import app
from coe_routers.placement import unmeasured


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_placing_and_removing(router: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt_id": 1, "prompt": "Write a poem about the sea"}\n', encoding="utf-8")
    told = json.loads(run(str(router), "poet", "--examples", str(prompts), "--json"))
    assert (told["expert"], told["source"], told["unmeasured"]) == ("poet", "examples", True)
    assert next(iter(told["affinity"])) == "verse"
    assert set(unmeasured(router)) == {"poet"}
    assert "out of the map" in run(str(router), "poet", "--remove")
    assert unmeasured(router) == {}


def test_people_are_told_that_it_is_unmeasured(router: Path) -> None:
    told = run(str(router), "poet", "--description", "poems and sonnets", "--first-in", "verse")
    assert "unmeasured" in told
    assert "before them in verse" in told
    assert unmeasured(router)["poet"].first_in == ("verse",)
