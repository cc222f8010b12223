"""A plugin that is really installed, found through importlib.metadata."""

import json
import subprocess
import sys
from importlib.metadata import entry_points, version

import pytest

from coe.errors import PluginError
from coe.registry import FIRST_PARTY, Registry
from coe.testing import create, load


def run(program: str) -> list[str]:
    """What the program prints, as JSON. In a process of its own: what is imported there is the question."""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return json.loads(ended.stdout)


def test_metadata_names_one_plugin_of_each_kind() -> None:
    ours = {
        (point.group, point.name)
        for group in ("coe.experts", "coe.routers", "coe.embedders", "coe.caches", "coe.commands")
        for point in entry_points(group=group)
        if point.dist is not None and point.dist.name == "coe-test-plugin"
    }
    assert ours == {
        ("coe.experts", "shout"),
        ("coe.experts", "critic"),
        ("coe.experts", "broken"),
        ("coe.experts", "absent"),
        ("coe.experts", "quits"),
        ("coe.experts", "wrong-type"),
        ("coe.routers", "first"),
        ("coe.embedders", "letters"),
        ("coe.caches", "dict"),
        ("coe.commands", "test-plugin"),
    }


def test_the_registry_finds_them_with_distribution_and_version() -> None:
    found = {each.name: each for each in Registry().found("coe.experts")}
    assert found["shout"].distribution == "coe-test-plugin"
    assert found["shout"].version == version("coe-test-plugin")
    assert found["shout"].status == "available"
    assert found["echo"].distribution == "coe-router", "built-ins come through the same door"


def test_finding_and_loading_import_no_more_than_needed() -> None:
    program = """
import json, sys
from coe.registry import Registry
registry = Registry()
registry.found()
steps = [[name for name in sys.modules if name.startswith(("coe_test_plugin", "coe_routers"))]]
registry.plugin("coe.experts", "shout")
steps.append([name for name in sys.modules if name.startswith(("coe_test_plugin", "coe_routers"))])
print(json.dumps(steps))
"""
    assert run(program) == [[], ["coe_test_plugin", "coe_test_plugin.expert"]]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("broken", "ImportError: No module named 'flux_capacitor'"),
        ("absent", "AttributeError: module 'coe_test_plugin' has no attribute 'no_such_attribute'"),
        ("quits", "SystemExit: quits.py is a script"),
        ("wrong-type", "TypeError: coe_test_plugin:wrong_type returned dict"),
    ],
)
def test_a_broken_plugin_is_an_error_with_its_name(name: str, why: str) -> None:
    with pytest.raises(PluginError) as caught:
        load("coe.experts", name)
    assert f"The expert plugin `{name}` of `coe-test-plugin` 1.2.3 is broken: {why}" in str(caught.value)


def test_broken_plugins_leave_the_good_ones_alone() -> None:
    registry = Registry(allow=["coe-test-plugin"])
    found = [each for each in registry.check_all() if each.distribution == "coe-test-plugin"]
    status = {each.name: each.status for each in found}
    assert status == {
        "shout": "loaded",
        "critic": "loaded",
        "broken": "broken",
        "absent": "broken",
        "quits": "broken",
        "wrong-type": "broken",
        "first": "loaded",
        "letters": "loaded",
        "dict": "loaded",
        "test-plugin": "loaded",
    }
    assert create(registry.plugin("coe.experts", "shout")).card.description == "Answers in capitals."


def test_what_is_first_party_does_not_include_it() -> None:
    registry = Registry(allow=FIRST_PARTY)
    with pytest.raises(PluginError, match=r"Add `coe-test-plugin` to `plugins\.allow` if you trust it"):
        registry.plugin("coe.experts", "shout")
    assert registry.plugin("coe.experts", "echo")


def test_its_command_is_a_typer_app() -> None:
    app = Registry().command("test-plugin")
    assert {command.callback.__name__ for command in app.registered_commands} == {"hello", "version"}
