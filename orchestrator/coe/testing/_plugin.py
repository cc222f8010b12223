"""Load an installed plugin and create from it, as the host does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from coe.contracts import Build, Plugin
from coe.errors import ConfigError
from coe.registry import Registry
from coe.testing._make import build as make_build

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
    return plugin.create(name, checked, make_build() if build is None else build)
