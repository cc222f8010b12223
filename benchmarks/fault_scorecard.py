"""What the gateway does when everything around it fails: one table, a row for each fault.

    python benchmarks/fault_scorecard.py [--only WORD ...] [--requests N] [--json FILE] [--quick]

Each row starts a `coe serve` of its own, as a process, before an upstream that fails in that way, and asks it
under light load: streamed and not, the failing expert by name (`bad`), a good one by name (`good`), and a
router that may fall back from the one to the other (`auto`). Each prompt has one right answer. The server is
ended by SIGTERM, and its journal compared with what the callers have seen. `--quick` asks nearly all upstream
faults at once.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from callers import Callers
from fault_acts import (
    Act,
    Scene,
    ask,
    ask_few,
    leave,
    overload,
    redis_dies,
    redis_forgets,
    redis_lies,
    redis_stands_still,
    reload_all_the_time,
    sigkill_of_workers,
    sigterm,
    slow_readers,
    slow_senders,
    with_damage,
)
from rich.console import Console
from rich.table import Table
from served import Redis, Served, peak_mb

from coe.testing import Fault

DEADLINE_S = 3.0
SILENCE_S = 1.0
HUGE_BYTES = 70_000_000
"""More than the 64 MiB of an answer that are read."""
RIGHT_ANYWAY = {
    Fault.NONE,
    Fault.CLOSE_ON_REUSE,
    Fault.SLOW_HEADERS,
    Fault.SLOW_TOKENS,
    Fault.SPLIT,
    Fault.INTERIM,
    Fault.CLOSE_AFTER_REPLY,
}


@dataclass
class Score:
    """One row of the table.

    Attributes:
        cut: connections that broke, before an answer or within it.
        bystanders: requests that the fault does not concern and that got no right answer.
        over_s: seconds that the slowest request took beyond the deadline.
        missing: answers without a record in the journal.
        stuck: whether the gateway still held requests after all callers had gone.
        peak_mb: most memory of the gateway's processes.
        why: what was wrong, a few of them.
    """

    fault: str
    requests: int = 0
    right: int = 0
    error: int = 0
    wrong: int = 0
    hung: int = 0
    cut: int = 0
    left: int = 0
    bystanders: int = 0
    over_s: float = 0.0
    missing: int = 0
    stuck: bool = False
    peak_mb: float = 0.0
    status: int = 0
    why: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class Row:
    """A fault, how to stage it, and what may be seen.

    Attributes:
        fault: of the upstream of `bad`.
        options: of `coe serve`.
        more: further configuration.
        act: asks, and does the rest of the damage.
        may_cut: whether connections may break: the process that held them is gone.
        silence_s: how long an expert may be silent.
    """

    name: str
    act: Act
    fault: Fault = Fault.NONE
    options: tuple[str, ...] = ()
    more: str = ""
    redis: bool = False
    may_cut: bool = False
    silence_s: float = SILENCE_S


def configuration(bad: str, good: str, more: str = "", silence_s: float = SILENCE_S) -> str:
    """Two experts and a router over them. Breakers stay closed, so that every request meets the fault."""
    expert = (
        "  {name}: {{kind: openai, base_url: '{url}', model: {name}, connect_timeout_s: 1, "
        f"first_byte_timeout_s: {silence_s}, idle_timeout_s: {silence_s}}}}}\n"
    )
    return (
        f"server: {{request_timeout_s: {DEADLINE_S}, retry_ratio: 1, drain_timeout_s: 5,"
        " client_timeout_s: 3}\n"
        "breaker: {failures: 1000000}\n"
        "routers: {auto: {kind: two-step}}\n"
        "journal: {dir: journal}\n"
        f"experts:\n{expert.format(name='bad', url=bad)}{expert.format(name='good', url=good)}{more}"
    )


@contextlib.contextmanager
def upstream(fault: Fault) -> Iterator[str]:
    """A fake upstream as a process: its base URL. One that refuses is no process."""
    if fault is Fault.REFUSE:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            yield f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
        return
    options = ["--fault", fault, "--delay-ms", "30", "--huge-bytes", str(HUGE_BYTES)]
    command = [sys.executable, "-m", "coe.testing.upstream", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


SHARED = (
    "cache: {{shared: {{kind: redis, url: '{url}'}}}}\n"
    "tenants: {{redis: '{url}', policies: {{default: {{requests_per_minute: 1000000}}}}}}\n"
)
WORKERS = ("--workers", "2")
COSTLY = {Fault.HUGE_BODY, Fault.ENDLESS}
NAMES = {
    Fault.REFUSE: "connection refused",
    Fault.RESET: "connection reset",
    Fault.CLOSE: "connection closed before any byte",
    Fault.CLOSE_ON_REUSE: "kept connection closed on its second request",
    Fault.HANG: "no answer at all",
    Fault.SERVER_ERROR: "status 500",
    Fault.UNAVAILABLE: "status 503, not JSON",
    Fault.OVERLOADED: "status 429 with Retry-After",
    Fault.REJECTED: "status 400",
    Fault.UNAUTHORIZED: "status 401",
    Fault.RESET_MID_BODY: "reset within the body",
    Fault.TRUNCATED: "truncated body, stream without [DONE]",
    Fault.STALL: "silence within the body",
    Fault.ENDLESS: "endless body, endless stream",
    Fault.HUGE_BODY: "huge body",
    Fault.ERROR_FRAME: "error event within the stream",
    Fault.MALFORMED: "malformed JSON, malformed events",
    Fault.NOT_HTTP: "bytes that are not HTTP",
    Fault.WRONG_CONTENT_TYPE: "HTML with status 200",
    Fault.SLOW_HEADERS: "slow headers",
    Fault.SLOW_TOKENS: "slow tokens",
    Fault.SPLIT: "events in pieces of 7 bytes",
    Fault.INTERIM: "interim responses before the answer",
    Fault.CLOSE_AFTER_REPLY: "keep-alive promised, then closed",
    Fault.NONE: "nothing",
}


def rows() -> list[Row]:
    """All of them."""
    upstreams = [
        Row(
            f"upstream: {NAMES[fault]}",
            ask_few if fault in COSTLY else ask,
            fault,
            # It takes the upstream that long to make it.
            silence_s=2.9 if fault is Fault.HUGE_BODY else SILENCE_S,
        )
        for fault in sorted(Fault, key=list(NAMES).index)
    ]
    return [
        *upstreams,
        Row("callers: half go away", leave, Fault.SLOW_TOKENS),
        Row("callers: 50 send a byte now and then", with_damage(slow_senders)),
        Row("callers: 50 do not read endless streams", with_damage(slow_readers), Fault.ENDLESS),
        Row(
            "callers: 24 at once for 2 places and a queue of 4",
            overload,
            Fault.SLOW_HEADERS,
        ),
        Row("Redis: killed and started again", with_damage(redis_dies), redis=True),
        Row("Redis: stopped (SIGSTOP), again and again", with_damage(redis_stands_still), redis=True),
        Row("Redis: every value overwritten", with_damage(redis_lies), redis=True),
        Row("Redis: flushed, again and again", with_damage(redis_forgets), redis=True),
        Row("reload, every other one invalid", with_damage(reload_all_the_time), Fault.SLOW_TOKENS),
        Row(
            "reload, two workers",
            with_damage(reload_all_the_time),
            Fault.SLOW_TOKENS,
            options=WORKERS,
        ),
        Row("SIGTERM under load", sigterm, Fault.SLOW_TOKENS),
        Row("SIGTERM under load, two workers", sigterm, Fault.SLOW_TOKENS, options=WORKERS),
        Row("SIGKILL of a worker, three times", sigkill_of_workers, options=WORKERS, may_cut=True),
    ]


def play(row: Row, requests: int, good: str, folder: Path) -> Score:
    """Stage one row and say how it went."""
    with contextlib.ExitStack() as stack:
        redis = None
        more = row.more
        if row.redis:
            redis = Redis(folder / "redis")
            redis.start()
            stack.callback(redis.kill)
            more += SHARED.format(url=redis.url)
        bad = stack.enter_context(upstream(row.fault))
        text = configuration(bad, good, more, row.silence_s)
        if row.act is overload:
            text = text.replace("model: bad,", "model: bad, max_concurrency: 2, max_queue: 4,")
        served = Served(folder, text, *row.options)
        stack.callback(served.kill)
        scene = Scene(served, Callers(served.url, DEADLINE_S), requests, redis)
        asyncio.run(row.act(scene))
        score = count(row, scene)
        if row.act is not sigterm:
            score.stuck = not served.quiet()
            score.peak_mb = round(peak_mb(served.pids))
        score.status = served.stop()
        score.missing = missing(scene)
    return score


def count(row: Row, scene: Scene) -> Score:
    """From the callers' ends to a row."""
    found = scene.callers.counts()
    # `good` concerns no fault of the upstream of `bad`; `auto` can always fall back before the first byte.
    bystanders = scene.callers.counts("good")
    score = Score(
        fault=row.name,
        requests=len(scene.callers.ends),
        right=found["right"],
        error=found["error"],
        wrong=found["wrong"],
        hung=found["hung"],
        cut=found["cut"],
        left=found["left"],
        bystanders=bystanders.total() - bystanders["right"] - bystanders["left"],
        over_s=round(scene.callers.over_deadline_s, 2),
    )
    bad = [
        end
        for end in scene.callers.ends
        if end.outcome in ("wrong", "hung", "cut") or (end.model == "good" and end.outcome == "error")
    ]
    score.why = [f"{end.model}: {end.why}" for end in bad[:5]]
    return score


def missing(scene: Scene) -> int:
    """Answers that left no record: by their id, or, for errors, which have none, by number."""
    records = scene.served.records()
    known = {record.id for record in records}
    lost = sum(end.decision not in known for end in scene.callers.ends if end.decision)
    answered = sum(end.answered for end in scene.callers.ends)
    return max(lost, answered - len(records))


def quick(requests: int, folder: Path) -> Score:
    """All upstream faults at once, each an expert by name, beside a good one: one gateway, a few seconds."""
    faults = [each for each in Fault if each not in (Fault.REFUSE, Fault.NONE, *COSTLY)]
    options = [part for each in faults for part in ("--model-fault", f"{each}={each}")]
    command = [sys.executable, "-m", "coe.testing.upstream", "--delay-ms", "20", *options]
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        )
        stack.callback(process.terminate)
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        text = configuration(url, url)
        template = next(line for line in text.splitlines() if line.startswith("  good:"))
        more = "\n".join(template.replace("good", each) for each in faults)
        served = Served(folder, text.replace(template, f"{template}\n{more}"))
        stack.callback(served.kill)
        scene = Scene(served, Callers(served.url, DEADLINE_S), requests)
        models = [model for each in faults for model in (str(each), "good")]
        asyncio.run(scene.callers.run(models, 2 * len(models), at_once=16))
        score = count(Row("all upstream faults at once", ask), scene)
        score.stuck = not served.quiet()
        score.peak_mb = round(peak_mb(served.pids))
        score.status = served.stop()
        score.missing = missing(scene)
    return score


def failed(row_may_cut: bool, score: Score) -> bool:
    """Whether a row shows what must not be."""
    cut = 0 if row_may_cut else score.cut
    bystanders = max(score.bystanders - score.cut, 0) if row_may_cut else score.bystanders
    # SIGKILL loses what was not yet written, as docs/journal.md says.
    missing = 0 if row_may_cut else score.missing
    return bool(score.wrong or score.hung or cut or bystanders or missing or score.stuck or score.status)


def table(scores: Sequence[Score]) -> Table:
    """For people; docs/faults.md holds it."""
    found = Table(box=None)
    found.add_column("fault")
    titles = ("requests", "right", "clean error", "wrong", "hung", "cut off", "left", "good ones hurt")
    for title in (*titles, "worst s over deadline", "records missing", "peak MB"):
        found.add_column(title, justify="right")
    for each in scores:
        numbers = (each.requests, each.right, each.error, each.wrong, each.hung, each.cut, each.left)
        rest = (each.bystanders, f"{each.over_s:.2f}", each.missing, f"{each.peak_mb:.0f}")
        found.add_row(each.fault, *map(str, (*numbers, *rest)))
    return found


def markdown(scores: Sequence[Score]) -> str:
    """The same for docs/faults.md."""
    shown = table(scores)
    lines = ["| " + " | ".join(str(column.header) for column in shown.columns) + " |"]
    lines.append("|" + "---|" * len(shown.columns))
    cells = [list(column.cells) for column in shown.columns]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in zip(*cells, strict=True)]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", default=[], help="rows whose name holds one of these words")
    parser.add_argument("--requests", type=int, default=96, help="of a row; some ask more, some fewer")
    parser.add_argument("--quick", action="store_true", help="all upstream faults at once, a few seconds")
    parser.add_argument("--json", type=Path, help="write the figures there")
    arguments = parser.parse_args()
    console = Console(width=200)
    scores: list[Score] = []
    broken: list[Score] = []

    def note(score: Score, may_cut: bool = False) -> None:
        scores.append(score)
        if failed(may_cut, score):
            broken.append(score)
        console.print(f"{score.fault}: {asdict(score)}", highlight=False)

    with tempfile.TemporaryDirectory() as folder:
        if arguments.quick:
            note(quick(arguments.requests, Path(folder)))
        else:
            with upstream(Fault.NONE) as good:
                for number, row in enumerate(rows()):
                    if arguments.only and not any(word in row.name for word in arguments.only):
                        continue
                    place = Path(folder) / str(number)
                    place.mkdir()
                    note(play(row, arguments.requests, good, place), row.may_cut)
    console.print(table(scores))
    if arguments.json:
        report: dict[str, Any] = {"rows": [asdict(each) for each in scores], "markdown": markdown(scores)}
        arguments.json.write_text(json.dumps(report, indent=1))
    if broken:
        raise SystemExit("not as it must be: " + ", ".join(each.fault for each in broken))


if __name__ == "__main__":
    main()
