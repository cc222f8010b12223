"""What plugins may import of coe: the contracts, and coe.testing in their tests."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRACT = ("coe.contracts", "coe.errors", "coe.wire")
PACKAGES = sorted(
    file.parent
    for pattern in (
        "plugins/*/pyproject.toml",
        "kernels/pyproject.toml",
        "examples/*/pyproject.toml",
        "tests/plugins/*/pyproject.toml",
    )
    for file in ROOT.glob(pattern)
)


def imported(folder: Path) -> set[str]:
    """Modules of coe that the Python files below the folder import."""
    names: set[str] = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module)
    return {name for name in names if name == "coe" or name.startswith("coe.")}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_a_plugin_uses_the_contracts_and_nothing_else(package: Path) -> None:
    assert imported(package / "src"), "a plugin imports the contracts"
    assert imported(package / "src") <= set(CONTRACT)


def test_the_tests_of_an_author_need_no_more_than_coe_testing() -> None:
    found = imported(ROOT / "examples" / "coe-calculator" / "tests")
    assert {name for name in found if not name.startswith((*CONTRACT, "coe.testing"))} == set()


def test_the_packages_were_found() -> None:
    assert {"coe-calculator", "coe-test-plugin"} <= {package.name for package in PACKAGES}
