"""What the environment says: COE_KERNELS and CXX. Read here only."""

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


def compiler_name() -> str | None:
    """The C++ compiler that CXX names, if any."""
    return os.environ.get("CXX") or None
