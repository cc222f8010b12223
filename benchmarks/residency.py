"""Who stays in memory: the planner of coe-vllm against LRU, a static choice and Belady's bound.

    python benchmarks/residency.py [--requests N] [--rate PER_S] [--journal FILE]

20 experts, 4 places of equal size, one request at a time. Traces: Zipf(1), independent; bursty, in which each
of a few users stays with an expert for a while, as conversations do; and, with --journal, the experts and
times of a journal exported by `coe journal tail --json`, its times stretched to the same mean rate
(benchmarks/residency_trace.py makes one). Then the same with all requests there at once, so
that the planner always sees as many as its window holds; and what grouping alone saves, with one place. Times
are simulated.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path

from coe_vllm.residency import POLICIES, Call, simulate

EXPERTS = 20
SLOTS = 4
SERVICE_S = 0.5
SWITCH_S = 2.0
WINDOW = 32


def zipf(count: int, seed: int, rate_per_s: float) -> list[Call]:
    """Independent requests; the expert of rank r is asked in proportion to 1 / r."""
    numbers = random.Random(seed)
    weights = [1 / rank for rank in range(1, EXPERTS + 1)]
    at_s, trace = 0.0, list[Call]()
    for _ in range(count):
        at_s += numbers.expovariate(rate_per_s)
        trace.append(Call(at_s, f"e{numbers.choices(range(EXPERTS), weights)[0]:02d}"))
    return trace


def bursty(count: int, seed: int, rate_per_s: float) -> list[Call]:
    """Six users; each asks one expert about eight times in a row, then another; bursts of load in between."""
    numbers = random.Random(seed)
    weights = [1 / rank for rank in range(1, EXPERTS + 1)]
    users = [numbers.choices(range(EXPERTS), weights)[0] for _ in range(6)]
    at_s, trace = 0.0, list[Call]()
    for number in range(count):
        busy = (number // 100) % 2
        at_s += numbers.expovariate(rate_per_s * (3.0 if busy else 0.5))
        user = numbers.randrange(len(users))
        if numbers.random() < 1 / 8:
            users[user] = numbers.choices(range(EXPERTS), weights)[0]
        trace.append(Call(at_s, f"e{users[user]:02d}"))
    return trace


def journal(path: Path, rate_per_s: float) -> list[Call]:
    """Chosen experts and times of journal records, one JSON object a line; those with a decision."""
    records = map(json.loads, path.read_text().splitlines())
    calls = [Call(record["time"], record["chosen"]) for record in records if record["chosen"]]
    calls.sort(key=lambda call: call.at_s)
    first_s, spanned_s = calls[0].at_s, calls[-1].at_s - calls[0].at_s
    if not spanned_s:
        raise SystemExit(f"{path}: all requests came at one time")
    stretch = len(calls) / rate_per_s / spanned_s
    return [Call((call.at_s - first_s) * stretch, call.expert) for call in calls]


def report(title: str, trace: Sequence[Call], slots: int = SLOTS) -> None:
    """One table."""
    print(f"\n{title}: {len(trace)} requests, {len({call.expert for call in trace})} experts, {slots} places")
    head = ("policy", "hit rate", "switches/1000", "wait p50 s", "p95 s", "max s", "overtaken", "worst/mean")
    print("".join(f"{name:>15}" for name in head))
    for policy in POLICIES:
        done = simulate(
            trace,
            policy,
            slots=slots,
            service_s=SERVICE_S,
            switch_s=SWITCH_S,
            window=WINDOW,
            max_overtaken=WINDOW,
        )
        per_1000 = done.switches * 1000 / len(trace)
        row = (done.wait_p50_s, done.wait_p95_s, done.wait_max_s)
        cells = [policy, f"{done.hit_rate:.3f}", f"{per_1000:.0f}", *(f"{wait:.1f}" for wait in row)]
        print(
            "".join(f"{c:>15}" for c in [*cells, str(done.overtaken_max), f"{done.worst_expert_ratio:.2f}"])
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=0.6, help="requests per second")
    parser.add_argument("--journal", type=Path)
    options = parser.parse_args()
    print(f"service {SERVICE_S} s, switch {SWITCH_S} s, {options.rate} requests/s, window {WINDOW}")
    report("Zipf(1)", zipf(options.requests, 0, options.rate))
    report("bursty", bursty(options.requests, 0, options.rate))
    at_once = [Call(0.0, call.expert) for call in zipf(options.requests, 0, options.rate)]
    report("Zipf(1), all there at once", at_once)
    report("the same", at_once, slots=1)
    if options.journal:
        report(f"journal {options.journal.name}", journal(options.journal, options.rate))


if __name__ == "__main__":
    main()
