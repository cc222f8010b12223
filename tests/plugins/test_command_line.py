"""The plugin door as a user meets it: `coe`, as a process, with the test plugin installed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ALLOWED = "plugins: {allow: [coe_test_plugin]}\nexperts: {a: {kind: shout}}\nrouters: {auto: {kind: first}}\n"
BROKEN = ALLOWED.replace("kind: shout", "kind: broken")


def coe(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    program = Path(sys.executable).with_name("coe")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "coe.yaml").write_text(ALLOWED)
    return tmp_path / "coe.yaml"


def statuses(output: str) -> dict[str, str]:
    rows = json.loads(output)
    return {row["name"]: row["status"] for row in rows if row["distribution"] == "coe-test-plugin"}


def test_list_shows_broken_plugins_without_touching_them(config: Path) -> None:
    ended = coe("plugins", "list", "--config", config, "--json")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert set(statuses(ended.stdout).values()) == {"available"}


def test_doctor_says_which_are_broken_and_why(config: Path) -> None:
    ended = coe("plugins", "doctor", "--config", config)
    assert ended.returncode == 4
    assert "Traceback" not in ended.stdout + ended.stderr
    for line in (
        "expert `broken` of coe-test-plugin: ImportError: No module named 'flux_capacitor'",
        "expert `quits` of coe-test-plugin: SystemExit: quits.py is a script",
    ):
        assert line in ended.stdout
    found = statuses(coe("plugins", "doctor", "--config", config, "--json").stdout)
    assert {name for name, status in found.items() if status == "broken"} == {
        "broken",
        "absent",
        "quits",
        "wrong-type",
    }
    assert {name for name, status in found.items() if status == "loaded"} == {
        "shout",
        "critic",
        "first",
        "letters",
        "dict",
        "test-plugin",
    }


def test_a_configuration_with_a_plugin_is_checked_against_its_settings(config: Path) -> None:
    assert coe("config", "validate", config).returncode == 0
    config.write_text(ALLOWED.replace("kind: shout", "kind: shout, mark: 3"))
    ended = coe("config", "validate", config)
    assert ended.returncode == 3
    assert "marks" in ended.stdout + ended.stderr, "the nearest setting is suggested"


def test_a_configuration_that_names_a_broken_plugin_says_whose_it_is(config: Path) -> None:
    config.write_text(BROKEN)
    ended = coe("config", "validate", config)
    assert ended.returncode != 0
    assert "`broken` of `coe-test-plugin` 1.2.3 is broken: ImportError" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


def test_a_distribution_that_is_not_allowed_is_not_imported(config: Path) -> None:
    config.write_text(ALLOWED.replace("coe_test_plugin", "somebody-else"))
    ended = coe("config", "validate", config)
    assert ended.returncode != 0
    assert "not on the allow-list" in ended.stdout + ended.stderr


def test_its_command_is_a_command_of_coe() -> None:
    ended = coe("test-plugin", "hello", "--name", "Ada")
    assert (ended.returncode, ended.stdout) == (0, "hello Ada from coe-test-plugin\n")
    assert "test-plugin" in coe("--help").stdout
