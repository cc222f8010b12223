"""The frame: version, usage, exit codes, lazy commands."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from coe.cli import ExitCode, _commands
from coe.cli._commands import COMMANDS, load_command
from coe.cli._errors import exit_code, report
from coe.cli._offers import offered_commands
from coe.errors import (
    ArtifactError,
    CoeError,
    ConfigError,
    ExpertTimeout,
    NoEligibleExpert,
    PluginError,
    UserError,
)

Run = Callable[..., tuple[int, str, str]]


def test_version(run: Run) -> None:
    assert run("--version") == (0, f"coe {importlib.metadata.version('coe-router')}\n", "")


def test_help_lists_coes_commands_and_the_plugins(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    for name, entry in COMMANDS.items():
        assert f"  {name} " in out
        assert entry.help in " ".join(out.split())
    assert re.search(r"^  test-plugin +\(plugin coe-test-plugin\)$", out, re.MULTILINE)


def test_help_imports_no_command_and_no_plugin() -> None:
    """What makes `coe --help` fast: no pydantic, no YAML, no rich, no registry, nothing of a command."""
    code = (
        "import sys\nfrom coe.cli import main\ntry: main(['--help'])\nexcept SystemExit: print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    heavy = {
        "pydantic",
        "yaml",
        "rich",
        "msgspec",
        "numpy",
        "uvloop",
        "importlib.metadata",
        "coe_test_plugin",
    }
    assert loaded & heavy == set()
    own = {name for name in loaded if name.startswith("coe.") and not name.startswith("coe.cli")}
    assert own == {"coe.errors"}


def test_every_command_loads_and_explains_itself(run: Run) -> None:
    for name in COMMANDS:
        assert load_command(name).name == name
        code, out, _ = run(name, "--help")
        assert code == 0
        assert f"Usage: coe {name}" in out
        assert "install-completion" not in out


def test_a_command_of_a_plugin_runs(run: Run) -> None:
    assert run("test-plugin", "hello", "--name", "coe") == (0, "hello coe from coe-test-plugin\n", "")


def test_offered_commands_are_those_of_the_installed_metadata() -> None:
    expected = importlib.metadata.entry_points(group="coe.commands")
    assert offered_commands(sys.path) == {entry.name: entry.dist.name for entry in expected if entry.dist}


def test_odd_metadata_is_passed_over(tmp_path: Path) -> None:
    for name, text in (
        ("a_b-1.0.dist-info", b"[other]\nx = y:z\n\n[coe.commands]\n# no = no\nhello = a.b:c\n"),
        ("broken-1.0.dist-info", b"\xff\xff"),
        ("old.egg-info", b"[coe.commands]\nold = o:o"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "entry_points.txt").write_bytes(text)
    (tmp_path / "empty-1.0.dist-info").mkdir()
    assert offered_commands([str(tmp_path / "no"), str(tmp_path)]) == {"hello": "a-b", "old": "old"}


@pytest.mark.parametrize(
    "arguments", [["nope"], ["config", "nope"], ["--nope"], ["config", "validate", "--nope"]]
)
def test_usage_errors_exit_with_2(run: Run, arguments: list[str]) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert "nope" in err


def test_a_mistyped_command_gets_a_suggestion(run: Run) -> None:
    assert "Did you mean 'config'?" in run("confg")[2]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError("x"), 1),
        (ConfigError("x"), 3),
        (PluginError("x"), 4),
        (ArtifactError("x"), 5),
        (NoEligibleExpert("x"), 6),
        (ExpertTimeout("x"), 7),
        (CoeError("x"), 1),
    ],
)
def test_each_error_has_its_exit_code(error: CoeError, code: int) -> None:
    assert exit_code(error) == code
    assert ExitCode(code)


def test_errors_are_reported_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    report(ConfigError("one\ntwo", hint="three"))
    assert capsys.readouterr() == ("", "error: one\nerror: two\nhint: three\n")


def test_an_error_of_a_command_ends_without_a_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin's command that does not load is an error of its own, listed or not."""
    monkeypatch.setattr(_commands, "offered_commands", lambda path: {"gone": "coe-gone"})
    code, out, err = run("gone")
    assert (code, out) == (4, "")
    assert err.startswith("error: No command plugin is called `gone`.")
    assert "Traceback" not in err


def test_completion_offers_commands_and_subcommands() -> None:
    def complete(words: str, count: int) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", "from coe.cli import main; main()"],
            env={"_COE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(count)},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.split()

    assert complete("coe con", 1) == ["config"]
    assert complete("coe config ", 2) == ["validate", "schema"]
    assert "--json" in complete("coe config validate --", 3)


def test_the_completion_script_is_for_coe(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    code, out, _ = run("--show-completion", "bash")
    assert code == 0
    assert "_COE_COMPLETE=complete_bash" in out
