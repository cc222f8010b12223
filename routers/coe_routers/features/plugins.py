"""The embedders as plugins."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from coe.contracts import Build, Embedder, Plugin
from coe_routers.features._sentence_transformers import SentenceTransformersEmbedder
from coe_routers.features._static import BUILTIN, StaticEmbedder


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StaticSettings(_Settings):
    """Keys of an embedder of kind `static`."""

    artifact: Path | None = Field(
        default=None, description="Folder with token vectors; the built-in ones by default."
    )


class SentenceTransformersSettings(_Settings):
    """Keys of an embedder of kind `sentence-transformers`."""

    model: str = Field(
        description="Name on the Hugging Face hub, or a folder; a relative one starts at the configuration."
    )
    device: str = Field(default="cpu", description="Where it runs, as torch says it.")
    offline: bool = Field(default=False, description="Use only what is already on this machine.")


def _static(_name: str, settings: StaticSettings, build: Build) -> Embedder:
    path = BUILTIN if settings.artifact is None else build.base_dir / settings.artifact.expanduser()
    return StaticEmbedder.load(path)


def _sentence_transformers(_name: str, settings: SentenceTransformersSettings, build: Build) -> Embedder:
    local = build.base_dir / Path(settings.model).expanduser()
    model = str(local) if local.is_dir() else settings.model
    return SentenceTransformersEmbedder.load(model, device=settings.device, offline=settings.offline)


STATIC: Plugin[Embedder] = Plugin(
    settings=StaticSettings,
    create=_static,
    description="Averaged token vectors distilled from MiniLM; tiny, offline, numpy only.",
)
SENTENCE_TRANSFORMERS: Plugin[Embedder] = Plugin(
    settings=SentenceTransformersSettings,
    create=_sentence_transformers,
    description="Any sentence-transformers model (extra: sentence-transformers).",
)
