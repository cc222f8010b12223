"""What a launched vLLM server costs, and how near `coe plan --probe` comes to what it does.

    .venv-vllm/bin/python benchmarks/vllm_server.py MODEL_DIR [ADAPTER_DIR] [--dummy]

Launches the model on the CPU with the preset `cpu`, as coe does, and prints: wall and CPU seconds to
ready, memory (proportional share), milliseconds to load an adapter, seconds to stop, and output tokens a
second of 1, 2, 4 and 8 requests at once beside what `coe plan` says from its own measurement of the machine,
the mean of one before and one after. Prompts and answers are random tokens: the experts of a mixture are
each chosen by some; only the steps after the prompt count. Where others use the machine, tokens per CPU
second of the engine say more than those per second. `--dummy` takes random weights for a folder without any.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from coe.testing import build, create, load
from coe_vllm._model import read_size
from coe_vllm.capacity import Measured, measure, step_s

BATCHES = (1, 2, 4, 8)
ROUNDS = 3
SHORT, LONG = 4, 28
"""Tokens of answers."""
PROMPT = 24
"""Tokens of a prompt."""


def processes(pid: int) -> list[Path]:
    """Folders in /proc of a server's processes: those of its session."""
    found: list[Path] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) == pid:
                found.append(folder)
        except ProcessLookupError:
            continue
    return found


def cpu_s(pid: int) -> float:
    """User and system seconds of a server."""
    ticks = 0
    for folder in processes(pid):
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_gb(pid: int) -> float:
    """Proportional share of memory of a server."""
    kilobytes = 0
    for folder in processes(pid):
        lines = (folder / "smaps_rollup").read_text().splitlines()
        kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kilobytes / 1e6


async def run(model: Path, adapter: Path | None, dummy: bool) -> None:
    """Launch, measure, stop."""
    size = read_size(model)
    assert size is not None, "a model whose size can be told"
    before = measure(Path(sys.executable), size.hidden_size)
    args: dict[str, Any] = {"max_model_len": 1024}
    if dummy:
        args["load_format"] = "dummy"
    if adapter is not None:
        args |= {"enable_lora": True, "max_loras": 2, "max_lora_rank": 8}
    keys = {
        "model": str(model),
        "launch": {"preset": "cpu", "args": args, "env": {"HF_HUB_OFFLINE": "1"}},
    }
    expert = create(load("coe.experts", "vllm"), "base", keys, build())
    began = time.perf_counter()
    try:
        await expert.start()
        pid = expert.backend.server.pid
        wall_s = time.perf_counter() - began
        print(f"ready after {wall_s:.1f} s, {cpu_s(pid):.1f} CPU s; memory {memory_gb(pid):.2f} GB")
        if adapter is not None:
            spent_s: list[float] = []
            for number in range(3):
                began_s = time.perf_counter()
                await expert.backend.api.load_adapter(f"a{number}", adapter)
                spent_s.append(time.perf_counter() - began_s)
                await expert.backend.api.unload_adapter(f"a{number}")
            print(f"adapter loaded in {min(spent_s) * 1e3:.0f} to {max(spent_s) * 1e3:.0f} ms")
        await many(expert, 1, 4)
        found: list[tuple[int, float, float]] = []
        for batch in BATCHES:
            rounds = [await speed(expert, pid, batch) for _ in range(ROUNDS)]
            found.append((batch, max(each[0] for each in rounds), max(each[1] for each in rounds)))
        after = measure(Path(sys.executable), size.hidden_size)
        for each in (before, after):
            print(f"{each.bandwidth_gb_s:.2f} GB/s, {each.tflops:.3f} TFLOP/s, {each.operation_us:.1f} us")
        here = Measured(
            bandwidth_gb_s=(before.bandwidth_gb_s + after.bandwidth_gb_s) / 2,
            tflops=(before.tflops + after.tflops) / 2,
            operation_us=(before.operation_us + after.operation_us) / 2,
        ).machine(1.0)
        for batch, per_s, per_cpu_s in found:
            seconds, bottleneck = step_s(size, here, batch, PROMPT + (SHORT + LONG) / 4)
            estimate = batch / seconds
            print(
                f"{batch} at once: {per_s:.1f} tok/s, {per_cpu_s:.1f} per CPU s; estimate {estimate:.1f} "
                f"({bottleneck}), {estimate / per_s:.2f} and {estimate / per_cpu_s:.2f} times as much"
            )
    finally:
        began = time.perf_counter()
        await expert.aclose()
        print(f"stopped in {time.perf_counter() - began:.1f} s")


async def speed(expert: Any, pid: int, batch: int) -> tuple[float, float]:
    """Output tokens a second and per CPU second of the engine: long answers less short ones."""
    walls_s: list[float] = []
    spent_s: list[float] = []
    for tokens in (SHORT, LONG):
        began_s, began_cpu_s = time.perf_counter(), cpu_s(pid)
        await many(expert, batch, tokens)
        walls_s.append(time.perf_counter() - began_s)
        spent_s.append(cpu_s(pid) - began_cpu_s)
    count = batch * (LONG - SHORT)
    return count / (walls_s[1] - walls_s[0]), count / (spent_s[1] - spent_s[0])


async def many(expert: Any, count: int, tokens: int) -> None:
    """Ask `count` at once for so many tokens each."""

    async def one() -> None:
        prompt = [random.randrange(1_000, 40_000) for _ in range(PROMPT)]
        body = {"model": expert.card.name, "prompt": prompt, "max_tokens": tokens, "ignore_eos": True}
        # Of the server itself: its own fields are not OpenAI's.
        backend = expert.backend
        headers = {"Authorization": f"Bearer {backend.api_key}"}
        url = f"{backend.api.root_url}/v1/completions"
        answer = await client.post(url, json={**body, "temperature": 1.0}, headers=headers)
        assert answer.json()["usage"]["completion_tokens"] == tokens, answer.text

    async with httpx.AsyncClient(timeout=300, trust_env=False) as client:
        await asyncio.gather(*(one() for _ in range(count)))


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("adapter", type=Path, nargs="?")
    parser.add_argument("--dummy", action="store_true", help="random weights")
    options = parser.parse_args()
    random.seed(0)
    adapter = options.adapter and options.adapter.resolve()
    asyncio.run(run(options.model.resolve(), adapter, options.dummy))


if __name__ == "__main__":
    main()
