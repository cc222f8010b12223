"""docs/journal.md names every field and metric."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from coe.config import JournalConfig
from coe.journal import Journal, Record

TEXT = (Path(__file__).parents[3] / "docs" / "journal.md").read_text()
Make = Callable[..., Record]


@pytest.mark.parametrize("name", Record.__struct_fields__)
def test_every_field_is_documented(name: str) -> None:
    assert f"`{name}`" in TEXT


@pytest.mark.parametrize(
    "name", ["records_total", "dropped_total", "errors_total", "bytes_total", "queued_bytes"]
)
def test_every_metric_is_documented(name: str) -> None:
    assert f"`coe_journal_{name}`" in TEXT


def test_the_example_runs(
    record: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    journal = Journal(Path("journal"), JournalConfig(), time.monotonic, time.time)
    journal.add(record(1))
    journal.close()
    example = TEXT.split("```python\n")[1].split("```")[0]
    exec(compile(example, "docs/journal.md", "exec"), {})
    assert capsys.readouterr().out == "dec_1 a 1.0 0.001\n0.0\n"
