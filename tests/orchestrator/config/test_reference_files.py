"""The files in configs/ are valid as they stand."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest

from coe.config import EMBEDDED_TEXT, InvalidConfig, check_plugins, load
from coe.contracts import GENERAL, GROUPS
from coe.registry import Registry
from coe_routers.routing import BUILTIN

ROOT = Path(__file__).parents[3]
CONFIGS = ROOT / "configs"
ENVIRON = {
    "OPENAI_API_KEY": "sk-test",
    "REDIS_URL": "redis://127.0.0.1:6379/0",
    "ANTHROPIC_API_KEY": "sk-ant-test",
    "GEMINI_API_KEY": "test",
    "AWS_REGION": "eu-central-1",
}
NAMES = ("embedded", "litellm", "openai-compatible")


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The installed plugins of coe-router, and coe-litellm whose settings need no LiteLLM."""
    monkeypatch.syspath_prepend(ROOT / "plugins" / "coe-litellm" / "src")
    installed = (entry for group in GROUPS for entry in entry_points(group=group))
    own = [entry for entry in installed if entry.dist and entry.dist.name == "coe-router"]
    return Registry(entry_points=[*own, EntryPoint("litellm", "coe_litellm:litellm", "coe.experts")])


def test_these_are_the_reference_files() -> None:
    assert sorted(path.stem for path in CONFIGS.glob("*.yaml")) == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_reference_file_is_valid(name: str, registry: Registry) -> None:
    config = load(CONFIGS / f"{name}.yaml", ENVIRON)
    assert list(map(str, check_plugins(config, registry))) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_reference_file_explains_itself(name: str) -> None:
    head = (CONFIGS / f"{name}.yaml").read_text().splitlines()[:12]
    assert head[0] == "# yaml-language-server: $schema=coe.schema.json"
    assert any("coe config validate" in line for line in head)


def test_the_embedded_reference_is_the_embedded_default() -> None:
    assert (CONFIGS / "embedded.yaml").read_text() == EMBEDDED_TEXT


def test_keys_come_from_the_environment() -> None:
    with pytest.raises(InvalidConfig) as caught:
        load(CONFIGS / "openai-compatible.yaml", {})
    assert [problem.key for problem in caught.value.problems] == ["experts.gpt.api_key", "cache.shared.url"]


@pytest.mark.parametrize("name", NAMES)
def test_maps_name_categories_that_the_classifier_knows(name: str) -> None:
    known = {*json.loads((BUILTIN / "manifest.json").read_text())["about"]["categories"], GENERAL}
    config = load(CONFIGS / f"{name}.yaml", ENVIRON)
    mapped = [category for router in config.routers.values() for category in router.settings.get("map", {})]
    domains = [domain for expert in config.experts.values() for domain in expert.card.domains or ()]
    assert known.issuperset([*mapped, *domains])


def test_a_misspelled_expert_in_a_map_is_found(tmp_path: Path, registry: Registry) -> None:
    text = (CONFIGS / "openai-compatible.yaml").read_text()
    (tmp_path / "coe.yaml").write_text(text.replace("law: [lawyer, gpt]", "law: [laywer, gpt]"))
    (problem,) = check_plugins(load(tmp_path / "coe.yaml", ENVIRON), registry)
    assert problem.key == "routers.auto.map.law[0]"
    assert problem.message == "no expert is called `laywer`. Did you mean `lawyer`?"
