"""Reads a journal, whatever state a crash has left it in."""

from __future__ import annotations

import gzip
import heapq
import itertools
import zlib
from collections.abc import Iterator
from pathlib import Path

from coe.journal._record import Record, decode
from coe.journal._segments import GZIPPED, PARQUET, SUFFIXES, Segment, segments


class Reader:
    """The records of a folder, in every form that segments have.

    A torn last line is passed over; lines and files that cannot be read are counted and passed over.

    Args:
        folder: the journal.

    Attributes:
        unreadable: lines and files that were passed over, a torn last line aside.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.unreadable = 0

    def records(self, since_s: float = 0, *, flat: bool = False) -> Iterator[Record]:
        """Records, segment by segment by their start.

        Args:
            since_s: only of requests that came since then, in seconds since 1970.
            flat: `categories`, `ranked`, `excluded` and `attempts` may be left empty, which makes Parquet
                almost four times as fast.

        Raises:
            PluginError: a segment is Parquet and pyarrow is not installed.
            OSError: a file cannot be opened.
        """
        for segment in segments(self._folder):
            if since_s <= 0 or _written_at(segment) >= since_s:
                yield from (record for record in self._read(segment, flat) if record.time >= since_s)

    def latest(self, count: int) -> list[Record]:
        """The last records by the time that they ended, oldest first. Raises like `records`."""
        serial = itertools.count()
        best: list[tuple[float, int, Record]] = []
        for segment in sorted(segments(self._folder), key=_written_at, reverse=True):
            # Nothing in this segment or in those that follow is newer than what there is already.
            if len(best) >= count and (count == 0 or _written_at(segment) < best[0][0]):
                break
            for record in self._read(segment):
                heapq.heappush(best, (record.time + record.total_us / 1e6, next(serial), record))
                if len(best) > count:
                    heapq.heappop(best)
        return [record for _, _, record in sorted(best)]

    def _read(self, segment: Segment, flat: bool = False) -> Iterator[Record]:
        # Twice, because it may be converted between the look for one form and for the next.
        for suffix in (*SUFFIXES, *SUFFIXES):
            try:
                yield from self._records_of(segment.as_form(suffix), flat)
            except FileNotFoundError:
                continue
            return

    def _records_of(self, path: Path, flat: bool) -> Iterator[Record]:
        if path.name.endswith(PARQUET):
            yield from self._parquet(path, flat)
        elif path.name.endswith(GZIPPED):
            yield from self._gzip(path)
        else:
            with path.open("rb") as source:
                # The last line may be torn, or still being written.
                yield from self._decoded(line for line in source if line.endswith(b"\n"))

    def _decoded(self, lines: Iterator[bytes]) -> Iterator[Record]:
        for line in lines:
            record = decode(line)
            if record is None:
                self.unreadable += 1
            else:
                yield record

    def _gzip(self, path: Path) -> Iterator[Record]:
        try:
            with gzip.open(path, "rb") as source:
                yield from self._decoded(source)
        except (EOFError, gzip.BadGzipFile, zlib.error):
            self.unreadable += 1

    def _parquet(self, path: Path, flat: bool) -> Iterator[Record]:
        from coe.journal._parquet import read_parquet  # needs pyarrow

        with path.open("rb"):
            pass  # pyarrow's error for a missing file is of another kind
        try:
            yield from read_parquet(path, flat=flat)
        except (ValueError, OSError):
            self.unreadable += 1


def _written_at(segment: Segment) -> float:
    """When its last record was written. Conversion keeps it."""
    try:
        return segment.path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
