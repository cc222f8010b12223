"""The build: what it says without a compiler, and that it builds once."""

from pathlib import Path

import pytest

from coe.errors import ConfigError, PluginError
from coe_kernels.cpu import _build
from coe_kernels.settings import Mode, compiler_name, mode


def test_a_missing_compiler_is_named_with_a_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="compiler no-such-compiler was not found"):
        _build.compiler("no-such-compiler")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PluginError, match="a C\\+\\+ compiler was not found") as caught:
        _build.compiler(None)
    assert "CXX" in str(caught.value.hint)


def test_a_failing_compiler_is_quoted(tmp_path: Path) -> None:
    broken = tmp_path / "c++"
    broken.write_text("#!/bin/sh\n[ $1 = --version ] && echo broken 1 || { echo it hurts >&2; exit 3; }\n")
    broken.chmod(0o755)
    with pytest.raises(PluginError, match="it hurts"):
        _build.build(str(broken), tmp_path / "cache")


def test_what_does_not_know_an_instruction_set_builds_the_rest(tmp_path: Path) -> None:
    """A compiler of our own that refuses AMX, and otherwise notes what it was asked."""
    log = tmp_path / "log"
    fake = tmp_path / "c++"
    fake.write_text(
        "#!/bin/sh\n"
        f'echo "$@" >> {log}\n'
        'case "$*" in *-mamx*) exit 1;; esac\n'
        'while [ $# -gt 1 ]; do [ "$1" = -o ] && : > "$2"; shift; done\n'
    )
    fake.chmod(0o755)
    library = _build.build(str(fake), tmp_path / "cache")
    asked = [line for line in log.read_text().splitlines() if "amx.cpp" in line]
    assert ["-mamx-tile" in line for line in asked] == [True, False]
    log.unlink()
    assert _build.build(str(fake), tmp_path / "cache") == library
    assert log.read_text().splitlines() == ["--version"], "built once"


def test_the_environment_is_read_and_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COE_KERNELS", raising=False)
    assert mode() is Mode.AUTO
    monkeypatch.setenv("COE_KERNELS", "FORCE")
    assert mode() is Mode.FORCE
    monkeypatch.setenv("COE_KERNELS", "yes")
    with pytest.raises(ConfigError, match="'yes', expected off, auto or force"):
        mode()
    monkeypatch.setenv("CXX", "")
    assert compiler_name() is None
    monkeypatch.setenv("CXX", "clang++")
    assert compiler_name() == "clang++"
