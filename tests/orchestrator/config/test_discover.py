"""Which file is used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coe.config import EMBEDDED_TEXT, discover, embedded_default, find
from coe.contracts import GENERAL
from coe.errors import ConfigError
from coe_routers.routing import BUILTIN

SMALL = "experts: {{{name}: {{kind: echo}}}}\nrouters: {{auto: {{kind: two-step}}}}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("named", "variable", "coe"):
        (tmp_path / f"{name}.yaml").write_text(SMALL.format(name=name))
    return tmp_path


def test_the_named_file_comes_first(folder: Path) -> None:
    environ = {"COE_CONFIG": str(folder / "variable.yaml")}
    assert find(folder / "named.yaml", environ, folder) == folder / "named.yaml"
    assert list(discover(folder / "named.yaml", environ, folder).experts) == ["named"]


def test_then_the_variable(folder: Path) -> None:
    assert list(discover(None, {"COE_CONFIG": str(folder / "variable.yaml")}, folder).experts) == ["variable"]


def test_then_the_working_directory(folder: Path) -> None:
    assert list(discover(None, {"COE_CONFIG": ""}, folder).experts) == ["coe"]


def test_then_the_embedded_default(tmp_path: Path) -> None:
    assert find(None, {}, tmp_path) is None
    assert discover(None, {}, tmp_path).source == "embedded default"


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    for named, environ in ((tmp_path / "no.yaml", {}), (None, {"COE_CONFIG": str(tmp_path / "no.yaml")})):
        with pytest.raises(ConfigError, match=r"no\.yaml cannot be read"):
            discover(named, environ, tmp_path)


def test_the_process_environment_is_the_default(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COE_CONFIG", str(folder / "variable.yaml"))
    assert list(discover().experts) == ["variable"]


def test_the_embedded_default_has_an_expert_for_every_category() -> None:
    config = embedded_default()
    categories: list[str] = json.loads((BUILTIN / "manifest.json").read_text())["about"]["categories"]
    routable = [name for name, expert in config.experts.items() if expert.routable]
    assert sorted(routable) == sorted([*categories, GENERAL])
    assert [name for name, expert in config.experts.items() if not expert.routable] == ["smollm"]
    for name, expert in config.experts.items():
        if expert.routable:
            assert expert.card.domains == (name,)
            assert expert.settings["base"] == "smollm"
    assert list(config.routers) == ["auto"]


def test_the_embedded_default_needs_no_variable() -> None:
    active = (line for line in EMBEDDED_TEXT.splitlines() if not line.lstrip().startswith("#"))
    assert not any("${" in line for line in active)
