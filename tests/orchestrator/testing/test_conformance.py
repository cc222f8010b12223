"""The kit passes what is correct, and each defect fails the checks that are for it, and no others."""

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

# Runs the kit over dozens of broken implementations.
pytestmark = pytest.mark.slow

BROKEN = sorted((Path(__file__).parent / "broken").glob("*.py"))


def kits(file: Path) -> dict[str, set[str]]:
    """The kits of the file, and the checks that each must fail."""
    members: dict[str, Any] = runpy.run_path(str(file))
    return {name: set(member.fails) for name, member in members.items() if name.startswith("Test")}


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, set[str]]]:
    """By file and kit, the checks that failed."""
    root = tmp_path_factory.mktemp("kit")
    report = root / "report.xml"
    options = ["-q", "--tb=no", "-p", "no:cacheprovider", f"--rootdir={BROKEN[0].parent}"]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *options, f"--junitxml={report}", *map(str, BROKEN)],
        cwd=root,
        # Plugins of the environment are no part of what is tested.
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1, ended.stdout + ended.stderr
    found: dict[str, dict[str, set[str]]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        file, kit = case.attrib["classname"].split(".")
        checks = found.setdefault(file, {}).setdefault(kit, set())
        if case.find("failure") is not None or case.find("error") is not None:
            checks.add(case.attrib["name"])
    return found


@pytest.mark.parametrize("file", BROKEN, ids=lambda file: file.stem)
def test_each_defect_is_found_by_its_checks(file: Path, failed: dict[str, dict[str, set[str]]]) -> None:
    assert failed[file.stem] == kits(file)


def test_every_check_is_failed_by_some_defect() -> None:
    """A check that no defect fails might as well not be there."""
    import coe.testing.conformance as kit

    failed = {
        check.partition("[")[0] for file in BROKEN for checks in kits(file).values() for check in checks
    }
    checks = {
        name
        for conformance in map(vars(kit).__getitem__, kit.__all__)
        for name in vars(conformance)
        if name.startswith("test_")
    }
    assert checks - failed == {
        "test_is_an_expert",  # An expert without a member of the contract fails everything.
        "test_a_silent_call_may_be_cancelled",
    }
