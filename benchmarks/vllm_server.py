"""What a launched vLLM server costs, and how near `coe plan` comes to what it does.

    .venv-vllm/bin/python benchmarks/vllm_server.py MODEL_DIR [ADAPTER_DIR]

Launches the model on the CPU with the preset `cpu`, as coe does, and prints: wall and CPU seconds to
ready, memory (proportional share), milliseconds to load an adapter, seconds to stop, and output tokens a
second of 1 and 8 requests at once beside the roofline's estimate. The machine's bandwidth and arithmetic are
measured with numpy on one thread, as the server uses one, in CPU seconds; the estimate is to be compared with
tokens per CPU second, which say more than those per second where others use the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from coe.testing import build, chat, collect, context, create, load
from coe_vllm._model import read_size
from coe_vllm.capacity import Machine, step_s

TOKENS = 48
PROMPT = "Explain in a few sentences how a sailing boat can move against the wind."


def machine() -> Machine:
    """This machine, one thread: the best of a few rounds."""
    data = np.ones(64 * 1024 * 1024, np.float32)
    read_s = min(timed(data.sum) for _ in range(5))
    square = np.ones((1536, 1536), np.float32)
    multiply_s = min(timed(lambda: square @ square) for _ in range(5))
    return Machine(
        memory_gb=1.0,
        bandwidth_gb_s=data.nbytes / read_s / 1e9,
        tflops=2 * 1536**3 / multiply_s / 1e12,
        efficiency=1.0,
    )


def timed(work: Any) -> float:
    """CPU seconds that it takes."""
    began = time.process_time()
    work()
    return time.process_time() - began


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


async def run(model: Path, adapter: Path | None) -> None:
    """Launch, measure, stop."""
    size = read_size(model)
    assert size is not None, "a model whose size can be told"
    here = machine()
    args: dict[str, Any] = {"max_model_len": 1024}
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
                before = time.perf_counter()
                await expert.backend.api.load_adapter(f"a{number}", adapter)
                spent_s.append(time.perf_counter() - before)
                await expert.backend.api.unload_adapter(f"a{number}")
            print(f"adapter loaded in {min(spent_s) * 1e3:.0f} to {max(spent_s) * 1e3:.0f} ms")
        await many(expert, 1, 4)
        print(f"bandwidth {here.bandwidth_gb_s:.1f} GB/s, {here.tflops:.3f} TFLOP/s (float32, one thread)")
        for batch in (1, 8):
            before_s, before_cpu_s = time.perf_counter(), cpu_s(pid)
            count = await many(expert, batch, TOKENS)
            took_s, took_cpu_s = time.perf_counter() - before_s, cpu_s(pid) - before_cpu_s
            seconds, bottleneck = step_s(size, here, batch, 40)
            print(
                f"{batch} at once: {count / took_s:.1f} tok/s, {count / took_cpu_s:.1f} per CPU s; "
                f"estimate {batch / seconds:.1f} ({bottleneck})"
            )
    finally:
        began = time.perf_counter()
        await expert.aclose()
        print(f"stopped in {time.perf_counter() - began:.1f} s")


async def many(expert: Any, count: int, tokens: int) -> int:
    """Ask `count` at once; the output tokens of all."""

    async def one(number: int) -> int:
        request = chat(f"{number}. {PROMPT}", max_tokens=tokens, min_tokens=tokens, temperature=0)
        reply = await expert.complete(request, context(timeout_s=300))
        return (await collect(reply)).objects[0]["usage"]["completion_tokens"]

    return sum(await asyncio.gather(*(one(number) for number in range(count))))


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("adapter", type=Path, nargs="?")
    options = parser.parse_args()
    asyncio.run(run(options.model.resolve(), options.adapter and options.adapter.resolve()))


if __name__ == "__main__":
    main()
