"""Settings of plugins against the plugins' own models."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import ValidationError

from coe.config._explain import explain, key_names, unknown_key
from coe.config._models import Config, ExpertConfig, PluginSettings, RouterConfig
from coe.config._problems import KeyPath, Problem, in_order
from coe.config._references import references, unknown_expert
from coe.errors import PluginError
from coe.registry import Registry


def check_plugins(config: Config, registry: Registry) -> tuple[Problem, ...]:
    """Check each expert's and router's `kind` and settings. Imports the plugins that the configuration names.

    Args:
        config: a loaded configuration.
        registry: where its plugins are found.

    Returns:
        All problems, in the order of the file; none when every plugin accepts its settings.
    """
    sections = (("experts", ExpertConfig, config.experts), ("routers", RouterConfig, config.routers))
    return tuple(
        in_order(
            problem
            for section, model, blocks in sections
            for name, block in blocks.items()
            for problem in _check(config, (section, name), block, key_names(model), registry)
        )
    )


def _check(
    config: Config, here: KeyPath, block: PluginSettings, own: list[str], registry: Registry
) -> Iterator[Problem]:
    origin = config.origin
    try:
        plugin = registry.plugin(f"coe.{here[0]}", block.kind)
    except PluginError as error:
        yield origin.problem((*here, "kind"), str(error))
        return
    known = key_names(plugin.settings)
    for name in block.settings:
        if name not in known:
            yield origin.problem((*here, name), unknown_key(name, [*own, *known]))
    raw = {path[2:]: text for path, text in origin.raw.items() if path[:2] == here}
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
