"""`coe init`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from jsonschema import Draft202012Validator

from coe.config import EMBEDDED_TEXT, load

Run = Callable[..., tuple[int, str, str]]


def test_it_writes_a_valid_configuration_and_its_schema(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("init", "new")
    assert code == 0
    assert "coe serve --config new/coe.yaml" in out
    config = tmp_path / "new" / "coe.yaml"
    assert config.read_text() == EMBEDDED_TEXT
    assert load(config, {}).source == str(config)
    # The editor finds the schema beside the file.
    assert config.read_text().splitlines()[0].endswith("$schema=coe.schema.json")
    Draft202012Validator.check_schema(json.loads((tmp_path / "new" / "coe.schema.json").read_text()))


def test_the_working_directory_is_the_default(run: Run, tmp_path: Path) -> None:
    assert run("init")[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["coe.schema.json", "coe.yaml"]


def test_nothing_is_overwritten_without_force(run: Run, tmp_path: Path) -> None:
    (tmp_path / "coe.yaml").write_text("mine")
    code, out, err = run("init")
    assert (code, out) == (1, "")
    assert "error: Already there: coe.yaml.\nhint: Overwrite with --force.\n" in err
    assert (tmp_path / "coe.yaml").read_text() == "mine"
    assert not (tmp_path / "coe.schema.json").exists()
    assert run("init", "--force")[0] == 0
    assert (tmp_path / "coe.yaml").read_text() == EMBEDDED_TEXT
