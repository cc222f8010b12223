"""What the journal costs a request, and what its files cost on disk.

    python benchmarks/journal.py [--rounds 9] [--records 20000] [--dir FOLDER]

Records are those of a routed, answered request behind a gateway. In a tight loop it is the time of the best
slice of 100 records in each round, which other load on the machine touches least; in bursts of 50 with pauses
it is CPU: of the thread that serves requests, with cold caches and a writer beside it, and of that writer.
Every round measures every row once; a table shows medians over the rounds and, in brackets, the smallest and
the largest.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from coe.config import JournalConfig
from coe.contracts import Card, Decision, Ranked, Reason, Reply
from coe.engine import Attempt, Routed, Served, Trail
from coe.gateway._note import Note
from coe.journal import Journal, Likely, Reader, Record
from coe.journal._compact import compact
from coe.journal._record import encode
from coe.testing import chat
from coe.wire import Usage

BURST = 50
SLICE = 100
REQUEST = chat("What is the sum of the first hundred primes?")
CARD = Card(name="solver", input_usd_per_mtok=0.15, output_usd_per_mtok=0.6)
DECISION = Decision(
    expert="solver",
    ranked=(Ranked("solver", 0.8314), Ranked("writer", 0.7021), Ranked("coder", 0.6534)),
    reason=Reason.CATEGORY,
    category="math",
    probabilities=(("math", 0.971234), ("science", 0.012345), ("coding", 0.008765)),
    uncertainty=0.0412,
    revision="0123456789abcdef0123456789abcdef",
)
ROUTED = Routed(model="auto", decision=DECISION, cache="hit", route_us=17)
ATTEMPT = Attempt("solver", "", 0.008123)
USAGE = Usage(prompt_tokens=300, completion_tokens=64, total_tokens=364)
SERVED = Served(routed=ROUTED, card=CARD, attempts=(ATTEMPT,), reply=Reply(usage=USAGE), body=b"{}")


def request(journal: Journal | None, number: int) -> None:
    """All that the gateway does for the record of one request."""
    with Note(journal, time.monotonic, f"dec_{number:020x}") as note:
        note.request = REQUEST
        note.trail = Trail(ROUTED, [ATTEMPT])
        note.served = SERVED
        note.first_byte()
        note.sent_bytes = 512


class Sink:
    """Takes records where a journal would, and keeps the last."""

    prompts = False
    wall_clock = staticmethod(time.time)

    def add(self, record: Record) -> None:
        self.last = record


def best_us(call: Callable[[int], object], count: int) -> float:
    """Time per call in the best slice of 100, in microseconds."""
    best_s = float("inf")
    for start in range(0, count, SLICE):
        started = time.perf_counter()
        for number in range(start, start + SLICE):
            call(number)
        best_s = min(best_s, time.perf_counter() - started)
    return best_s / SLICE * 1e6


def in_bursts(folder: Path, count: int, fsync: str) -> tuple[float, float]:
    """CPU per record with a journal that writes: of the requests' thread, and of the journal's, in µs."""
    config = JournalConfig.model_validate({"dir": folder, "fsync": fsync})
    journal = Journal(folder, config, time.monotonic, time.time)
    spent_s, whole_s = 0.0, time.process_time()
    own_s = time.thread_time()
    for start in range(0, count, BURST):
        before = time.thread_time()
        for number in range(start, start + BURST):
            request(journal, number)
        spent_s += time.thread_time() - before
        time.sleep(0.005)
    own_s = time.thread_time() - own_s
    journal.close()
    whole_s = time.process_time() - whole_s
    stats = journal.stats()
    assert (stats.records, stats.dropped, stats.errors) == (count, 0, 0), stats
    return spent_s / count * 1e6, (whole_s - own_s) / count * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument(
        "--dir", type=Path, default=None, help="where to write; a temporary folder by default"
    )
    options = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs\n")
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        measure(Path(folder), options.rounds, options.records)


def measure(folder: Path, rounds: int, records: int) -> None:
    rows: dict[str, list[float]] = {}

    def note(row: str, value: float) -> None:
        rows.setdefault(row, []).append(value)

    sink: Any = Sink()
    request(sink, 0)
    record = sink.last
    for number in range(rounds):
        note("a note and no journal", best_us(lambda n: request(None, n), records))
        note("a note and its record", best_us(lambda n: request(sink, n), records))
        note("encoding alone", best_us(lambda _: encode(record), records))
        journal = Journal(folder / f"{number}-tight", JournalConfig(), time.monotonic, time.time)
        note("a note, its record and the journal", best_us(partial(request, journal), records))
        journal.close()
        for fsync in ("never", "second"):
            own, beside = in_bursts(folder / f"{number}-{fsync}", records, fsync)
            note(f"the same in bursts, CPU, fsync {fsync}", own)
            note(f"the journal's thread, CPU, fsync {fsync}", beside)
    print("| µs per request | median (smallest–largest) |\n|---|---|")
    for row, values in rows.items():
        print(f"| {row} | {statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f}) |")
    sizes(folder / "sizes", record, records)


def sizes(folder: Path, record: Record, count: int) -> None:
    """What records that differ as real ones do take on disk, and what it costs to read and convert them."""
    chance = random.Random(0)
    folder.mkdir()
    lines: list[bytes] = []
    for _ in range(count):
        record.id = f"dec_{chance.getrandbits(80):020x}"
        record.time += chance.random()
        record.first_byte_us, record.total_us = chance.randint(300, 9000), chance.randint(9000, 900_000)
        record.route_us, record.uncertainty = chance.randint(5, 300), chance.random()
        record.prompt_tokens, record.completion_tokens = chance.randint(5, 4000), chance.randint(1, 900)
        record.cost_usd = chance.random() / 1000
        record.categories = tuple(Likely(each.category, chance.random()) for each in record.categories)
        lines.append(encode(record) + b"\n")
    (folder / "20260101T000000000Z-1-0.jsonl").write_bytes(b"".join(lines))
    print("\n| form | bytes per record | µs to read one |\n|---|---|---|")
    show_size(folder)
    if importlib.util.find_spec("pyarrow"):
        importlib.import_module("pyarrow.json")
        importlib.import_module("pyarrow.parquet")
    started = time.process_time()
    compact(folder)
    seconds = time.process_time() - started
    show_size(folder)
    print(f"\nconversion: {seconds / count * 1e6:.1f} µs of CPU per record, in a process of its own")


def show_size(folder: Path) -> None:
    (path,) = folder.iterdir()
    started = time.process_time()
    count = sum(1 for _ in Reader(folder).records())
    seconds = time.process_time() - started
    print(
        f"| {path.name.partition('.')[2]} | {path.stat().st_size / count:.0f} | {seconds / count * 1e6:.1f} |"
    )


if __name__ == "__main__":
    main()
