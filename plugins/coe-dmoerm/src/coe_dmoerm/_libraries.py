"""SciPy and scikit-learn, which have no types: imported where they are needed, because they load slowly."""

from __future__ import annotations

import importlib
from typing import Any


def library(module: str) -> Any:
    """The module, imported."""
    return importlib.import_module(module)
