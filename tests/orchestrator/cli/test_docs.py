"""docs/cli.md names every command and exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from coe.cli import ExitCode
from coe.cli._commands import COMMANDS

TEXT = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented(name: str) -> None:
    assert f"`coe {name}" in TEXT


def test_every_exit_code_is_documented() -> None:
    assert [f"| {code.value} |" in TEXT for code in ExitCode] == [True] * len(ExitCode)
