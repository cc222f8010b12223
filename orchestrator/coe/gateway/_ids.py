"""Ids of requests."""

from __future__ import annotations

import secrets
from itertools import count

_process = secrets.token_hex(8)
_numbers = count(secrets.randbits(24))


def new_decision_id() -> str:
    """A fresh decision id: 64 random bits of this process, and a number."""
    return f"dec_{_process}{next(_numbers):08x}"
