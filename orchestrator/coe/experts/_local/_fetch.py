"""Fetch the default model while somebody watches, instead of with the first request."""

from __future__ import annotations

from pathlib import Path

from coe.config import Config, cache_dir
from coe.experts._local._settings import LocalSettings
from coe.experts._weights import DEFAULT, Progress, ensure, models_dir, present


def models_folder(settings: LocalSettings, base_dir: Path) -> Path:
    """Where the default model is kept under these settings."""
    return models_dir(base_dir / settings.cache_dir.expanduser() if settings.cache_dir else cache_dir())


def fetch_default_model(config: Config, progress: Progress) -> None:
    """Fetch the default model for the `local` experts of a configuration that use it.

    Does nothing, and says nothing, where it is there already; its hash is checked when the expert starts.

    Args:
        config: a checked configuration.
        progress: told in a few words what is going on.

    Raises:
        UserError: it cannot be fetched; `ArtifactError` when the index serves another file.
    """
    for expert in config.experts.values():
        if expert.kind != "local":
            continue
        settings = LocalSettings.model_validate(expert.settings)
        folder = models_folder(settings, config.origin.base_dir)
        if settings.model is None and not present(DEFAULT, folder):
            ensure(DEFAULT, folder, progress=progress)
