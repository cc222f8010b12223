"""The registry, over entry points that the tests make; real metadata is in tests/plugins."""

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

import coe.registry
from coe.contracts import Plugin
from coe.errors import PluginError
from coe.registry import FIRST_PARTY, Found, Registry

MODULE = """
from coe.contracts import Plugin
from pydantic import BaseModel
calls = []
def good():
    calls.append("good")
    return Plugin(BaseModel, lambda name, settings, build: name)
def raises():
    calls.append("raises")
    raise RuntimeError("no luck")
def returns_none():
    return None
def interrupts():
    raise KeyboardInterrupt
not_callable = 3
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on sys.path with the module `plug_ins`."""
    (tmp_path / "plug_ins.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("plug_ins", None)


def entry_point(
    name: str,
    attribute: str = "good",
    *,
    group: str = "coe.experts",
    module: str = "plug_ins",
    distribution: str = "acme-plugins",
) -> EntryPoint:
    return _Distribution(distribution).entry_point(name, f"{module}:{attribute}", group)


class _Distribution:
    """As much of importlib.metadata.Distribution as an entry point refers to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.version = "4.5.6"

    def entry_point(self, name: str, value: str, group: str) -> EntryPoint:
        made = EntryPoint(name, value, group)
        # importlib.metadata itself sets `dist` this way: entry points are immutable.
        vars(made)["dist"] = self
        return made


def test_looking_imports_nothing(site: Path) -> None:
    registry = Registry(
        entry_points=[entry_point("b"), entry_point("a"), entry_point("r", group="coe.routers")]
    )
    assert registry.names("coe.experts") == ["a", "b"]
    assert registry.found("coe.routers") == [
        Found("coe.routers", "r", "acme-plugins", "4.5.6", "plug_ins:good")
    ]
    assert [found.name for found in registry.found()] == ["a", "b", "r"]
    assert "plug_ins" not in sys.modules


def test_a_plugin_is_imported_when_it_is_named_and_called_once(site: Path) -> None:
    registry = Registry(entry_points=[entry_point("a"), entry_point("b", "raises")])
    plugin = registry.plugin("coe.experts", "a")
    assert isinstance(plugin, Plugin)
    assert plugin.settings is BaseModel
    assert registry.plugin("coe.experts", "a") is plugin
    assert sys.modules["plug_ins"].calls == ["good"]
    assert [found.status for found in registry.found()] == ["loaded", "available"]


@pytest.mark.parametrize(
    ("attribute", "module", "why"),
    [
        ("raises", "plug_ins", "RuntimeError: no luck"),
        ("returns_none", "plug_ins", "returned NoneType, expected coe.contracts.Plugin"),
        ("not_callable", "plug_ins", "TypeError: 'int' object is not callable"),
        ("absent", "plug_ins", "AttributeError"),
        ("good", "no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_a_broken_plugin_is_named_and_does_not_come_back(
    site: Path, attribute: str, module: str, why: str
) -> None:
    registry = Registry(entry_points=[entry_point("x", attribute, module=module), entry_point("y")])
    for _ in range(2):
        with pytest.raises(PluginError) as caught:
            registry.plugin("coe.experts", "x")
        assert "The expert plugin `x` of `acme-plugins` 4.5.6 is broken" in str(caught.value)
        assert why in str(caught.value)
    assert registry.found()[0].status == "broken"
    assert why in registry.found()[0].error
    assert registry.plugin("coe.experts", "y"), "the others are not affected"


def test_a_broken_plugin_is_tried_once(site: Path) -> None:
    registry = Registry(entry_points=[entry_point("x", "raises")])
    for _ in range(3):
        with pytest.raises(PluginError):
            registry.plugin("coe.experts", "x")
    assert sys.modules["plug_ins"].calls == ["raises"]


def test_the_first_failure_keeps_its_cause(site: Path) -> None:
    with pytest.raises(PluginError) as caught:
        Registry(entry_points=[entry_point("x", "raises")]).plugin("coe.experts", "x")
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_an_interrupt_is_not_a_broken_plugin(site: Path) -> None:
    registry = Registry(entry_points=[entry_point("x", "interrupts")])
    with pytest.raises(KeyboardInterrupt):
        registry.plugin("coe.experts", "x")
    assert registry.found()[0].status == "available"


def test_an_unknown_name_suggests_the_nearest(site: Path) -> None:
    registry = Registry(entry_points=[entry_point("openai"), entry_point("echo")])
    with pytest.raises(PluginError, match=r"No expert plugin is called `opnai`\. Did you mean `openai`\?"):
        registry.plugin("coe.experts", "opnai")
    with pytest.raises(PluginError, match="Installed: echo, openai"):
        registry.plugin("coe.experts", "zzz")
    with pytest.raises(PluginError, match=r"No router plugin is called `x`\. Installed: none"):
        registry.plugin("coe.routers", "x")


def test_a_name_offered_twice_is_refused_until_one_is_gone(site: Path) -> None:
    offers = [entry_point("x"), entry_point("x", distribution="other-plugins")]
    registry = Registry(entry_points=offers)
    with pytest.raises(PluginError, match=r"offered by `acme-plugins` 4.5.6 and `other-plugins` 4.5.6"):
        registry.plugin("coe.experts", "x")
    assert {found.status for found in registry.found()} == {"ambiguous"}
    assert "plug_ins" not in sys.modules
    assert Registry(allow=["other-plugins"], entry_points=offers).plugin("coe.experts", "x")


def test_a_name_may_be_used_in_two_groups(site: Path) -> None:
    offers = [entry_point("x"), entry_point("x", group="coe.routers")]
    registry = Registry(entry_points=offers)
    assert registry.plugin("coe.experts", "x") is not registry.plugin("coe.routers", "x")


def test_what_is_not_allowed_is_shown_and_never_imported(site: Path) -> None:
    registry = Registry(allow=FIRST_PARTY, entry_points=[entry_point("x")])
    assert [found.status for found in registry.found()] == ["not allowed"]
    with pytest.raises(PluginError, match="`acme-plugins`, which is not on the allow-list"):
        registry.plugin("coe.experts", "x")
    registry.check_all()
    assert [found.status for found in registry.found()] == ["not allowed"]
    assert "plug_ins" not in sys.modules


@given(st.from_regex(r"[A-Za-z0-9]([._-]{1,2}[A-Za-z0-9]){0,4}", fullmatch=True), st.randoms())
def test_the_allow_list_takes_names_as_pip_does(name: str, random: Random) -> None:
    respelled = "".join(
        random.choice("._-") if character in "._-" else random.choice((character.upper(), character.lower()))
        for character in name
    )
    registry = Registry(allow=[respelled], entry_points=[entry_point("x", distribution=name)])
    assert [found.status for found in registry.found()] == ["available"]
    registry = Registry(allow=[respelled], entry_points=[entry_point("x", distribution=name + "x")])
    assert [found.status for found in registry.found()] == ["not allowed"]


def test_an_empty_allow_list_allows_nothing(site: Path) -> None:
    assert Registry(allow=[], entry_points=[entry_point("x")]).found()[0].status == "not allowed"


def test_checking_all_loads_what_works_and_says_why_the_rest_does_not(site: Path) -> None:
    offers = [
        entry_point("a"),
        entry_point("b", "raises"),
        entry_point("c", "not_callable", group="coe.commands"),
        entry_point("d", distribution="one"),
        entry_point("d", distribution="two"),
    ]
    found = Registry(entry_points=offers).check_all()
    assert [(each.name, each.status) for each in found] == [
        ("a", "loaded"),
        ("b", "broken"),
        ("d", "ambiguous"),
        ("d", "ambiguous"),
        ("c", "loaded"),
    ]


def test_a_command_is_what_the_entry_point_names(site: Path) -> None:
    registry = Registry(entry_points=[entry_point("c", "not_callable", group="coe.commands")])
    assert registry.command("c") == 3


def test_an_entry_point_without_a_distribution_is_not_trusted(site: Path) -> None:
    stray = EntryPoint("x", "plug_ins:good", "coe.experts")
    assert Registry(entry_points=[stray]).found()[0].distribution == "unknown"
    assert Registry(allow=FIRST_PARTY, entry_points=[stray]).found()[0].status == "not allowed"


def test_exported_names() -> None:
    assert coe.registry.__all__ == ["FIRST_PARTY", "Found", "Registry"]
