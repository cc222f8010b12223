"""Settings of plugins against the plugins' own models."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import ValidationError

from coe.config._explain import explain, key_names, unknown_key
from coe.config._models import Config, PluginSettings
from coe.config._problems import KeyPath, Problem, in_order
from coe.config._references import references, unknown_expert
from coe.errors import PluginError
from coe.registry import Registry


def check_plugins(config: Config, registry: Registry) -> tuple[Problem, ...]:
    """Check `kind` and settings wherever a plugin is configured. Imports the plugins that are named.

    Args:
        config: a loaded configuration.
        registry: where its plugins are found.

    Returns:
        All problems, in the order of the file; none when every plugin accepts its settings.
    """
    return tuple(in_order(problem for used in _uses(config) for problem in _check(config, *used, registry)))


def _uses(config: Config) -> Iterator[tuple[str, KeyPath, PluginSettings]]:
    """Every plugin that is configured: its group, the path of its block, the block."""
    for name, expert in config.experts.items():
        yield "coe.experts", ("experts", name), expert
    for name, router in config.routers.items():
        yield "coe.routers", ("routers", name), router
    if config.cache.shared is not None:
        yield "coe.caches", ("cache", "shared"), config.cache.shared


def _check(
    config: Config, group: str, here: KeyPath, block: PluginSettings, registry: Registry
) -> Iterator[Problem]:
    origin = config.origin
    try:
        plugin = registry.plugin(group, block.kind)
    except PluginError as error:
        yield origin.problem((*here, "kind"), str(error))
        return
    own, known = key_names(type(block)), key_names(plugin.settings)
    for name in sorted(set(own) & set(known)):
        message = f"plugin `{block.kind}` has a setting `{name}`, which is a key of coe's; it cannot be set."
        yield origin.problem(here, message)
    for name in block.settings:
        if name not in known:
            yield origin.problem((*here, name), unknown_key(name, [*own, *known]))
    raw = {path[len(here) :]: text for path, text in origin.raw.items() if path[: len(here)] == here}
    try:
        settings = plugin.settings.model_validate({k: v for k, v in block.settings.items() if k in known})
    except ValidationError as error:
        for path, message in explain(error, plugin.settings, raw, origin.replaced):
            yield origin.problem((*here, *path), message)
        return
    # A validator is somebody else's code: one that raises anything else must not take the host down.
    except Exception as error:  # noqa: BLE001
        yield origin.problem(here, f"the settings of plugin `{block.kind}` raised {type(error).__name__}.")
        return
    for path, name in references(settings):
        if name not in config.experts:
            yield origin.problem((*here, *path), unknown_expert(name, config.experts))
