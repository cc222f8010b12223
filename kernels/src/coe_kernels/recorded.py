"""How often a layer's experts were used, as `coe kernels status --json` wrote it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from coe.errors import DataError


def read_histograms(path: Path, experts: int) -> dict[str, NDArray[np.int64]]:
    """Each layer's uses, int64[experts], by its name.

    Args:
        path: what `coe kernels status --url URL --json` printed.
        experts: how many a layer has.

    Raises:
        DataError: the file is something else, or of a model with another number of experts.
    """
    try:
        said: Any = json.loads(path.read_text())
        layers = cast("list[dict[str, Any]]", said["layers"])
        found = {str(layer["layer"]): np.asarray(layer["histogram"], np.int64) for layer in layers}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is not what `coe kernels status --url URL --json` prints: {error}"
        ) from error
    for name, uses in found.items():
        if uses.shape != (experts,) or uses.min() < 0 or uses.sum() == 0:
            raise DataError(
                f"{path}: layer {name} has uses {list(uses.shape)} that sum to {uses.sum()}; some uses of "
                f"{experts} experts were expected"
            )
    if not found:
        raise DataError(f"{path} has no layers: let the server answer something first")
    return found
