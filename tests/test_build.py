"""Building the core's distribution, with a compiler and without."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "NOTICE", "CHANGELOG.md")


def wheel(folder: Path, **environment: str) -> Path:
    """Built from a copy, so that nothing here changes."""
    for part in PARTS:
        shutil.copy(ROOT / part, folder)
    for package in ("orchestrator/coe", "routers/coe_routers"):
        shutil.copytree(
            ROOT / package, folder / package, ignore=shutil.ignore_patterns("*.so", "builtin", "__pycache__")
        )
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
    subprocess.run(command, cwd=folder, env={**os.environ, **environment}, check=True, capture_output=True)
    (built,) = (folder / "dist").glob("*.whl")
    return built


def libraries(built: Path) -> list[str]:
    with zipfile.ZipFile(built) as archive:
        return [name for name in archive.namelist() if name.endswith(".so")]


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment", [{"CC": "false"}, {"CC": "/no/compiler"}, {"HATCH_BUILD_NO_HOOKS": "1"}]
)
def test_without_a_compiler_there_is_a_wheel_for_every_machine(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    built = wheel(tmp_path, **environment)
    assert built.name.endswith("-py3-none-any.whl")
    assert libraries(built) == []


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cc") is None, reason="this machine has no C compiler")
def test_with_a_compiler_the_wheel_is_for_this_kind_of_machine(tmp_path: Path) -> None:
    built = wheel(tmp_path)
    assert "-cp311-abi3-" in built.name
    assert libraries(built) == ["coe_routers/_native.abi3.so"]
