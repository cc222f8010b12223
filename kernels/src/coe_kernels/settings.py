"""What the environment says: COE_KERNELS, COE_KERNELS_WEIGHTS and CXX. Read here only."""

from __future__ import annotations

import os
from enum import Enum

from coe.errors import ConfigError


class Mode(Enum):
    """COE_KERNELS: `off` leaves vLLM alone, `auto` takes layers that gain, `force` fails where it cannot."""

    OFF = "off"
    AUTO = "auto"
    FORCE = "force"


def mode() -> Mode:
    """What COE_KERNELS says; `auto` if unset.

    Raises:
        ConfigError: it says something else.
    """
    said = os.environ.get("COE_KERNELS", "auto").lower()
    try:
        return Mode(said)
    except ValueError:
        raise ConfigError(f"COE_KERNELS is {said!r}, expected off, auto or force") from None


class Weights(Enum):
    """COE_KERNELS_WEIGHTS: `same` keeps the model's type, `int8` rounds experts to 8 bits at loading."""

    SAME = "same"
    INT8 = "int8"


def weights() -> Weights:
    """What COE_KERNELS_WEIGHTS says; `same` if unset.

    Raises:
        ConfigError: it says something else.
    """
    said = os.environ.get("COE_KERNELS_WEIGHTS", "same").lower()
    try:
        return Weights(said)
    except ValueError:
        raise ConfigError(f"COE_KERNELS_WEIGHTS is {said!r}, expected same or int8") from None


def compiler_name() -> str | None:
    """The C++ compiler that CXX names, if any."""
    return os.environ.get("CXX") or None
