"""Where the server's log goes."""

from __future__ import annotations

import logging


def log_to_stderr(*, verbose: bool) -> None:
    """Warnings and errors to stderr, and more with `verbose`. What a reload does is always worth a line."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    logging.getLogger("coe.reload").setLevel(logging.INFO)
