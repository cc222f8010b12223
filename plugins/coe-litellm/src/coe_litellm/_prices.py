"""Facts about a model from the price map that litellm ships, read without importing litellm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from coe.contracts import Capability
from coe.errors import PluginError

MAP = "litellm/model_prices_and_context_window_backup.json"
_MTOK = 1_000_000
_ANSWER_CHATS = frozenset({"chat", "responses", "completion"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the price map says about one model.

    Attributes:
        key: its name in the map.
        provider: LiteLLM's name of the provider whose prices these are.
        mode: what the model is for: `chat`, `embedding` …
        context_window: tokens of the prompt, where known.
        input_usd_per_mtok, output_usd_per_mtok: list price, USD per million tokens, where known.
        capabilities: what it can serve.
    """

    key: str
    provider: str
    mode: str
    context_window: int | None
    input_usd_per_mtok: float | None
    output_usd_per_mtok: float | None
    capabilities: frozenset[Capability]

    @property
    def answers_chats(self) -> bool:
        """Whether it is a model for chats; embedding and reranking models, for example, are not."""
        return self.mode in _ANSWER_CHATS


class _Entry(msgspec.Struct):
    """The fields of an entry that matter here."""

    litellm_provider: str = ""
    mode: str = "chat"
    max_input_tokens: Any = None
    max_tokens: Any = None
    input_cost_per_token: float | None = None
    output_cost_per_token: float | None = None
    supports_function_calling: bool | None = None
    supports_vision: bool | None = None
    supports_response_schema: bool | None = None


def find(path: Path, name: str) -> Facts | None:
    """The facts about a model, or None when the map does not hold it.

    The map is scanned, not parsed: its entries stay bytes except for the one that is asked for.

    Args:
        path: the price map's file.
        name: LiteLLM's name of the model, `provider/model`.

    Raises:
        PluginError: the file is missing or not what it was.
    """
    try:
        entries = msgspec.json.decode(path.read_bytes(), type=dict[str, msgspec.Raw])
        for key in _keys(name):
            if key in entries:
                entry = msgspec.json.decode(entries[key], type=_Entry)
                if key == name or _same_provider(entry.litellm_provider, name):
                    return _facts(key, entry)
    except (OSError, msgspec.DecodeError) as error:
        raise PluginError(
            f"The price map of litellm, {path}, cannot be read: {error}.", hint="Install litellm again."
        ) from error
    return None


def _keys(name: str) -> Iterator[str]:
    """The name, and the name without its leading parts: the map has both `azure/gpt-4o` and `gpt-4o`."""
    while name:
        yield name
        name = name.partition("/")[2]


def _same_provider(provider: str, name: str) -> bool:
    # The map's provider may be longer: `bedrock_converse` is bedrock's.
    return provider.startswith(name.partition("/")[0])


def _facts(key: str, entry: _Entry) -> Facts:
    capabilities: set[Capability] = {"chat", "stream"}
    if entry.supports_function_calling:
        capabilities.add("tools")
    if entry.supports_vision:
        capabilities.add("vision")
    if entry.supports_response_schema:
        capabilities.add("json_schema")
    window = entry.max_input_tokens or entry.max_tokens
    return Facts(
        key=key,
        provider=entry.litellm_provider,
        mode=entry.mode,
        context_window=window if isinstance(window, int) else None,
        input_usd_per_mtok=_per_mtok(entry.input_cost_per_token),
        output_usd_per_mtok=_per_mtok(entry.output_cost_per_token),
        capabilities=frozenset(capabilities),
    )


def _per_mtok(usd_per_token: float | None) -> float | None:
    # Rounded, because 3e-06 × 1e6 is not 3.
    return None if usd_per_token is None else round(usd_per_token * _MTOK, 9)
