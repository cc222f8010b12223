"""docs/configuration.md names every key."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from coe.config import (
    BreakerConfig,
    BudgetConfig,
    CacheConfig,
    CardConfig,
    Config,
    ExpertConfig,
    JournalConfig,
    PluginsConfig,
    PolicyConfig,
    RouterConfig,
    ServerConfig,
    StrongShareConfig,
    TenantsConfig,
)
from coe.registry import FIRST_PARTY, Registry

TEXT = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text()
MODELS = (
    Config,
    ServerConfig,
    PluginsConfig,
    ExpertConfig,
    CardConfig,
    RouterConfig,
    CacheConfig,
    BreakerConfig,
    JournalConfig,
    TenantsConfig,
    PolicyConfig,
    BudgetConfig,
    StrongShareConfig,
)


@pytest.mark.parametrize("model", MODELS)
def test_every_key_is_documented_and_described(model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        assert f"`{name}`" in TEXT, name
        assert field.description, name


@pytest.mark.parametrize(
    ("group", "kind"),
    [
        ("coe.experts", "openai"),
        ("coe.experts", "prompt"),
        ("coe.experts", "echo"),
        ("coe.routers", "two-step"),
        ("coe.caches", "redis"),
    ],
)
def test_settings_of_the_built_in_kinds_are_documented(group: str, kind: str) -> None:
    for name, field in Registry(allow=FIRST_PARTY).plugin(group, kind).settings.model_fields.items():
        assert f"`{name}`" in TEXT, name
        assert field.description, name
