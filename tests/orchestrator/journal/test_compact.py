"""Conversion of closed segments."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from coe.config import JournalConfig
from coe.errors import PluginError
from coe.journal import Journal, Reader, Record, _parquet, summarise
from coe.journal._compact import compact
from coe.journal._record import encode
from coe.journal._segments import create

Make = Callable[..., Record]
STEM = "20260101T000000000Z-1-0"
needs_pyarrow = pytest.mark.skipif(
    importlib.util.find_spec("pyarrow") is None, reason="pyarrow is the extra `parquet`"
)


@pytest.fixture
def without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the extra were not installed."""
    find = importlib.util.find_spec

    def hide(name: str) -> object:
        return None if name == "pyarrow" else find(name)

    monkeypatch.setattr(importlib.util, "find_spec", hide)


def fill(folder: Path, records: list[Record], tail: bytes = b"", stem: str = STEM) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{stem}.jsonl"
    path.write_bytes(b"".join(encode(each) + b"\n" for each in records) + tail)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@needs_pyarrow
def test_a_segment_becomes_parquet_with_the_same_records(folder: Path, record: Make) -> None:
    bare = Record(id="dec_9", time=3.5, status=400, error="invalid_request", total_us=3)
    records = [*(record(number) for number in range(30)), bare, record(8, prompt="né\n", categories=())]
    fill(folder, records, tail=b'{"id": "torn')
    assert compact(folder) == 1
    assert names(folder) == [f"{STEM}.parquet"]
    reader = Reader(folder)
    assert list(reader.records()) == records
    assert reader.latest(3) == sorted(records, key=lambda each: each.time + each.total_us / 1e6)[-3:]
    assert reader.unreadable == 0
    assert (folder / f"{STEM}.parquet").stat().st_mtime == 1_700_000_000


@needs_pyarrow
def test_parquet_has_a_column_for_every_field(folder: Path, record: Make) -> None:
    import pyarrow.parquet as parquet  # pyright: ignore[reportMissingTypeStubs]

    fill(folder, [record()])
    compact(folder)
    assert tuple(parquet.read_schema(folder / f"{STEM}.parquet").names) == Record.__struct_fields__


@needs_pyarrow
def test_flat_records_lack_their_lists_and_nothing_else(folder: Path, record: Make) -> None:
    fill(folder, [record()])
    compact(folder)
    (flat,) = Reader(folder).records(flat=True)
    assert flat == record(categories=(), ranked=(), excluded=(), attempts=(), candidates=())
    assert summarise([flat]) == summarise([record()])


@needs_pyarrow
def test_many_row_groups(folder: Path, record: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coe.journal._compact.CHUNK_BYTES", 3000)
    monkeypatch.setattr(_parquet, "_ROWS", 5)
    records = [record(number) for number in range(50)]
    fill(folder, records)
    compact(folder)
    assert list(Reader(folder).records()) == records


def test_without_pyarrow_it_becomes_gzip(folder: Path, record: Make, without_pyarrow: None) -> None:
    records = [record(number) for number in range(30)]
    fill(folder, records, tail=b'{"id": "torn')
    assert compact(folder) == 1
    assert names(folder) == [f"{STEM}.jsonl.gz"]
    assert list(Reader(folder).records()) == records
    assert (folder / f"{STEM}.jsonl.gz").stat().st_mtime == 1_700_000_000


@pytest.mark.parametrize(
    "line",
    [
        b'{"schema":9,"who":"a later version"}',
        b'{"id":"x","time":1.0,"status":200}',
        b'{"id":"x","time":"soon","status":200,"total_us":1}',
        b'{"id":"x","time":1.0,"status":200,"total_us":1,"attempts":[{"expert":1}]}',
        b"not a record",
        b"\xff\xfe",
    ],
)
def test_lines_that_this_version_cannot_read_are_kept_as_they_are(
    folder: Path, record: Make, line: bytes
) -> None:
    fill(folder, [record()], tail=line + b"\n")
    compact(folder)
    assert names(folder) == [f"{STEM}.jsonl.gz"]
    reader = Reader(folder)
    assert list(reader.records()) == [record()]
    assert reader.unreadable == 1


@pytest.mark.parametrize("content", [b"", b'{"id": "torn'])
def test_a_segment_without_a_record_is_removed(folder: Path, content: bytes) -> None:
    fill(folder, [], tail=content)
    compact(folder)
    assert names(folder) == []


def test_a_segment_that_is_written_is_left_alone(folder: Path, record: Make) -> None:
    folder.mkdir()
    descriptor, segment = create(folder, 1.75e9)
    os.write(descriptor, encode(record()) + b"\n")
    assert compact(folder) == 0
    assert names(folder) == [segment.path.name]
    os.close(descriptor)
    assert compact(folder) == 1


def test_what_a_killed_conversion_left_is_made_anew(folder: Path, record: Make) -> None:
    fill(folder, [record()])
    for suffix in (".parquet.tmp", ".jsonl.gz.tmp"):
        (folder / (STEM + suffix)).write_bytes(b"half")
        (folder / ("20250101T000000000Z-1-0" + suffix)).write_bytes(b"half")
    (folder / "mine.tmp").write_bytes(b"mine")
    assert list(Reader(folder).records()) == [record()]
    compact(folder)
    assert not [name for name in names(folder) if name.endswith(".tmp") and name != "mine.tmp"]
    assert "mine.tmp" in names(folder)
    assert list(Reader(folder).records()) == [record()]


def test_killed_before_the_source_was_removed_nothing_is_twice(folder: Path, record: Make) -> None:
    source = fill(folder, [record()])
    content = source.read_bytes()
    compact(folder)
    source.write_bytes(content)
    assert len(names(folder)) == 2
    assert list(Reader(folder).records()) == [record()]
    compact(folder)
    assert len(names(folder)) == 1


@needs_pyarrow
def test_reading_parquet_without_pyarrow_says_what_to_install(
    folder: Path, record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(folder, [record()])
    compact(folder)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(PluginError) as caught:
        list(Reader(folder).records())
    assert caught.value.hint == "pip install 'coe-router[parquet]'"


def test_other_files_are_left_alone(folder: Path, record: Make) -> None:
    fill(folder, [record()])
    for name in ("notes.jsonl", "x.parquet", f"{STEM}.jsonl.bak"):
        (folder / name).write_text("mine")
    compact(folder)
    assert {"notes.jsonl", "x.parquet", f"{STEM}.jsonl.bak"} <= set(names(folder))
    assert list(Reader(folder).records()) == [record()]


def test_nothing_is_lost_while_segments_are_written_converted_and_read(folder: Path, record: Make) -> None:
    settings = JournalConfig(dir=folder, segment_mb=0.01, max_mb=100)
    journal = Journal(folder, settings, time.monotonic, time.time)
    for number in range(400):
        journal.add(record(number))
        if number % 40 == 0:
            compact(folder)
            known = [each.total_us for each in Reader(folder).records()]
            assert known == list(range(1000, 1000 + len(known)))
    journal.close()
    compact(folder)
    assert [each.total_us for each in Reader(folder).records()] == list(range(1000, 1400))
