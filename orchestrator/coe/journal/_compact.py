"""Closed segments to Parquet or gzip. Atomic: a segment is there in one form or the other, whole."""

from __future__ import annotations

import gzip
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from coe.journal._record import Record, decode
from coe.journal._segments import GZIPPED, LIVE, PARQUET, UNFINISHED, Segment, claimed, files, unfinished

BATCH_RECORDS = 10_000
"""Records in memory at once, and in a Parquet row group."""


def compact(folder: Path) -> int:
    """Convert every closed segment. Safe beside writers, readers and others of its kind, and to kill.

    A segment becomes Parquet when pyarrow is installed and every line is a record, else .jsonl.gz: no whole
    line is lost. One without any whole line is removed.

    Args:
        folder: the journal.

    Returns:
        How many segments were converted or removed.

    Raises:
        OSError: the disk is full, or worse; the segment in hand stays as it was.
    """
    with_parquet = importlib.util.find_spec("pyarrow") is not None
    done = 0
    for segment in files(folder):
        if segment.suffix == LIVE:
            with claimed(segment) as descriptor:
                if descriptor is not None:
                    _convert(segment, descriptor, with_parquet)
                    done += 1
    _remove_unfinished(folder)
    return done


def _convert(segment: Segment, descriptor: int, with_parquet: bool) -> None:
    with os.fdopen(os.dup(descriptor), "rb") as source:
        whole = readable = 0
        for line in whole_lines(source):
            whole += 1
            readable += decode(line) is not None
        if whole:
            suffix = PARQUET if with_parquet and readable == whole else GZIPPED
            target = segment.as_form(suffix)
            partial = target.with_name(target.name + UNFINISHED)
            source.seek(0)
            (_write_parquet if suffix == PARQUET else _write_gzip)(partial, source)
            _finish(partial, target, os.fstat(descriptor))
    segment.path.unlink()


def whole_lines(source: BinaryIO) -> Iterator[bytes]:
    """Lines that end with a line break: the last one may be torn, or still being written."""
    for line in source:
        if line.endswith(b"\n"):
            yield line


def _write_gzip(path: Path, source: BinaryIO) -> None:
    with path.open("wb") as raw, gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed:
        for line in whole_lines(source):
            packed.write(line)


def _write_parquet(path: Path, source: BinaryIO) -> None:
    from coe.journal._parquet import write_parquet  # needs pyarrow

    write_parquet(path, _batches(source))


def _batches(source: BinaryIO) -> Iterator[list[Record]]:
    batch: list[Record] = []
    for line in whole_lines(source):
        if (record := decode(line)) is not None:
            batch.append(record)
        if len(batch) == BATCH_RECORDS:
            yield batch
            batch = []
    if batch:
        yield batch


def _finish(partial: Path, target: Path, source: os.stat_result) -> None:
    """Give the file its name once it is on the disk; it keeps the time of its last record."""
    with partial.open("rb") as written:
        os.fsync(written.fileno())
    os.utime(partial, ns=(source.st_atime_ns, source.st_mtime_ns))
    partial.rename(target)


def _remove_unfinished(folder: Path) -> None:
    """Remove what a conversion that was killed has left: its source is gone, or nobody has claimed it."""
    stems = {each.stem for each in files(folder) if each.suffix == LIVE}
    for path, stem in unfinished(folder):
        if stem not in stems:
            path.unlink(missing_ok=True)
