"""The embedders that the offline commands can build without a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coe.contracts import Embedder
from coe.errors import ConfigError
from coe_routers.features import StaticEmbedder


def find_embedder(kind: str, settings: Mapping[str, Any]) -> Embedder:
    """An embedder by its plugin's name.

    Args:
        kind: `static` or `sentence-transformers`.
        settings: as in a configuration; `model` for sentence-transformers.

    Raises:
        ConfigError: another kind.
        PluginError: the extra is not installed.
    """
    if kind == "static":
        return StaticEmbedder.load()
    if kind == "sentence-transformers":
        from coe_routers.features._sentence_transformers import SentenceTransformersEmbedder

        return SentenceTransformersEmbedder.load(
            str(settings["model"]),
            device=str(settings.get("device", "cpu")),
            offline=bool(settings.get("offline", False)),
        )
    raise ConfigError(f"Unknown embedder `{kind}`.", hint="Known: static, sentence-transformers.")
