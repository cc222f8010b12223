"""Settings of plugins against their models."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Annotated, Any

import pytest
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, field_validator

from coe.config import check_plugins, loads
from coe.contracts import ExpertName, Plugin
from coe.registry import FIRST_PARTY, Registry


class Limits(BaseModel):
    model_config = ConfigDict(extra="forbid")

    per_minute: int = 1
    spill: ExpertName | None = None


class Settings(BaseModel):
    model_config = ConfigDict(extra="allow")

    base_url: str
    api_key: SecretStr | None = None
    timeout: float = Field(default=1, validation_alias=AliasChoices("timeout_s", "wait_s"))
    limits: Limits = Limits()
    base: ExpertName | None = None
    map: dict[str, tuple[ExpertName, ...]] = {}
    pairs: list[Annotated[ExpertName, Field(min_length=1)]] = []

    @field_validator("base_url", "api_key", mode="before")
    @classmethod
    def _checked(cls, value: str) -> str:
        if value.startswith("crash"):
            raise RuntimeError(value)
        if value.startswith("wrong"):
            raise ValueError(f"{value!r} does not begin with http")
        return value


def plugin() -> Plugin[Any]:
    """Entry point of the plugin under test."""
    return Plugin(Settings, lambda name, settings, build: None)


class Greedy(BaseModel):
    card: str = ""


def greedy() -> Plugin[Any]:
    """Entry point of a plugin that wants a key of coe's."""
    return Plugin(Greedy, lambda name, settings, build: None)


def entry(name: str, value: str, group: str = "coe.experts") -> EntryPoint:
    return EntryPoint(name=name, group=group, value=value)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    import sys
    import types

    module = types.ModuleType("coe_test_settings")
    module.__dict__.update(plugin=plugin, greedy=greedy)
    monkeypatch.setitem(sys.modules, "coe_test_settings", module)
    return Registry(
        entry_points=[
            entry("openai", "coe_test_settings:plugin"),
            entry("greedy", "coe_test_settings:greedy"),
            entry("lost", "coe_no_such_module:plugin"),
            entry("two-step", "coe_test_settings:plugin", "coe.routers"),
        ]
    )


def found(registry: Registry, *lines: str, **environ: str) -> list[str]:
    text = "experts:\n  coder:\n" + "".join(f"    {line}\n" for line in lines)
    text += "routers:\n  auto:\n    kind: two-step\n    base_url: http://x\n"
    config = loads(text, environ, source="coe.yaml")
    return [str(problem) for problem in check_plugins(config, registry)]


def test_good_settings_are_no_problem(registry: Registry) -> None:
    lines = [
        "kind: openai",
        "base_url: x",
        "wait_s: 3",
        "base: coder",
        "map: {math: [coder]}",
        "pairs: [coder]",
    ]
    assert found(registry, *lines) == []


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["base_ur: x"], "coe.yaml:4: experts.coder.base_ur: unknown key. Did you mean `base_url`?"),
        (
            ["base_url: x", "routeable: no"],
            "coe.yaml:5: experts.coder.routeable: unknown key. Did you mean `routable`?",
        ),
        (
            ["base_url: x", "timeout: 3"],
            "coe.yaml:5: experts.coder.timeout: unknown key. Did you mean `timeout_s`?",
        ),
        (["card: {}"], "coe.yaml:2: experts.coder: `base_url` is required."),
        (["base_url: 3"], "coe.yaml:4: experts.coder.base_url: the settings of plugin"),
        (
            ["base_url: x", "timeout_s: soon"],
            "coe.yaml:5: experts.coder.timeout_s: expected a number; found text.",
        ),
        (
            ["base_url: x", "limits:", "  per_minut: 3"],
            "coe.yaml:6: experts.coder.limits.per_minut: unknown key. Did",
        ),
        (["base_url: wrong"], "coe.yaml:4: experts.coder.base_url: 'wrong' does not begin with http."),
        (
            ["base_url: x", "base: coer"],
            "coe.yaml:5: experts.coder.base: no expert is called `coer`. Did you mean `coder`?",
        ),
        (
            ["base_url: x", "map: {a: [coder, b]}"],
            "coe.yaml:5: experts.coder.map.a[1]: no expert is called `b`.",
        ),
        (
            ["base_url: x", "pairs: [coder, b]"],
            "coe.yaml:5: experts.coder.pairs[1]: no expert is called `b`.",
        ),
        (
            ["base_url: x", "limits: {spill: b}"],
            "coe.yaml:5: experts.coder.limits.spill: no expert is called `b`.",
        ),
    ],
)
def test_wrong_settings_are_explained(registry: Registry, lines: list[str], problem: str) -> None:
    problems = found(registry, "kind: openai", *lines)
    if lines == ["base_url: 3"]:
        assert problems == [
            "coe.yaml:2: experts.coder: the settings of plugin `openai` raised AttributeError."
        ]
    else:
        assert any(line.startswith(problem) for line in problems), problems


def test_a_plugin_cannot_take_a_key_of_coe(registry: Registry) -> None:
    (problem,) = found(registry, "kind: greedy", "card: {}")
    assert problem.startswith(
        "coe.yaml:2: experts.coder: plugin `greedy` has a setting `card`, which is a key"
    )


def test_unknown_and_broken_kinds_are_explained(registry: Registry) -> None:
    (unknown,) = found(registry, "kind: opnai")
    assert unknown.startswith("coe.yaml:3: experts.coder.kind: No expert plugin is called `opnai`.")
    assert unknown.endswith("Did you mean `openai`?")
    (broken,) = found(registry, "kind: lost")
    assert broken.startswith("coe.yaml:3: experts.coder.kind: The expert plugin `lost`")
    assert "No module named 'coe_no_such_module'" in broken


def test_plugins_off_the_allow_list_are_a_problem() -> None:
    (problem,) = found(Registry(allow=FIRST_PARTY), "kind: shout")[:1]
    assert "coe.yaml:3: experts.coder.kind" in problem
    assert "`coe-test-plugin`, which is not on the allow-list" in problem


def test_a_plugin_cannot_show_a_secret(registry: Registry) -> None:
    """Validators put values into their messages; coe takes out what came from a placeholder."""
    for secret in ("wrong-s3cret", "wrong\t'\"é\\s3cret", "crash-s3cret"):
        problems = found(registry, "kind: openai", "base_url: ${KEY}", "api_key: ${KEY}", KEY=secret)
        assert problems
        assert "s3cret" not in " ".join(problems)
    url, _ = found(registry, "kind: openai", "base_url: ${KEY}", "api_key: ${KEY}", KEY="wrong-s3cret")
    assert url == "coe.yaml:4: experts.coder.base_url: '${KEY}' does not begin with http."


def test_experts_and_routers_are_both_checked(registry: Registry) -> None:
    text = "experts: {a: {kind: openai, base_url: x}}\nrouters: {auto: {kind: two-step, base_url: x, zip: 1}}"
    (problem,) = check_plugins(loads(text, {}, source="coe.yaml"), registry)
    assert (problem.line, problem.key) == (2, "routers.auto.zip")
    assert "Known: kind, experts, base_url" in problem.message


def test_the_shared_cache_is_checked(registry: Registry) -> None:
    text = "experts: {a: {kind: openai, base_url: x}}\nrouters: {auto: {kind: two-step, base_url: x}}\n"
    text += "cache:\n  shared:\n    kind: redis\n    ulr: redis://x\n"
    problems = check_plugins(loads(text, {}, source="coe.yaml"), Registry(allow=FIRST_PARTY))
    assert "coe.yaml:6: cache.shared.ulr: unknown key. Did you mean `url`?" in map(str, problems)
    assert "coe.yaml:4: cache.shared: `url` is required." in map(str, problems)
