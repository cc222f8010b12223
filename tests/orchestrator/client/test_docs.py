"""Every snippet of docs/sdk.md runs, in order, as a reader would run it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import coe.errors

DOCS = Path(__file__).parents[3] / "docs" / "sdk.md"
ERROR_ROW = re.compile(r"^\| `(\w+)` \| `(\w+)` \|", re.MULTILINE)


def test_the_snippets_run(
    server_url: str,
    pool_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(pool_file, tmp_path / "coe.yaml")
    monkeypatch.chdir(tmp_path)
    snippets = re.findall(r"^```python\n(.*?)^```$", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    assert len(snippets) == 7
    names: dict[str, object] = {}
    for snippet in snippets:
        exec(compile(snippet.replace("http://127.0.0.1:8642", server_url), str(DOCS), "exec"), names)
    said = capsys.readouterr().out
    assert said.startswith("A: What is the integral of x^2 dx?\nalpha general 1.0 category\n")
    assert "alpha answers:\nA: How are you?" in said
    assert "No model is called `nobody`." in said


def test_the_table_of_errors_is_right() -> None:
    rows = ERROR_ROW.findall(DOCS.read_text())
    assert len(rows) == 9
    for name, code in rows:
        assert getattr(coe.errors, name).code == code
