"""Whatever a crash leaves, whole records are read and nothing raises."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coe.journal import Follower, Reader, Record
from coe.journal._compact import compact
from coe.journal._record import encode

Make = Callable[..., Record]
NAME = "20260101T000000000Z-1-0"

fuzz = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def write(folder: Path, data: bytes, name: str = f"{NAME}.jsonl") -> Path:
    folder.mkdir(exist_ok=True)
    for each in folder.iterdir():
        each.unlink()
    path = folder / name
    path.write_bytes(data)
    return path


@fuzz
@given(data=st.data())
def test_cut_anywhere_all_whole_records_before_survive(
    folder: Path, record: Make, data: st.DataObject
) -> None:
    records = [record(number, prompt=text) for number, text in enumerate(data.draw(st.lists(st.text())))]
    lines = [encode(each) + b"\n" for each in records]
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    write(folder, whole[:cut])
    ends = [sum(map(len, lines[: number + 1])) for number in range(len(lines))]
    survivors = records[: len(list(takewhile(lambda end: end <= cut, ends)))]
    reader = Reader(folder)
    assert list(reader.records()) == survivors
    assert reader.unreadable == 0
    assert reader.latest(2) == survivors[-2:]
    compact(folder)
    assert list(Reader(folder).records()) == survivors


@fuzz
@given(garbage=st.binary(max_size=300), place=st.integers(0, 3))
def test_garbage_between_lines_costs_none_of_them(
    folder: Path, record: Make, garbage: bytes, place: int
) -> None:
    lines = [encode(record(number)) + b"\n" for number in range(3)]
    lines.insert(place, garbage + b"\n")
    write(folder, b"".join(lines))
    reader = Reader(folder)
    assert [each.id for each in reader.records()] == ["dec_0", "dec_1", "dec_2"]
    assert reader.unreadable == garbage.count(b"\n") + 1


@fuzz
@given(data=st.data(), suffix=st.sampled_from([".jsonl", ".jsonl.gz", ".parquet"]))
def test_no_bytes_of_any_form_make_a_reader_raise(
    folder: Path, record: Make, data: st.DataObject, suffix: str
) -> None:
    sound = write(folder, b"".join(encode(record(number)) + b"\n" for number in range(3)))
    if suffix == ".jsonl.gz":
        content = gzip.compress(sound.read_bytes(), mtime=0)
    elif suffix == ".parquet":
        pytest.importorskip("pyarrow", exc_type=ImportError)
        compact(folder)
        content = (folder / f"{NAME}.parquet").read_bytes()
    else:
        content = sound.read_bytes()
    place = data.draw(st.integers(0, len(content)))
    damage = data.draw(st.binary(max_size=20))
    length = data.draw(st.integers(0, 20))
    write(folder, content[:place] + damage + content[place + length :], NAME + suffix)
    reader = Reader(folder)
    assert len(list(reader.records())) <= 4
    reader.latest(5)
    follower = Follower(folder)
    follower.read()
    follower.close()


WRITE_UNTIL_KILLED = """
import sys, time
from pathlib import Path
from coe.config import JournalConfig
from coe.journal import Journal, Record
folder = Path(sys.argv[1])
journal = Journal(folder, JournalConfig(dir=folder, segment_mb=0.05, max_mb=100), time.monotonic, time.time)
number = 0
while True:
    for _ in range(50):
        journal.add(Record(id=str(number), time=time.time(), status=200, total_us=1))
        number += 1
    # What is no longer queued was written: say so, then go on.
    while journal.stats().queued_bytes > 100_000:
        time.sleep(0.001)
    print(number, journal.stats().queued_bytes == 0, flush=True)
    time.sleep(0.001)
"""


def test_a_killed_process_loses_only_what_was_not_yet_written(folder: Path) -> None:
    command = [sys.executable, "-c", WRITE_UNTIL_KILLED, str(folder)]
    written = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            number, all_written = line.split()
            if all_written == "True":
                written = int(number)
            if written >= 2000:
                break
        process.kill()
    reader = Reader(folder)
    ids = [int(each.id) for each in reader.records()]
    assert ids == list(range(len(ids)))
    assert len(ids) >= written
    assert reader.unreadable == 0
    # Its lock died with it: another process converts what it left.
    compact(folder)
    assert not list(folder.glob("*.jsonl"))
    assert [int(each.id) for each in Reader(folder).records()] == ids
