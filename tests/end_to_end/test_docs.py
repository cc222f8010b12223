"""docs/faults.md and docs/security.md name tests that exist, and examples that are valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from coe.config import loads

ROOT = Path(__file__).parents[2]
PAGES = ("faults.md", "security.md")


@pytest.mark.parametrize("page", PAGES)
def test_every_named_test_exists(page: str) -> None:
    named = re.findall(r"`(tests/[\w/-]+\.py)(?:::(\w+))?`", (ROOT / "docs" / page).read_text())
    assert len(named) > 10
    for path, test in named:
        assert (ROOT / path).exists(), path
        assert not test or re.search(rf"^def {test}\(", (ROOT / path).read_text(), re.MULTILINE), test


def test_every_row_says_what_shows_it() -> None:
    for page in PAGES:
        table = re.search(r"(?:^\|.*\n)+", (ROOT / "docs" / page).read_text(), re.MULTILINE)
        assert table is not None
        for row in table[0].splitlines()[2:]:
            assert "`tests/" in row.rpartition("|")[0].rpartition("| ")[2], row


def test_the_example_is_valid() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "security.md").read_text(), re.DOTALL)
    config = loads("experts: {gpt: {kind: echo}, small: {kind: echo}}\n" + block, {})
    assert config.routers["auto"].settings["guarded"] == ["gpt"]
