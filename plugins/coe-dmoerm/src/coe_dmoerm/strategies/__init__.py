"""Composite experts that ask several experts, or one several times, and answer with one of the answers."""
