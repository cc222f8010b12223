"""From settings to an expert, without importing litellm."""

from __future__ import annotations

from pathlib import Path

from coe.contracts import Build, Card
from coe.errors import ConfigError
from coe_litellm import _library, _prices
from coe_litellm._cost import Tariff
from coe_litellm._expert import LiteLLMExpert
from coe_litellm._settings import LiteLLMSettings


def create(name: str, settings: LiteLLMSettings, build: Build) -> LiteLLMExpert:
    """The plugin's factory. Reads litellm's price map from its installed files.

    Raises:
        ConfigError: `base_model` is not in the price map, or the model is none for chats.
        PluginError: litellm is missing, compromised or damaged.
    """
    path = Path(str(_library.installed().locate_file(_prices.MAP)))
    facts = _prices.find(path, settings.base_model or settings.model)
    if facts is None and settings.base_model:
        raise ConfigError(
            f"`base_model` of the expert `{name}`: `{settings.base_model}` is not in litellm's price map.",
            hint="Leave it out and give the facts under `card:`.",
        )
    if facts is not None and not facts.answers_chats:
        raise ConfigError(
            f"`{settings.model}` of the expert `{name}` is a model for {facts.mode}, not for chats."
        )
    card = build.card(_declared(name, facts))
    return LiteLLMExpert(card, settings, Tariff.of(card, facts))


def _declared(name: str, facts: _prices.Facts | None) -> Card:
    if facts is None:
        return Card(name=name)
    return Card(
        name=name,
        capabilities=facts.capabilities,
        context_window=facts.context_window,
        input_usd_per_mtok=facts.input_usd_per_mtok,
        output_usd_per_mtok=facts.output_usd_per_mtok,
    )
