"""Writing segments: rotation, bounds, and a disk that says no."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from coe.config import JournalConfig
from coe.journal._segments import claimed, files
from coe.journal._writer import SegmentWriter
from coe.testing import Clock

LINE = b"x" * 99 + b"\n"


def writer(folder: Path, clock: Clock, **settings: Any) -> SegmentWriter:
    # The wall clock moves with the other one, so that names differ.
    return SegmentWriter(folder, JournalConfig(dir=folder, **settings), clock, lambda: clock() + 1.75e9)


@contextmanager
def file_size_limit(limit_bytes: int) -> Iterator[None]:
    """Within it the kernel writes what fits and then refuses, as it does when the disk is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def contents(folder: Path) -> list[bytes]:
    return [each.path.read_bytes() for each in files(folder)]


def test_a_segment_is_closed_at_its_size(folder: Path) -> None:
    clock = Clock()
    writing = writer(folder, clock, segment_mb=0.001, max_mb=1)
    for _ in range(25):
        writing.write(LINE)
        writing.tick()
        clock.advance(1)
    writing.close()
    assert [len(each) for each in contents(folder)] == [1000, 1000, 500]
    assert (writing.written_bytes, writing.closed_segments) == (2500, 3)


def test_a_segment_is_closed_at_its_age_though_nothing_more_comes(folder: Path) -> None:
    clock = Clock()
    writing = writer(folder, clock, segment_age_s=60, fsync="never")
    assert writing.due_at() == float("inf")
    writing.write(LINE)
    assert writing.due_at() == clock() + 60
    clock.advance(59)
    writing.tick()
    assert writing.closed_segments == 0
    clock.advance(1)
    writing.tick()
    assert (writing.closed_segments, writing.due_at()) == (1, float("inf"))
    (segment,) = files(folder)
    with claimed(segment) as descriptor:
        assert descriptor is not None


def test_nobody_can_claim_a_segment_that_is_written(folder: Path) -> None:
    writing = writer(folder, Clock())
    writing.write(LINE)
    (segment,) = files(folder)
    with claimed(segment) as descriptor:
        assert descriptor is None
    writing.close()
    with claimed(segment) as descriptor:
        assert descriptor is not None


def test_segments_are_for_their_owner_only(folder: Path) -> None:
    writing = writer(folder, Clock())
    writing.write(LINE)
    assert [each.path.stat().st_mode & 0o777 for each in files(folder)] == [0o600]
    assert folder.stat().st_mode & 0o777 == 0o700
    writing.close()


def test_writers_that_start_at_the_same_time_do_not_share_a_segment(folder: Path) -> None:
    clock = Clock()
    both = [writer(folder, clock) for _ in range(2)]
    for number, each in enumerate(both):
        each.write(b"%d\n" % number)
    assert contents(folder) == [b"0\n", b"1\n"]
    for each in both:
        each.close()


def test_a_full_disk_leaves_whole_lines_and_the_segment_goes_on(folder: Path) -> None:
    writing = writer(folder, Clock())
    writing.write(LINE * 3)
    with file_size_limit(350), pytest.raises(OSError, match="File too large"):
        writing.write(LINE * 2)
    assert contents(folder) == [LINE * 3]
    writing.write(LINE * 2)
    assert contents(folder) == [LINE * 5]
    assert writing.written_bytes == 500
    writing.close()


def test_a_segment_that_was_removed_is_not_written_any_more(folder: Path) -> None:
    writing = writer(folder, Clock())
    writing.write(b"1\n")
    for each in files(folder):
        each.path.unlink()
    folder.rmdir()
    writing.write(b"2\n")
    assert contents(folder) == [b"2\n"]
    writing.close()


def test_a_folder_that_cannot_be_made_is_an_error_until_it_can(folder: Path) -> None:
    folder.write_text("in the way")
    writing = writer(folder, Clock())
    for _ in range(2):
        with pytest.raises(OSError, match="exists"):
            writing.write(LINE)
    folder.unlink()
    writing.write(LINE)
    assert contents(folder) == [LINE]
    writing.close()


@pytest.mark.parametrize(
    ("policy", "expected"), [("batch", [1, 2, 3, 4]), ("second", [0, 0, 1, 2]), ("never", [0, 0, 0, 0])]
)
def test_fsync_follows_its_policy(
    folder: Path, monkeypatch: pytest.MonkeyPatch, policy: str, expected: list[int]
) -> None:
    calls: list[int] = []
    monkeypatch.setattr(os, "fsync", calls.append)
    clock = Clock()
    writing = writer(folder, clock, fsync=policy)
    seen: list[int] = []
    for _ in range(3):
        writing.write(LINE)
        writing.tick()
        seen.append(len(calls))
        clock.advance(0.5)
    writing.write(LINE)
    writing.close()
    assert [*seen, len(calls)] == expected


def test_after_a_failed_fsync_a_new_segment_begins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    clock = Clock()
    writing = writer(folder, clock, fsync="batch")
    writing.write(LINE)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="Input/output"):
            writing.tick()
    clock.advance(1)
    writing.write(LINE)
    writing.close()
    assert contents(folder) == [LINE, LINE]


def test_the_folder_keeps_its_bound_and_the_newest(folder: Path) -> None:
    clock = Clock()
    writing = writer(folder, clock, segment_mb=0.001, max_mb=0.005)
    for number in range(200):
        writing.write(b"%099d\n" % number)
        writing.tick()
        clock.advance(1)
        assert sum(map(len, contents(folder))) <= 5000
    writing.close()
    kept = b"".join(contents(folder)).split()
    assert [int(line) for line in kept] == list(range(200 - len(kept), 200))
    assert len(kept) >= 40


def test_segments_of_others_count_but_live_ones_stay(folder: Path) -> None:
    clock = Clock()
    other = writer(folder, clock)
    other.write(LINE * 30)
    (folder / "notes.txt").write_text("x" * 10_000)
    (folder / "20200101T000000000Z-1-0.parquet").write_bytes(b"x" * 900)
    (folder / "20200101T000000001Z-1-0.jsonl.gz").write_bytes(b"x" * 900)
    clock.advance(1)
    writing = writer(folder, clock, segment_mb=0.001, max_mb=0.005)
    writing.write(LINE)
    # 3,000 of a live segment and 1,000 for the new one leave room for one of the two old ones.
    assert [each.stem[:8] for each in files(folder)].count("20200101") == 1
    assert len(contents(folder)[-2]) == 3000
    assert (folder / "notes.txt").exists()
    other.close()
    writing.close()
