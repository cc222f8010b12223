"""Load an installed plugin and create from it, as the host does, and stand in for the host."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from coe.contracts import Build, Card, Embedder, Expert, Plugin
from coe.errors import ConfigError
from coe.registry import Registry

T = TypeVar("T")


def load(group: str, name: str) -> Plugin[Any]:
    """The installed plugin `name` of an entry-point group, for example `coe.experts`.

    Raises:
        PluginError: not installed, offered twice, or broken; the exception that it raised is the cause.
    """
    return Registry().plugin(group, name)


def create(
    plugin: Plugin[T],
    name: str = "test",
    settings: Mapping[str, Any] | None = None,
    build: Build | None = None,
) -> T:
    """Check the settings and create from the plugin.

    Args:
        plugin: what the entry point returns, or `load` gives.
        name: its name in the configuration.
        settings: the keys that a user would write.
        build: what the plugin may ask for; an empty pool by default.

    Raises:
        ConfigError: a setting is wrong, missing or unknown.
    """
    given = dict(settings or {})
    fields = plugin.settings.model_fields
    known = {*fields, *(field.alias for field in fields.values() if field.alias)}
    if unknown := sorted(given.keys() - known):
        raise ConfigError(f"{name}: unknown key `{unknown[0]}`, expected one of {', '.join(sorted(known))}.")
    try:
        checked = plugin.settings.model_validate(given)
    except ValidationError as error:
        raise ConfigError(f"{name}: {error}") from error
    return plugin.create(name, checked, _Build() if build is None else build)


def build(
    *,
    experts: Mapping[str, Expert] | None = None,
    embedders: Mapping[str, Embedder] | None = None,
    card: Mapping[str, Any] | None = None,
    base_dir: Path | None = None,
) -> Build:
    """What a plugin's `create` is handed.

    Args:
        experts: the pool's other experts, by name.
        embedders: embedders by kind; other kinds are those installed.
        card: the user's `card:` keys, laid over the plugin's defaults.
        base_dir: where relative paths start; the working directory by default.
    """
    return _Build(experts or {}, embedders or {}, card or {}, base_dir or Path.cwd())


@dataclass(frozen=True, slots=True)
class _Build:
    experts: Mapping[str, Expert] = field(default_factory=dict[str, Expert])
    embedders: Mapping[str, Embedder] = field(default_factory=dict[str, Embedder])
    card_keys: Mapping[str, Any] = field(default_factory=dict[str, Any])
    base_dir: Path = field(default_factory=Path.cwd)

    def card(self, defaults: Card) -> Card:
        return dataclasses.replace(defaults, **self.card_keys)

    def expert(self, name: str) -> Expert:
        if name not in self.experts:
            raise ConfigError(
                f"No expert is called `{name}`.", hint=f"Known: {', '.join(self.experts) or 'none'}."
            )
        return self.experts[name]

    def embedder(self, kind: str, settings: Mapping[str, Any]) -> Embedder:
        if kind not in self.embedders:
            return create(load("coe.embedders", kind), kind, settings, self)
        return self.embedders[kind]

    def nested(self, kind: str, settings: Mapping[str, Any], card: Card) -> Expert:
        facts = {name: getattr(card, name) for name in Card.__dataclass_fields__}
        return create(
            load("coe.experts", kind), card.name, settings, dataclasses.replace(self, card_keys=facts)
        )
