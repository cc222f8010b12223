"""Libraries that only some users need, imported when they are used."""

from __future__ import annotations

import importlib
from typing import Any

from coe.errors import PluginError


def library(module: str, extra: str) -> Any:
    """Import a module of an extra. Raises `PluginError` that names the extra when it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise PluginError(
            f"`{module}` cannot be imported: {error}.",
            hint=f"Install it with `pip install 'coe-router[{extra}]'`.",
        ) from error
