"""Steady load with faults for a long time: is memory flat, are descriptors given back, is every answer right?

    python benchmarks/soak.py [--minutes 20] [--per-second 30] [--workers 1] [--json FILE]

One `coe serve` with journal, limits and decisions in Redis, and breakers as they come. Most requests can be
answered by falling back; a fifth of the callers go away early. Meanwhile Redis stands still for two seconds
every minute and is flushed, and the configuration is reloaded every 20 seconds, every third time with a
mistake in it. Every 10 seconds a row of figures is taken from /proc and the callers; the slope of memory is
that of a straight line through the rows after the first third.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from callers import Callers, beside
from redis import Redis as RedisClient
from rich.console import Console
from rich.table import Table
from served import Redis, Served, descriptors, rss_mb, threads

from coe.testing import Fault

DEADLINE_S = 5.0
ROW_S = 10.0
FAULTS = (
    Fault.RESET,
    Fault.SERVER_ERROR,
    Fault.OVERLOADED,
    Fault.HANG,
    Fault.STALL,
    Fault.TRUNCATED,
    Fault.ERROR_FRAME,
    Fault.MALFORMED,
    Fault.WRONG_CONTENT_TYPE,
    Fault.SLOW_TOKENS,
    Fault.CLOSE_ON_REUSE,
    Fault.SPLIT,
)


@dataclass(frozen=True)
class Row:
    """The state at one moment.

    Attributes:
        minutes: since the load began.
        descriptors: of the gateway's processes, connections of callers included.
        journal_mb: of all segments.
        ends: what the requests since the last row came to.
    """

    minutes: float
    rss_mb: float
    descriptors: int
    threads: int
    in_flight: int
    journal_mb: float
    ends: dict[str, int]


def configuration(url: str, redis: str) -> str:
    """An expert for each fault, a good one, and routers that fall back from the one to the other."""
    names = [*map(str, FAULTS), "good"]
    experts = "".join(
        f"  {name}: {{kind: openai, base_url: '{url}', model: {name}, first_byte_timeout_s: 1,"
        " idle_timeout_s: 1}\n"
        for name in names
    )
    order = json.dumps([*map(str, FAULTS[:2]), "good"])
    return (
        f"server: {{request_timeout_s: {DEADLINE_S}, drain_timeout_s: 5}}\n"
        f"routers: {{auto: {{kind: two-step, experts: {order}}}}}\n"
        "journal: {dir: journal, max_mb: 4, segment_mb: 0.5}\n"
        f"cache: {{memory_entries: 1000, shared: {{kind: redis, url: '{redis}'}}}}\n"
        f"tenants: {{redis: '{redis}', policies: {{default: {{requests_per_minute: 1000000}}}}}}\n"
        f"experts:\n{experts}"
    )


async def trouble_redis(redis: Redis) -> None:
    """It stands still for two seconds every minute, and forgets everything."""
    while True:
        await asyncio.sleep(58)
        redis.pause()
        await asyncio.sleep(2)
        redis.resume()
        await asyncio.to_thread(lambda: RedisClient.from_url(redis.url).flushall())


async def trouble_configuration(served: Served) -> None:
    """Another configuration every 20 seconds, every third time one that is refused."""
    text = (served.folder / "coe.yaml").read_text()
    for number in range(10_000):
        await asyncio.sleep(20)
        other = text.replace("memory_entries: 1000", f"memory_entries: {1000 + number % 2}")
        served.write("experts: {" if number % 3 == 2 else other)
        served.reload()


async def load(callers: Callers, minutes: float, per_second: float, at_once: int) -> None:
    """Callers that pause, so that they ask about so often. Half of the requests can be answered."""
    models = [name for fault in FAULTS for name in ("auto", "good", str(fault))]
    ends_at = time.monotonic() + minutes * 60
    while time.monotonic() < ends_at:
        callers.seed += 1
        count = int(per_second * 5)
        began = time.monotonic()
        await callers.run(models, count, at_once=at_once, leave_share=0.2, pause_s=at_once / per_second / 2)
        await asyncio.sleep(max(began + 5 - time.monotonic(), 0))


async def watch(served: Served, callers: Callers, rows: list[Row], console: Console) -> None:
    """A row every ten seconds."""
    began = time.monotonic()
    while True:
        await asyncio.sleep(ROW_S)
        ends, callers.ends[:] = list(callers.ends), []
        journal = 0
        for path in (served.folder / "journal").iterdir():
            with contextlib.suppress(FileNotFoundError):
                journal += path.stat().st_size
        pids = served.pids
        busy = await asyncio.to_thread(served.metric, "coe_expert_in_flight{")
        row = Row(
            minutes=round((time.monotonic() - began) / 60, 2),
            rss_mb=round(rss_mb(pids), 1),
            descriptors=descriptors(pids),
            threads=threads(pids),
            in_flight=int(busy),
            journal_mb=round(journal / 1e6, 2),
            ends=dict(Counter(end.code or end.outcome for end in ends)),
        )
        rows.append(row)
        console.print(row, highlight=False)
        for end in ends:
            if end.outcome in ("wrong", "hung", "cut"):
                console.print("  ", end, highlight=False)


def slope_mb_per_hour(rows: Sequence[Row]) -> float:
    """Of a straight line through the rows after the first third, when caches are full."""
    late = rows[len(rows) // 3 :]
    if len(late) < 3:
        return 0.0
    hours = np.array([row.minutes / 60 for row in late])
    return float(np.polyfit(hours, np.array([row.rss_mb for row in late]), 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--per-second", type=float, default=30)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the rows there")
    arguments = parser.parse_args()
    console = Console(width=180)
    rows: list[Row] = []
    faults = [part for each in FAULTS for part in ("--model-fault", f"{each}={each}")]
    command = [sys.executable, "-m", "coe.testing.upstream", "--delay-ms", "20", *faults]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis = Redis(folder / "redis")
        redis.start()
        stack.callback(redis.kill)
        upstream = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        stack.callback(upstream.wait)
        stack.callback(upstream.terminate)
        assert upstream.stdout is not None
        text = configuration(upstream.stdout.readline().strip(), redis.url)
        served = Served(folder, text, "--workers", str(arguments.workers))
        stack.callback(served.kill)
        callers = Callers(served.url, DEADLINE_S)
        idle = descriptors(served.pids)

        async def soak() -> None:
            works = (
                watch(served, callers, rows, console),
                trouble_redis(redis),
                trouble_configuration(served),
            )
            async with beside(*works):
                await load(callers, arguments.minutes, arguments.per_second, arguments.at_once)

        asyncio.run(soak())
        served.write(text)
        quiet = served.quiet()
        time.sleep(3)
        after = descriptors(served.pids)
        status = served.stop()
    total: Counter[str] = Counter()
    for row in rows:
        total.update(row.ends)
    table = Table("", "first", "middle", "last", box=None)
    chosen = (rows[0], rows[len(rows) // 2], rows[-1])
    for name in ("minutes", "rss_mb", "descriptors", "threads", "in_flight", "journal_mb"):
        table.add_row(name, *(str(getattr(row, name)) for row in chosen))
    console.print(table)
    slope = slope_mb_per_hour(rows)
    console.print(f"requests: {total.total()}; ends: {dict(total.most_common())}")
    console.print(
        f"memory: {slope:+.1f} MB/h after the first third; descriptors: {idle} idle before, {after} after"
    )
    console.print(f"exit status {status}; {'nothing' if quiet else 'something'} was left in flight")
    if arguments.json:
        report = {"rows": [asdict(row) for row in rows], "slope_mb_per_hour": slope, "ends": dict(total)}
        arguments.json.write_text(json.dumps({**report, "descriptors": [idle, after]}, indent=1))
    if total["wrong"] or total["hung"] or total["cut"] or not quiet or status:
        raise SystemExit("not as it must be")


if __name__ == "__main__":
    main()
