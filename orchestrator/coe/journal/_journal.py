"""Where requests leave their records: a bounded queue, and a thread that writes it."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from coe.config import JournalConfig
from coe.contracts import Decision
from coe.errors import ConfigError
from coe.journal._child import Compactor
from coe.journal._record import Line, Record, encode, encode_line
from coe.journal._segments import create
from coe.journal._writer import SegmentWriter

_log = logging.getLogger("coe.journal")

GATHER_S = 0.05
"""How long a record waits for others before they are written together."""
RETRY_S = 1.0
"""Pause after the disk has said no."""
LAST_TRIES = 3
"""How often `close` tries to write what is left."""
QUEUE_BYTES = 16_000_000
"""Records that wait for the disk; beyond it they are dropped and counted."""
BATCH_BYTES = 1_000_000
"""Most that is written at once; a segment is longer than its limit by less than that."""
QUIET_S = 30.0
"""Closed segments are converted after so long without much traffic: requests need the CPU more."""
BUSY_LINES = 10
"""Lines in one write that count as traffic: about 200 requests per second."""
BACKLOG_PART = 4
"""When closed segments take this part of `max_mb`, they are converted in any case."""


@dataclass(frozen=True, slots=True)
class JournalStats:
    """Counts since the start.

    Attributes:
        records: accepted.
        dropped: lost, because the disk did not keep up or could not be written.
        written_bytes: in segments.
        queued_bytes: waiting now.
        errors: failures to write, to convert or to encode.
    """

    records: int = 0
    dropped: int = 0
    written_bytes: int = 0
    queued_bytes: int = 0
    errors: int = 0


def open_journal(
    config: JournalConfig, base_dir: Path, clock: Callable[[], float], wall_clock: Callable[[], float]
) -> Journal | None:
    """The journal of a configuration; None when it names no folder.

    Args:
        config: the block `journal`.
        base_dir: where a relative folder starts.
        clock: monotonic seconds.
        wall_clock: seconds since 1970.

    Raises:
        ConfigError: the folder cannot be written, or its file system has no locks.
    """
    if config.dir is None:
        return None
    folder = base_dir / Path(config.dir).expanduser()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, probe = create(folder, wall_clock())
        probe.path.unlink()
        os.close(descriptor)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(
            f"The journal cannot be kept in {folder}: {reason}.", hint="See `journal.dir`."
        ) from error
    return Journal(folder, config, clock, wall_clock)


class Journal:
    """Takes records and writes them within 50 ms, in a thread of its own.

    `add` is for one thread, the event loop's. Nothing is opened or started before the first record, so a
    process may fork before that.

    Args:
        folder: where the segments are.
        config: bounds and policies.
        clock: monotonic seconds.
        wall_clock: seconds since 1970.
    """

    def __init__(
        self,
        folder: Path,
        config: JournalConfig,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self.folder = folder
        self.prompts = config.prompts
        self.wall_clock = wall_clock
        self._clock = clock
        self._writer = SegmentWriter(folder, config, clock, wall_clock)
        self._compactor = Compactor(folder)
        self._backlog_bytes = int(config.max_mb * 1e6) // BACKLOG_PART
        self._queue: list[bytes] = []
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._notified = False
        # Each of these is written by one thread only, so none needs a lock.
        self._records = self._dropped = self._add_errors = self._added_bytes = 0
        self._taken_bytes = self._errors = self._lost = 0
        self._failing = False
        self._sweep_at = float("inf")
        self._swept_segments = 0
        self._swept_bytes = 0

    def add(self, record: Record | Line, decision: Decision | None = None) -> None:
        """Take a record. Never waits and never raises: what cannot be kept is counted.

        Args:
            record: the whole, or what its decision does not say.
            decision: for a `Line`; None where none was made.
        """
        try:
            line = (encode(record) if isinstance(record, Record) else encode_line(record, decision)) + b"\n"
        # A field of a plugin's making may be anything; the request that it belongs to has been served.
        except Exception:  # noqa: BLE001
            self._add_errors += 1
            self._dropped += 1
            return
        size = len(line)
        if self._added_bytes - self._taken_bytes + size > QUEUE_BYTES or self._stop.is_set():
            self._dropped += 1
            return
        self._added_bytes += size
        self._records += 1
        self._queue.append(line)
        if not self._notified:
            self._notified = True
            if self._thread is not None or self._start():
                self._wake.set()

    def stats(self) -> JournalStats:
        """A snapshot."""
        return JournalStats(
            records=self._records,
            dropped=self._dropped + self._lost,
            written_bytes=self._writer.written_bytes,
            queued_bytes=self._added_bytes - self._taken_bytes,
            errors=self._errors + self._add_errors + self._compactor.failures,
        )

    def close(self) -> None:
        """Write all that was added, and end. Blocks, a few seconds at most when the disk says no.

        A process that ends without it calls it at its exit.
        """
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
            atexit.unregister(self.close)
        elif self._queue:
            self._run()
        self._compactor.stop()

    # --- the thread ---

    def _start(self) -> bool:
        """Whether the thread could be started; if not, the next record tries again."""
        thread = threading.Thread(target=self._run, name="coe-journal", daemon=True)
        # For what earlier processes have left.
        self._sweep_at = self._clock() + QUIET_S
        try:
            thread.start()
        except RuntimeError:  # the system has no thread left
            self._add_errors += 1
            self._notified = False
            return False
        self._thread = thread
        atexit.register(self.close)
        return True

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(self._patience_s())
            self._stop.wait(RETRY_S if self._failing else GATHER_S)
            # In this order: what is added from here on wakes the thread again.
            self._wake.clear()
            self._notified = False
            busy = len(self._queue) >= BUSY_LINES
            self._write_queue()
            self._sweep(busy)
        for attempt in range(LAST_TRIES):
            if self._write_queue() or attempt == LAST_TRIES - 1:
                break
            self._wake.clear()
            self._wake.wait(RETRY_S)
        self._lost = len(self._queue)
        self._end()

    def _patience_s(self) -> float | None:
        """How long to wait for a record before there is something else to do; None for ever."""
        if self._failing:
            return 0.0
        due_at = min(self._writer.due_at(), self._sweep_at)
        return None if due_at == float("inf") else max(due_at - self._clock(), 0.0)

    def _write_queue(self) -> bool:
        """Write what waits; False when the disk says no, and then it waits on."""
        try:
            while self._queue:
                count, lines = self._batch()
                self._writer.write(lines)
                del self._queue[:count]
                self._taken_bytes += len(lines)
                self._writer.tick()
            self._writer.tick()
        except OSError as error:
            self._note(error)
            return False
        self._failing = False
        return True

    def _batch(self) -> tuple[int, bytes]:
        lines: list[bytes] = []
        size = 0
        for line in self._queue[:]:
            lines.append(line)
            size += len(line)
            if size >= BATCH_BYTES:
                break
        return len(lines), b"".join(lines)

    def _sweep(self, busy: bool) -> None:
        """Have closed segments converted, when it is quiet or when there are many."""
        now, closed = self._clock(), self._writer.closed_segments
        waiting = closed != self._swept_segments or self._sweep_at != float("inf")
        if waiting and (busy or self._sweep_at == float("inf")):
            self._sweep_at = now + QUIET_S
        backlog = closed != self._swept_segments and (
            self._writer.written_bytes - self._swept_bytes >= self._backlog_bytes
        )
        if now >= self._sweep_at or backlog:
            self._sweep_at = float("inf")
            self._swept_segments, self._swept_bytes = closed, self._writer.written_bytes
            self._compactor.run()

    def _end(self) -> None:
        try:
            self._writer.close()
        except OSError as error:
            self._note(error)
        if self._lost:
            _log.error("journal closed with %d records unwritten in %s", self._lost, self.folder)

    def _note(self, error: OSError) -> None:
        self._errors += 1
        # Once for each time that it begins: a full disk must not fill the log too.
        if not self._failing:
            _log.error(
                "journal cannot write to %s: %s; it keeps trying", self.folder, error.strerror or error
            )
        self._failing = True
