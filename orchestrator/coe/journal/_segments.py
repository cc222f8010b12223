"""Segments: the files of a journal, their names, and whether somebody still writes one.

A writer holds flock on the segment that it writes. The kernel lets go when the process ends, however it ends,
so what is not locked is closed: in containers too, where every process has pid 1. Processes never wait for
each other: whoever finds a lock leaves the segment alone.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

LIVE = ".jsonl"
GZIPPED = ".jsonl.gz"
PARQUET = ".parquet"
SUFFIXES = (PARQUET, GZIPPED, LIVE)
"""Finished forms first: when a stem has both, the conversion is complete and its source not yet removed."""
UNFINISHED = ".tmp"
_NAME = re.compile(r"(?P<stem>\d{8}T\d{9}Z-\d+-\d+)(?P<suffix>\.jsonl|\.jsonl\.gz|\.parquet)")


@dataclass(frozen=True, slots=True)
class Segment:
    """One file of the journal, in one of its forms."""

    path: Path
    stem: str
    suffix: str

    def as_form(self, suffix: str) -> Path:
        """Where the same segment lies in another form."""
        return self.path.with_name(self.stem + suffix)


def stem_of(started_s: float, pid: int, number: int) -> str:
    """The name of a segment without its suffix. Names sort by start."""
    at = datetime.fromtimestamp(started_s, UTC)
    return f"{at:%Y%m%dT%H%M%S}{at.microsecond // 1000:03d}Z-{pid}-{number}"


def files(folder: Path) -> list[Segment]:
    """Every segment file of the folder by name; other files are none of ours. Empty without a folder."""
    matches = ((name, _NAME.fullmatch(name)) for name in _names(folder))
    return [Segment(folder / name, match["stem"], match["suffix"]) for name, match in matches if match]


def unfinished(folder: Path) -> list[tuple[Path, str]]:
    """What conversions are writing or have left, with the stem of the segment."""
    matches = ((name, _NAME.fullmatch(name.removesuffix(UNFINISHED))) for name in _names(folder))
    return [(folder / name, match["stem"]) for name, match in matches if match and name.endswith(UNFINISHED)]


def segments(folder: Path) -> list[Segment]:
    """Every segment once, in its most finished form, by start."""
    best: dict[str, Segment] = {}
    for each in files(folder):
        known = best.get(each.stem)
        if known is None or SUFFIXES.index(each.suffix) < SUFFIXES.index(known.suffix):
            best[each.stem] = each
    return list(best.values())


def create(folder: Path, started_s: float) -> tuple[int, Segment]:
    """A new, empty, locked segment, and its descriptor for appending. Raises `OSError`."""
    number = 0
    while True:
        stem = stem_of(started_s, os.getpid(), number)
        segment = Segment(folder / (stem + LIVE), stem, LIVE)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            descriptor = os.open(segment.path, flags, 0o600)
        except FileExistsError:
            number += 1
            continue
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Between the two calls somebody who tidies up may have taken it for an empty leftover.
        if is_linked(descriptor):
            return descriptor, segment
        os.close(descriptor)
        number += 1


def is_linked(descriptor: int) -> bool:
    """Whether the file still has a name."""
    return os.fstat(descriptor).st_nlink > 0


@contextmanager
def claimed(segment: Segment) -> Generator[int | None]:
    """A descriptor for reading a closed segment, which nobody else may convert or remove meanwhile.

    None when it is being written or claimed, or gone.
    """
    try:
        descriptor = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        yield descriptor if _lock(descriptor) and is_linked(descriptor) else None
    finally:
        os.close(descriptor)


def is_live(segment: Segment) -> bool:
    """Whether it is being written, or converted."""
    with claimed(segment) as descriptor:
        return descriptor is None


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True
