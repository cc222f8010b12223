"""Appends to segments: rotation, fsync, and what to do when the disk says no. Driven by one thread."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from coe.config import JournalConfig
from coe.journal._prune import prune
from coe.journal._segments import create, is_linked

SYNC_S = 1.0
"""How long a record may wait for fsync under the policy `second`."""


@dataclass(slots=True)
class _Open:
    """The segment that is being written: whole lines up to `size`."""

    descriptor: int
    rotate_at: float
    size: int = 0
    sync_at: float | None = None


class SegmentWriter:
    """Writes whole lines into one segment after another.

    Args:
        folder: the journal; made when it is missing.
        config: sizes, ages and the fsync policy.
        clock: monotonic seconds.
        wall_clock: seconds since 1970, for names.
    """

    def __init__(
        self,
        folder: Path,
        config: JournalConfig,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._folder = folder
        self._segment_bytes = int(config.segment_mb * 1e6)
        self._max_bytes = int(config.max_mb * 1e6)
        self._age_s = config.segment_age_s
        self._fsync = config.fsync
        self._clock = clock
        self._wall_clock = wall_clock
        self._open: _Open | None = None
        self.written_bytes = 0
        self.closed_segments = 0

    def write(self, lines: bytes) -> None:
        """Append whole lines. When it raises, none of them is in the journal.

        Raises:
            OSError: the disk is full, or worse; try again later.
        """
        segment = self._current()
        try:
            _write_all(segment.descriptor, lines)
        except OSError:
            try:
                # A torn line would take the next one with it.
                os.ftruncate(segment.descriptor, segment.size)
            except OSError:
                self._abandon(segment)
            raise
        segment.size += len(lines)
        self.written_bytes += len(lines)
        if self._fsync == "batch":
            segment.sync_at = self._clock()
        elif self._fsync == "second" and segment.sync_at is None:
            segment.sync_at = self._clock() + SYNC_S

    def tick(self) -> None:
        """Do what is due: fsync, and rotation by size and age.

        Raises:
            OSError: fsync failed; the segment is left, and the next write begins another one.
        """
        if (segment := self._open) is None:
            return
        now = self._clock()
        if segment.size >= self._segment_bytes or now >= segment.rotate_at:
            self.close()
        elif segment.sync_at is not None and now >= segment.sync_at:
            self._sync(segment)

    def due_at(self) -> float:
        """When `tick` has something to do, in seconds of the clock; infinity when nothing is open."""
        if self._open is None:
            return float("inf")
        return min(self._open.rotate_at, self._open.sync_at or float("inf"))

    def close(self) -> None:
        """End the segment. Raises `OSError` when its fsync fails; it is closed all the same."""
        if (segment := self._open) is None:
            return
        if segment.sync_at is not None:
            self._sync(segment)
        self._abandon(segment)

    def _current(self) -> _Open:
        # Somebody may have removed the file: what follows would be written into nowhere.
        if self._open is not None and not is_linked(self._open.descriptor):
            self._abandon(self._open)
        if self._open is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            prune(self._folder, self._max_bytes - self._segment_bytes, self._segment_bytes)
            descriptor, _ = create(self._folder, self._wall_clock())
            self._open = _Open(descriptor, self._clock() + self._age_s)
        return self._open

    def _sync(self, segment: _Open) -> None:
        segment.sync_at = None
        try:
            os.fsync(segment.descriptor)
        except OSError:
            # What the kernel could not write it forgets: later calls would report success.
            self._abandon(segment)
            raise

    def _abandon(self, segment: _Open) -> None:
        self._open = None
        self.closed_segments += 1
        with suppress(OSError):
            os.close(segment.descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
