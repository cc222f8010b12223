"""What the gateway costs, side by side in one run.

    python benchmarks/gateway/run.py [--rounds 3] [--seconds 3] [--json FILE]
                                     [--peer 'NAME=COMMAND {port} {upstream}'] [--case 'stream of 64']

Each round runs every target in turn (direct first), so that a machine whose speed drifts treats all alike.
Figures of merit: CPU microseconds per request of all the gateway's processes (read from /proc, so the load
generator's own cost does not count) and the p50 latency added to the direct call at one connection.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def tree(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for each in found:
        for children in Path(f"/proc/{each}/task").glob("*/children"):
            found += map(int, children.read_text().split())
    return found


def cpu_s(pid: int) -> float:
    """CPU seconds that a process tree has used."""
    ticks = 0
    for each in tree(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks * TICK_S


def memory_mb(pid: int) -> float:
    """Proportional memory of a process tree."""
    kib = 0
    for each in tree(pid):
        # A child that has just ended has no memory any more.
        with suppress(FileNotFoundError, ProcessLookupError):
            for line in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    kib += int(line.split()[1])
    return kib / 1024


@dataclass
class Target:
    """Something that answers chat completions on a port."""

    name: str
    command: list[str]
    port: int
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    start_s: float = 0
    start_cpu_s: float = 0

    def start(self) -> None:
        began = time.perf_counter()
        self.process = subprocess.Popen(
            self.command, env={**os.environ, **self.env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "hi"}]}).encode()
        url = f"http://127.0.0.1:{self.port}/v1/chat/completions"
        while True:
            request = urllib.request.Request(url, body, {"content-type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=5):
                    break
            except OSError:
                if self.process.poll() is not None or time.perf_counter() - began > 60:
                    raise SystemExit(f"{self.name} did not start: {shlex.join(self.command)}") from None
                time.sleep(0.01)
        self.start_s = time.perf_counter() - began
        self.start_cpu_s = cpu_s(self.process.pid)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)


@dataclass(frozen=True)
class Case:
    """One kind of load."""

    name: str
    connections: int
    stream: bool = False
    unique: bool = False
    paced: bool = False


CASES = [
    Case("whole, 1 conn", 1),
    Case("whole, 16 conns", 16),
    Case("whole, 64 conns", 64),
    Case("fresh decision, 16 conns", 16, unique=True),
    Case("stream of 64, 1 conn", 1, stream=True),
    Case("stream of 64, 16 conns", 16, stream=True),
    Case("paced stream, 4 conns", 4, stream=True, paced=True),
]


def measure(target: Target, case: Case, seconds: float) -> dict[str, float]:
    command = [sys.executable, str(HERE / "load.py"), "--port", str(target.port), "--seconds", str(seconds)]
    command += ["--connections", str(case.connections)]
    command += ["--stream"] * case.stream + ["--unique"] * case.unique + ["--paced"] * case.paced
    assert target.process is not None
    before = cpu_s(target.process.pid)
    result = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    used = cpu_s(target.process.pid) - before
    if result["failures"]:
        raise SystemExit(f"{target.name}, {case.name}: {result['failures']} of {result['requests']} failed")
    return {
        "cpu_us": used / result["requests"] * 1e6,
        "rps": result["requests"] / result["seconds"],
        "p50_ms": result["latency"]["p50_ms"],
        "p99_ms": result["latency"]["p99_ms"],
        "first_byte_p50_ms": result["first_byte"]["p50_ms"],
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND")
    parser.add_argument("--case", action="append", default=[], help="only cases whose name holds this")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    upstream = Target("direct", [], free_port())
    upstream.command = [sys.executable, str(HERE / "upstream.py"), "--port", str(upstream.port)]
    url = f"http://127.0.0.1:{upstream.port}"
    coe = Target("coe", [], free_port(), {"COE_BENCH_UPSTREAM": f"{url}/v1"})
    command = [str(Path(sys.executable).with_name("coe")), "serve", "--config", str(HERE / "coe.yaml")]
    coe.command = [*command, "--port", str(coe.port)]
    targets = [upstream, coe]
    for peer in options.peer:
        name, _, command = peer.partition("=")
        port = free_port()
        targets.append(Target(name, shlex.split(command.format(port=port, upstream=url)), port))

    cases = [case for case in CASES if not options.case or any(part in case.name for part in options.case)]
    results: dict[str, dict[str, list[dict[str, float]]]] = {}
    try:
        for target in targets:
            target.start()
        for _ in range(options.rounds):
            for case in cases:
                for target in targets:
                    figures = measure(target, case, options.seconds)
                    results.setdefault(case.name, {}).setdefault(target.name, []).append(figures)
        memory = {each.name: memory_mb(each.process.pid) for each in targets if each.process}
    finally:
        for target in reversed(targets):
            target.stop()
    report(results, targets, memory)
    if options.json:
        options.json.write_text(json.dumps({"results": results, "memory_mb": memory}, indent=2))


def report(
    results: dict[str, dict[str, list[dict[str, float]]]], targets: list[Target], memory: dict[str, float]
) -> None:
    columns = (
        "case",
        "target",
        "CPU µs/request",
        "spread",
        "coe's is × this",
        "added p50 ms",
        "added 1st event ms",
    )
    table = Table(*columns, "req/s", title="Gateway cost")
    for case, by_target in results.items():
        for name, rounds in by_target.items():
            cpu = [each["cpu_us"] for each in rounds]
            ratios = [
                ours["cpu_us"] / each["cpu_us"] for ours, each in zip(by_target["coe"], rounds, strict=True)
            ]
            added = {
                key: statistics.median(
                    each[key] - base[key] for each, base in zip(rounds, by_target["direct"], strict=True)
                )
                for key in ("p50_ms", "first_byte_p50_ms")
            }
            table.add_row(
                case,
                name,
                f"{statistics.median(cpu):.0f}",
                f"{min(cpu):.0f}–{max(cpu):.0f}",
                ""
                if name == "coe"
                else f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})",
                "" if name == "direct" else f"{added['p50_ms']:.2f}",
                "" if name == "direct" else f"{added['first_byte_p50_ms']:.2f}",
                f"{statistics.median(each['rps'] for each in rounds):.0f}",
            )
        table.add_section()
    console = Console(width=140)
    console.print(table)
    start = Table("target", "first 200 after s", "CPU s to it", "memory MB (Pss)")
    for target in targets:
        start.add_row(
            target.name, f"{target.start_s:.2f}", f"{target.start_cpu_s:.2f}", f"{memory[target.name]:.0f}"
        )
    console.print(start)


if __name__ == "__main__":
    main()
