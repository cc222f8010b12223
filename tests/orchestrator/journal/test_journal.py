"""The queue, its thread, and what happens when the disk does not keep up."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coe.config import JournalConfig
from coe.errors import ConfigError
from coe.journal import Journal, Reader, Record, _journal, open_journal

Open = Callable[..., Journal]
Make = Callable[..., Record]


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def converted(folder: Path) -> int:
    return len([path for path in folder.iterdir() if path.name.endswith((".parquet", ".jsonl.gz"))])


def test_what_was_added_is_there_after_close(open_in: Open, folder: Path, record: Make) -> None:
    journal = open_in()
    added = [record(number) for number in range(5000)]
    for each in added:
        journal.add(each)
    journal.close()
    assert list(Reader(folder).records()) == added
    stats = journal.stats()
    assert (stats.records, stats.dropped, stats.errors, stats.queued_bytes) == (5000, 0, 0, 0)
    assert stats.written_bytes == sum(path.stat().st_size for path in folder.iterdir())


def test_records_reach_the_file_without_close(open_in: Open, folder: Path, record: Make) -> None:
    journal = open_in()
    for number in range(3):
        journal.add(record(number))
        eventually(lambda: journal.stats().queued_bytes == 0)
        assert [each.id for each in Reader(folder).records()] == [f"dec_{n}" for n in range(number + 1)]


def test_nothing_is_opened_before_the_first_record(open_in: Open, folder: Path) -> None:
    open_in().close()
    assert not folder.exists()


def test_several_journals_write_side_by_side(open_in: Open, folder: Path, record: Make) -> None:
    journals = [open_in() for _ in range(3)]
    for number in range(300):
        journals[number % 3].add(record(number))
    for each in journals:
        each.close()
    assert len(list(folder.iterdir())) == 3
    assert sorted(each.total_us for each in Reader(folder).records()) == list(range(1000, 1300))


def test_a_disk_that_fails_costs_no_record_once_it_works_again(
    open_in: Open,
    folder: Path,
    record: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(_journal, "RETRY_S", 0.01)
    folder.write_text("in the way")
    journal = open_in()
    with caplog.at_level(logging.ERROR, "coe.journal"):
        for number in range(10):
            journal.add(record(number))
        eventually(lambda: journal.stats().errors >= 3)
    assert len([each for each in caplog.records if "cannot write" in each.message]) == 1
    folder.unlink()
    eventually(lambda: journal.stats().queued_bytes == 0)
    assert len(list(Reader(folder).records())) == 10
    assert journal.stats().dropped == 0


def test_overload_drops_and_counts_and_never_waits(
    open_in: Open, folder: Path, record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_journal, "RETRY_S", 0.01)
    monkeypatch.setattr(_journal, "QUEUE_BYTES", 5000)
    folder.write_text("in the way")
    journal = open_in()
    for number in range(100):
        journal.add(record(number))
    stats = journal.stats()
    assert stats.records + stats.dropped == 100
    assert 1 <= stats.records < 20
    assert stats.queued_bytes <= 5000
    folder.unlink()
    eventually(lambda: journal.stats().queued_bytes == 0)
    journal.add(record(100))
    journal.close()
    assert len(list(Reader(folder).records())) == stats.records + 1


def test_what_cannot_be_written_at_the_end_is_counted(
    open_in: Open,
    folder: Path,
    record: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(_journal, "RETRY_S", 0.01)
    folder.write_text("in the way")
    journal = open_in()
    for number in range(4):
        journal.add(record(number))
    journal.close()
    assert journal.stats().dropped == 4
    assert "4 records unwritten" in caplog.text


def test_a_record_that_is_none_is_counted_and_harms_no_other(
    open_in: Open, folder: Path, record: Make
) -> None:
    journal = open_in()
    bad: Any = record(1, category=object())
    journal.add(record(0))
    journal.add(bad)
    journal.add(record(2))
    journal.close()
    assert [each.id for each in Reader(folder).records()] == ["dec_0", "dec_2"]
    assert (journal.stats().dropped, journal.stats().errors) == (1, 1)


@pytest.mark.parametrize("again", [False, True])
def test_a_system_without_threads_fails_no_request_and_loses_no_record(
    open_in: Open, folder: Path, record: Make, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    journal = open_in()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        journal.add(record(0))
        journal.add(record(1))
        assert journal.stats().errors == 2
        if again:
            patch.undo()
            journal.add(record(2))
        journal.close()
    assert len(list(Reader(folder).records())) == 2 + again


def test_after_close_records_are_dropped(open_in: Open, folder: Path, record: Make) -> None:
    journal = open_in()
    journal.add(record(0))
    journal.close()
    journal.add(record(1))
    assert (journal.stats().records, journal.stats().dropped) == (1, 1)
    journal.close()
    assert len(list(Reader(folder).records())) == 1


def test_closed_segments_are_converted_when_it_is_quiet(
    open_in: Open, folder: Path, record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_journal, "QUIET_S", 0.1)
    journal = open_in(segment_mb=0.01, max_mb=1)
    for number in range(60):
        journal.add(record(number))
    eventually(lambda: journal.stats().queued_bytes == 0)
    eventually(lambda: converted(folder) >= 1)
    journal.close()
    assert journal.stats().errors == 0
    assert {each.id for each in Reader(folder).records()} == {f"dec_{number}" for number in range(60)}


def test_what_an_earlier_process_left_is_converted(
    open_in: Open, folder: Path, record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_journal, "QUIET_S", 0.1)
    earlier = open_in()
    earlier.add(record(0))
    earlier.close()
    open_in().add(record(1))
    eventually(lambda: converted(folder) == 1)


def test_traffic_puts_conversion_off_until_there_is_much_to_convert(
    open_in: Open, folder: Path, record: Make
) -> None:
    journal = open_in(segment_mb=0.02, max_mb=0.4)
    number = 0
    # A quarter of 400 kB, in segments of 20.
    while journal.stats().written_bytes < 80_000:
        for _ in range(20):
            journal.add(record(number))
            number += 1
        eventually(lambda: journal.stats().queued_bytes == 0)
    assert converted(folder) == 0
    assert len(list(folder.iterdir())) >= 3
    for _ in range(60):
        journal.add(record(number))
        number += 1
    eventually(lambda: converted(folder) >= 3)
    journal.close()
    assert [each.total_us for each in Reader(folder).records()] == list(range(1000, 1000 + number))


def test_a_conversion_that_fails_is_counted_and_loses_nothing(
    open_in: Open, folder: Path, record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    monkeypatch.setattr(_journal, "QUIET_S", 0.05)
    journal = open_in(segment_mb=0.001, max_mb=1)
    for number in range(20):
        journal.add(record(number))
        eventually(lambda: journal.stats().queued_bytes == 0)
        # The failure is seen when the next one is started.
        time.sleep(0.1 if journal.stats().errors == 0 else 0)
    eventually(lambda: journal.stats().errors >= 1)
    journal.close()
    assert len(list(Reader(folder).records())) == 20


def test_no_folder_means_no_journal(tmp_path: Path) -> None:
    assert open_journal(JournalConfig(), tmp_path, time.monotonic, time.time) is None


def test_a_relative_folder_starts_at_the_configuration(tmp_path: Path) -> None:
    journal = open_journal(JournalConfig(dir=Path("j")), tmp_path, time.monotonic, time.time)
    assert journal is not None
    assert journal.folder == tmp_path / "j"
    assert list(journal.folder.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "j").write_text("in the way")
    with pytest.raises(ConfigError, match=r"cannot be kept in .*j: File exists"):
        open_journal(JournalConfig(dir=Path("j")), tmp_path, time.monotonic, time.time)


def test_a_segment_must_fit_twice() -> None:
    with pytest.raises(ValueError, match="`segment_mb` must be at most half of `max_mb`, which is 10"):
        JournalConfig(segment_mb=6, max_mb=10)
