"""Folders of the user that coe keeps things in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import platformdirs

CACHE_VARIABLE = "COE_CACHE_DIR"
"""Environment variable that moves the cache folder."""


def cache_dir(environ: Mapping[str, str] | None = None) -> Path:
    """Where fetched files are kept: `COE_CACHE_DIR` when set, else the platform's cache folder for coe."""
    override = (os.environ if environ is None else environ).get(CACHE_VARIABLE)
    if override:
        return Path(override).expanduser().absolute()
    return platformdirs.user_cache_path("coe", appauthor=False)
