"""Notice that a file has changed, by looking at it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

EVERY_S = 1.0

Stamp = tuple[int, int, int] | None
"""Inode, size and time of change in nanoseconds; None while there is no file."""


class FileChanges:
    """Says when a file has changed and then stood still: one that is being written is left alone.

    Args:
        path: the file; symbolic links are followed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = self._last = self._look()

    def __call__(self) -> bool:
        """Look again. True once for each change, at the first look that finds nothing new since the last."""
        now = self._look()
        still, self._last = now == self._last, now
        if now is None or not still or now == self._known:
            return False
        self._known = now
        return True

    def _look(self) -> Stamp:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns


async def follow(path: Path, changed: Callable[[], Awaitable[object]]) -> None:
    """Call `changed` after each change of the file, for ever."""
    changes = FileChanges(path)
    while True:
        await asyncio.sleep(EVERY_S)
        if changes():
            await changed()
