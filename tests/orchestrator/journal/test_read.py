"""Reading segments of all forms, by several processes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coe.journal import Follower, Reader, Record
from coe.journal._compact import compact
from coe.journal._record import encode
from coe.journal._segments import segments, stem_of

Make = Callable[..., Record]
START = 1_750_000_000


def segment(folder: Path, started: int, records: list[Record], pid: int = 1) -> Path:
    """A segment that was last written when its last record ended."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{stem_of(started, pid, 0)}.jsonl"
    path.write_bytes(b"".join(encode(each) + b"\n" for each in records))
    ended = max((each.time + each.total_us / 1e6 for each in records), default=started)
    os.utime(path, (ended + 0.05, ended + 0.05))
    return path


def test_names_sort_by_start() -> None:
    stems = [stem_of(at, 1, 0) for at in (1_750_000_000.001, 1_750_000_000.999, 1_750_000_001.0)]
    assert stems == sorted(stems)
    assert stems[0] == "20250615T150640001Z-1-0"


def test_no_folder_is_an_empty_journal(folder: Path) -> None:
    assert list(Reader(folder).records()) == []
    assert Reader(folder).latest(3) == []


def test_records_come_in_the_order_of_segments(folder: Path, record: Make) -> None:
    second = segment(folder, START + 10, [record(2), record(3)])
    segment(folder, START, [record(0), record(1)])
    assert [each.id for each in Reader(folder).records()] == ["dec_0", "dec_1", "dec_2", "dec_3"]
    compact(folder)
    segment(folder, START + 20, [record(4)])
    assert not second.exists()
    assert [each.id for each in Reader(folder).records()] == [f"dec_{n}" for n in range(5)]


def test_since_passes_over_old_segments_and_records(folder: Path, record: Make) -> None:
    old = segment(folder, START, [record(0), record(1)])
    segment(folder, START + 10, [record(10), record(20)])
    assert [each.id for each in Reader(folder).records(START + 15)] == ["dec_20"]
    old.chmod(0)
    # The old one is not even opened.
    assert [each.id for each in Reader(folder).records(START + 15)] == ["dec_20"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    writers=st.lists(st.lists(st.integers(0, 100), min_size=1, max_size=8), max_size=4),
    count=st.integers(0, 12),
    convert=st.booleans(),
)
def test_the_latest_are_those_that_ended_last(
    folder: Path, record: Make, writers: list[list[int]], count: int, convert: bool
) -> None:
    folder.mkdir(exist_ok=True)
    for each in folder.iterdir():
        each.unlink()
    ended: list[float] = []
    for pid, seconds in enumerate(writers):
        records = [record(second, total_us=1_000_000) for second in sorted(seconds)]
        segment(folder, START + min(seconds), records, pid)
        ended += [each.time for each in records]
    if convert:
        compact(folder)
    assert [each.time for each in Reader(folder).latest(count)] == sorted(ended)[max(len(ended) - count, 0) :]


def test_only_the_segments_that_can_hold_the_latest_are_read(folder: Path, record: Make) -> None:
    segment(folder, START + 10, [record(10), record(11)])
    segment(folder, START, [record(0)]).write_bytes(b"damaged\n")
    os.utime(segments(folder)[0].path, (START + 1, START + 1))
    reader = Reader(folder)
    assert [each.id for each in reader.latest(2)] == ["dec_10", "dec_11"]
    assert reader.unreadable == 0


def test_a_follower_sees_what_comes(folder: Path, record: Make) -> None:
    follower = Follower(folder)
    assert follower.read() == []
    path = segment(folder, START, [record(0)])
    assert follower.read() == [record(0)]
    assert follower.read() == []
    line = encode(record(1)) + b"\n"
    with path.open("ab") as file:
        file.write(line[:20])
        file.flush()
        assert follower.read() == []
        file.write(line[20:])
    assert follower.read() == [record(1)]
    follower.close()


def test_a_follower_starts_at_the_end_but_not_within_a_line(folder: Path, record: Make) -> None:
    path = segment(folder, START, [record(0)])
    line = encode(record(1)) + b"\n"
    with path.open("ab") as file:
        file.write(line[:20])
    follower = Follower(folder)
    with path.open("ab") as file:
        file.write(line[20:])
    assert follower.read() == [record(1)]
    follower.close()


def test_a_follower_reads_a_segment_to_its_end_though_it_was_converted(folder: Path, record: Make) -> None:
    path = segment(folder, START, [record(0)])
    follower = Follower(folder)
    with path.open("ab") as file:
        file.write(encode(record(1)) + b"\n")
    compact(folder)
    assert not path.exists()
    assert follower.read() == [record(1)]
    segment(folder, START + 1, [record(2)])
    assert follower.read() == [record(2)]
    follower.close()
