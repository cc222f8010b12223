"""What may be installed with coe-litellm. Needs neither the plugin nor litellm."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PLUGIN = Path(__file__).parents[3] / "plugins" / "coe-litellm"
LOCKS = ("requirements.lock", "requirements-test.lock")


def litellm() -> Requirement:
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
    (found,) = (
        requirement
        for requirement in map(Requirement, project["dependencies"])
        if requirement.name == "litellm"
    )
    return found


def pinned(lock: str) -> dict[str, list[str]]:
    """The lines of each pinned requirement, the pin first."""
    pins: dict[str, list[str]] = {}
    name = ""
    for line in (PLUGIN / lock).read_text().splitlines():
        if match := re.match(r"([a-z0-9-]+)==", line):
            name = match[1]
            pins.setdefault(name, []).append(line)
        elif line.strip().startswith("--hash="):
            pins[name].append(line.strip())
    return pins


@pytest.mark.parametrize("version", ["1.82.7", "1.82.8", "1.107.0"])
def test_compromised_releases_of_litellm_are_excluded_by_name(version: str) -> None:
    assert version not in litellm().specifier
    assert any(each.operator == "!=" and not each.contains(version) for each in litellm().specifier)


def test_the_locked_litellm_is_one_of_those_allowed() -> None:
    pin = pinned("requirements.lock")["litellm"][0]
    assert pin.removeprefix("litellm==").rstrip(" \\") in litellm().specifier


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_have_hashes_and_name_no_host(lock: str) -> None:
    pins = pinned(lock)
    assert pins
    for lines in pins.values():
        assert any(re.match(r"--hash=sha256:[0-9a-f]{64}", line) for line in lines[1:]), lines[0]
    assert "://" not in (PLUGIN / lock).read_text()
    assert "index-url" not in (PLUGIN / lock).read_text()


def test_the_core_itself_is_not_locked() -> None:
    assert "coe-router" not in pinned("requirements.lock")
