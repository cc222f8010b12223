"""Fails to import, as a plugin does whose dependency is missing."""

raise ImportError("No module named 'flux_capacitor'")
