"""`coe plugins`. A real installed plugin, coe-test-plugin, has one of each kind and each way to be broken."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from coe.cli._scaffold import scaffold
from coe.errors import UserError

Run = Callable[..., tuple[int, str, str]]
TRUSTING = """\
plugins: {allow: [coe-test-plugin]}
experts: {a: {kind: echo}}
routers: {auto: {kind: two-step}}
"""


def rows(out: str) -> dict[tuple[str, str], dict[str, str]]:
    return {(row["group"], row["name"]): row for row in json.loads(out)}


def test_list_says_what_is_there_and_what_is_allowed(run: Run) -> None:
    code, out, err = run("plugins", "list", "--json")
    assert (code, err) == (0, "")
    found = rows(out)
    assert found["coe.experts", "echo"]["status"] == "available"
    assert found["coe.experts", "shout"] == {
        "group": "coe.experts",
        "name": "shout",
        "distribution": "coe-test-plugin",
        "version": "1.2.3",
        "target": "coe_test_plugin:shout",
        "status": "not allowed",
        "error": "",
    }
    assert found["coe.commands", "test-plugin"]["status"] == "available"


def test_list_for_people_is_neither_wrapped_nor_cut(run: Run) -> None:
    _, out, _ = run("plugins", "list")
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["adds", "name", "distribution", "version", "status"]
    assert ["embedder", "sentence-transformers", "coe-router"] in [line[:3] for line in lines]


def test_list_imports_no_plugin() -> None:
    code = (
        "import sys\nfrom coe.cli import main\ntry: main(['plugins', 'list'])\n"
        "except SystemExit: print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.splitlines()[-1].split()
    assert "coe.registry" in loaded
    assert not {"coe_test_plugin", "coe_routers", "coe.experts"}.intersection(loaded)


def test_doctor_is_content_when_nothing_that_is_allowed_is_broken(run: Run) -> None:
    code, out, _ = run("plugins", "doctor")
    assert code == 0
    assert "add `coe-test-plugin` to `plugins.allow` if you trust it." in out


def test_doctor_names_every_broken_plugin_and_why(run: Run, tmp_path: Path) -> None:
    (tmp_path / "coe.yaml").write_text(TRUSTING)
    code, out, _ = run("plugins", "doctor")
    assert code == 4
    assert (
        "expert `broken` of coe-test-plugin: ImportError: No module named 'flux_capacitor'; reinstall" in out
    )
    code, out, _ = run("plugins", "doctor", "--json")
    assert code == 4
    status = {name: row["status"] for (_, name), row in rows(out).items()}
    assert [name for name in status if status[name] == "broken"] == [
        "absent",
        "broken",
        "quits",
        "wrong-type",
    ]
    assert status["shout"] == status["test-plugin"] == status["echo"] == "loaded"


@pytest.mark.slow
def test_new_plugins_install_and_pass_their_tests(run: Run, tmp_path: Path) -> None:
    """Build the wheels, install them into a folder of their own, and run the tests that came with them."""
    site = tmp_path / "site"
    roots = [tmp_path / "made" / "coe-hello-world", tmp_path / "made" / "coe-pick"]
    for root, group in zip(roots, ("expert", "router"), strict=True):
        code, out, _ = run("plugins", "new", root.name, "--group", group, "--dir", "made")
        assert code == 0
        assert f"pip install -e made/{root.name}[test] && pytest made/{root.name}" in out
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / root.name)]
        subprocess.run(build, cwd=root, check=True, capture_output=True)
        (wheel,) = (tmp_path / root.name).glob("*.whl")
        zipfile.ZipFile(wheel).extractall(site)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "--import-mode=importlib",
            *map(str, roots),
        ],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    # The kit's checks and the plugins' own.
    assert passed is not None
    assert int(passed[1]) > 15


@pytest.mark.parametrize("group", ["expert", "router"])
def test_a_new_plugin_is_clean(tmp_path: Path, group: str) -> None:
    for path, text in scaffold("acme", group).files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    for check in (["check", "--select", "E,F,B,UP"], ["format", "--check"]):
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "ruff",
                *check,
                "--isolated",
                "--line-length",
                "110",
                "--no-cache",
                str(tmp_path),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_new_plugin_overwrites_nothing(run: Run) -> None:
    assert run("plugins", "new", "acme")[0] == 0
    code, _, err = run("plugins", "new", "acme")
    assert code == 1
    assert err.startswith("error: coe-acme exists already.")


@pytest.mark.parametrize(
    "name", ["Acme", "1acme", "a--b", "-a", "a_b", "router", "coe-kernels", "", "a b", "a\n"]
)
def test_names_that_no_distribution_can_have_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="cannot be the name of a plugin"):
        scaffold(name, "expert")


def test_names_become_identifiers() -> None:
    package = scaffold("hello-world", "router")
    assert package.distribution == "coe-hello-world"
    assert 'hello-world = "coe_hello_world:hello_world"' in package.files["pyproject.toml"]
    assert "class HelloWorldRouter:" in package.files["src/coe_hello_world/router.py"]
    assert not any("$" in text for text in package.files.values())
