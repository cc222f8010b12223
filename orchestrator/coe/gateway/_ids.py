"""Ids of requests."""

from __future__ import annotations

import secrets


def new_decision_id() -> str:
    """A fresh decision id."""
    return "dec_" + secrets.token_hex(10)
