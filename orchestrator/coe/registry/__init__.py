"""Plugins by entry point: discovered from metadata, imported when named, kept out when broken."""

from coe.registry._registry import FIRST_PARTY, Found, Registry

__all__ = ["FIRST_PARTY", "Found", "Registry"]
