"""Rules of the repository that a review would repeat."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TRACKED = subprocess.run(
    ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
).stdout.split("\0")[:-1]
HEAVY = {
    "torch",
    "transformers",
    "vllm",
    "litellm",
    "ray",
    "sentence_transformers",
    "faiss",
    "scipy",
    "sklearn",
}


@pytest.mark.parametrize(
    "folder",
    ["orchestrator", "routers", "plugins", "kernels", "configs", "examples", "benchmarks", "docs", "tests"],
)
def test_no_top_level_folder_is_a_package(folder: str) -> None:
    # A package `kernels/` would shadow the distribution of that name for transformers and vLLM, silently.
    assert not (ROOT / folder / "__init__.py").exists()


def imported_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def test_the_contracts_import_nothing_heavy() -> None:
    assert not imported_by("import coe.contracts, coe.errors, coe.wire") & {
        "numpy",
        "pydantic",
        "httpx",
        *HEAVY,
    }


def test_importing_coe_imports_none_of_its_parts() -> None:
    assert not imported_by("import coe") & {"numpy", "pydantic", "httpx", "uvloop", "msgspec", *HEAVY}


def test_the_server_imports_no_heavy_library_and_no_plugin() -> None:
    loaded = imported_by("import coe.gateway, coe.cli._serve")
    assert not loaded & {*HEAVY, "coe_routers", "httpx", "redis", "xllamacpp"}


def test_no_import_touches_the_network() -> None:
    forbid = (
        "import socket\n"
        "def refuse(*a, **k): raise OSError('an import opened a connection')\n"
        "socket.socket.connect = refuse\n"
        "socket.getaddrinfo = refuse\n"
        "import coe, coe.client, coe.gateway, coe.testing, coe.cache, coe.experts, coe_routers\n"
        "from coe.registry import Registry\n"
        "Registry(allow=['coe-router']).check_all()\n"
    )
    subprocess.run([sys.executable, "-c", forbid], check=True, cwd=ROOT)


def test_the_lock_names_no_host_and_hashes_everything() -> None:
    for path in (name for name in TRACKED if name.endswith((".lock", "requirements/dev.txt"))):
        text = (ROOT / path).read_text()
        assert "://" not in text.replace("git+https://", ""), path
        pins = [line for line in text.splitlines() if "==" in line and not line.lstrip().startswith("#")]
        assert pins
        assert all("\\" in line for line in pins if not line.startswith(" ")), path


def test_every_plugin_is_a_distribution_with_entry_points() -> None:
    for path in (ROOT / "plugins").glob("*/pyproject.toml"):
        project = tomllib.loads(path.read_text())["project"]
        assert project["name"] == path.parent.name
        assert any(group.startswith("coe.") for group in project["entry-points"])
        assert (path.parent / "README.md").exists()


def test_nothing_pickles() -> None:
    sources = [name for name in TRACKED if name.endswith(".py") and not name.startswith("tests/")]
    for name in sources:
        text = (ROOT / name).read_text()
        assert "import pickle" not in text, name
        assert "allow_pickle=True" not in text, name
