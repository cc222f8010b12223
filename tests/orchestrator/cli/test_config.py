"""`coe config`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from coe.config import json_schema
from coe.registry import Registry

Run = Callable[..., tuple[int, str, str]]
GOOD = "experts: {a: {kind: echo}}\nrouters: {auto: {kind: two-step}}\n"
WRONG = (
    "experts:\n  a:\n    kind: ecko\n  b:\n    kind: echo\n    prefx: x\nrouters: {auto: {kind: two-step}}\n"
)


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    path = tmp_path / "wrong.yaml"
    path.write_text(WRONG)
    return path


def test_a_valid_file_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    sentence = "good.yaml is valid: 1 expert, 1 router (auto).\n"
    assert run("config", "validate", "good.yaml") == (0, sentence, "")
    assert run("config", "validate", "-c", "good.yaml") == (0, sentence, "")


def test_without_a_file_it_says_what_it_checked(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("config", "validate")[1].startswith("embedded default is valid: 12 experts")
    (tmp_path / "coe.yaml").write_text(GOOD)
    assert run("config", "validate")[1].startswith("coe.yaml is valid")
    monkeypatch.setenv("COE_CONFIG", str(tmp_path / "other.yaml"))
    code, _, err = run("config", "validate")
    assert code == 3
    assert "other.yaml cannot be read" in err


def test_all_problems_go_to_stderr(run: Run, wrong: Path) -> None:
    code, out, err = run("config", "validate", wrong)
    assert (code, out) == (3, "")
    lines = err.splitlines()
    assert lines[0].startswith(f"error: {wrong}:3: experts.a.kind: No expert plugin is called `ecko`.")
    assert lines[1] == f"error: {wrong}:6: experts.b.prefx: unknown key. Did you mean `prefix`?"
    assert len(lines) == 2


def test_an_unset_variable_hides_nothing(run: Run, wrong: Path) -> None:
    wrong.write_text(WRONG.replace("prefx: x", "prefix: ${NOT_SET_ANYWHERE}\n    delay_s: -1"))
    code, _, err = run("config", "validate", wrong)
    assert code == 3
    assert [line.split(": ")[1:3] for line in err.splitlines()] == [
        [f"{wrong}:3", "experts.a.kind"],
        [f"{wrong}:6", "experts.b.prefix"],
        [f"{wrong}:7", "experts.b.delay_s"],
    ]


def test_problems_as_json(run: Run, wrong: Path) -> None:
    code, out, err = run("config", "validate", wrong, "--json")
    assert (code, err) == (3, "")
    result = json.loads(out)
    assert result["valid"] is False
    assert result["problems"][1] == {
        "source": str(wrong),
        "line": 6,
        "key": "experts.b.prefx",
        "message": "unknown key. Did you mean `prefix`?",
    }


def test_a_summary_as_json(run: Run, tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    assert json.loads(run("config", "validate", "good.yaml", "--json")[1]) == {
        "valid": True,
        "source": "good.yaml",
        "experts": {"a": "echo"},
        "routers": {"auto": "two-step"},
    }


def test_a_file_that_cannot_be_read_is_an_error_with_json_too(run: Run) -> None:
    code, out, err = run("config", "validate", "no.yaml", "--json")
    assert (code, out) == (3, "")
    assert err.startswith("error: no.yaml cannot be read")


def test_the_schema_goes_to_stdout_or_a_file(run: Run, tmp_path: Path) -> None:
    code, out, err = run("config", "schema")
    assert code == 0
    assert json.loads(out) == json_schema(Registry())
    assert "note: broken of coe.experts is left out" in err
    assert run("config", "schema", "--output", "new/s.json")[:2] == (0, "")
    assert (tmp_path / "new" / "s.json").read_text() == out


def test_a_file_that_cannot_be_written_is_an_error(run: Run, tmp_path: Path) -> None:
    code, _, err = run("config", "schema", "--output", tmp_path)
    assert code == 1
    assert f"error: {tmp_path} cannot be written: Is a directory." in err
