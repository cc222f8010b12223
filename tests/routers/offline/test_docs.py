"""Every command of docs/training.md runs, in order, as a reader would run it."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from coe.cli import main

# Trains, optimises and evaluates as the page does.
pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[3] / "docs" / "training.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    commands = 0
    for language, text in BLOCKS:
        if language == "python":
            subprocess.run([sys.executable, "-c", text], check=True)
        if language != "bash":
            continue
        for line in text.splitlines():
            program, *arguments = shlex.split(line)
            assert program == "coe"
            with pytest.raises(SystemExit) as caught:
                main(arguments)
            out, err = capsys.readouterr()
            assert not caught.value.code, f"{line}: {err}"
            assert out
            commands += 1
    assert commands == 8
    assert (tmp_path / "front.svg").exists()
    assert len((tmp_path / "decisions.jsonl").read_text().splitlines()) == 300


def test_the_row_that_is_shown_is_one() -> None:
    from coe_routers.outcomes._rows import OutcomeRow, decode

    [text] = [text for language, text in BLOCKS if language == "json"]
    assert decode(json.dumps(json.loads(text)).encode(), OutcomeRow, "page").scores["large"] == 1
