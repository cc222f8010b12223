"""What this machine's CPU does with a model's matrices in bfloat16, as one JSON document on stdout.

Run as a script by a Python that has torch, with -I, so that this folder's modules are not found; it imports
nothing of coe. Arguments: hidden size, threads. Where vLLM for a CPU is installed, its own products are
measured, whose weights are packed beforehand; else torch's. Seconds are of the CPU: what others take of the
machine meanwhile counts little.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

_READ_BYTES = 256 * 1024 * 1024
"""Weights of one round: more than any cache holds, so that each is read from memory."""
_ROUNDS = 3
_PROMPT_TOKENS = 256
_CHAIN = 100


def main() -> None:
    """Measure, and print it."""
    torch: Any = importlib.import_module("torch")
    hidden, threads = int(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(threads)
    with contextlib.redirect_stdout(sys.stderr), torch.inference_mode():
        document = measured(torch, hidden)
    print(json.dumps(document), flush=True)


def measured(torch: Any, hidden: int) -> dict[str, float]:
    """Bandwidth of one token's products, arithmetic of a prompt's, and one small operation."""
    linear = torch.nn.functional.linear
    shape = (3 * hidden, hidden)
    numbers = shape[0] * shape[1]
    weights = [torch.ones(shape, dtype=torch.bfloat16) for _ in range(max(1, _READ_BYTES // (2 * numbers)))]
    token = torch.ones((1, hidden), dtype=torch.bfloat16)
    prompt = torch.ones((_PROMPT_TOKENS, hidden), dtype=torch.bfloat16)
    products = [product(torch, weight) for weight in weights]
    few = products[: max(1, len(products) // 8)]
    threads = torch.get_num_threads()
    read_s = fastest(lambda: [each(token) for each in products]) / threads
    multiply_s = fastest(lambda: [each(prompt) for each in few]) / threads
    small = torch.ones((64, 64), dtype=torch.bfloat16)
    row = torch.ones((1, 64), dtype=torch.bfloat16)
    silu = torch.nn.functional.silu

    def chain() -> None:
        # As torch's dispatch is most of such an operation, it says how fast an engine in Python goes.
        for _ in range(_CHAIN):
            silu(linear(row, small) + row)

    return {
        "bandwidth_gb_s": 2 * numbers * len(weights) / read_s / 1e9,
        "tflops": 2 * numbers * _PROMPT_TOKENS * len(few) / multiply_s / 1e12,
        "operation_us": fastest(chain) / (3 * _CHAIN) * 1e6,
    }


def product(torch: Any, weight: Any) -> Callable[[Any], Any]:
    """What multiplies by a weight as vLLM does on a CPU."""
    try:
        operations: Any = importlib.import_module("vllm._custom_ops")
        importlib.import_module("vllm.platforms").current_platform.import_kernels()
        handler = operations.create_onednn_mm(weight.t(), 32)
    except (ImportError, AttributeError, RuntimeError):  # no vLLM, one for a GPU, or one without oneDNN
        return lambda rows: torch.nn.functional.linear(rows, weight)
    return lambda rows: operations.onednn_mm(handler, rows, None)


def fastest(work: Callable[[], object]) -> float:
    """CPU seconds of the best of a few rounds, after one that does not count."""
    work()
    spent_s: list[float] = []
    for _ in range(_ROUNDS):
        began_s = time.process_time()
        work()
        spent_s.append(time.process_time() - began_s)
    return min(spent_s)


if __name__ == "__main__":
    main()
