"""A whole sparse model in vLLM on one thread: `COE_KERNELS=… python -m coe_kernels.engine.serving FOLDER`.

Prints tokens per second of CPU time for decoding at several batch sizes and for prefill, one line of JSON. A
model is made in the folder if there is none. Processes with other settings take turns, so that what is
compared is of one minute.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

NEW_TOKENS = 24
REPEATS = 3
BATCHES = (1, 8, 32)
PREFILL = 512


def main() -> None:
    """Measures and prints."""
    # One process and one thread: the CPU time is then all of it.
    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    os.environ |= {"OMP_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1", "HF_HUB_OFFLINE": "1"}
    from vllm import LLM, SamplingParams

    from coe_kernels.engine.model import write_model

    folder = Path(sys.argv[1])
    if not folder.exists():
        write_model(folder, layers=6, hidden=1024, intermediate=512, experts=32, top_k=4)
    llm = LLM(
        model=str(folder),
        dtype="bfloat16",
        max_model_len=1024,
        max_num_seqs=max(BATCHES),
        max_num_batched_tokens=1024,
        kv_cache_memory_bytes=1 << 28,
        enforce_eager=True,
        enable_prefix_caching=False,
        distributed_executor_backend="uni",
    )

    def run(batch: int, prompt: int, new: int) -> Callable[[], object]:
        prompts = [
            {"prompt_token_ids": [(7 * at + 31 * row) % 1000 for at in range(prompt)]} for row in range(batch)
        ]
        wanted = SamplingParams(max_tokens=new, temperature=0, ignore_eos=True, detokenize=False)
        return lambda: llm.generate(prompts, wanted, use_tqdm=False)

    found: dict[str, float] = {}
    for batch in BATCHES:
        # Beyond the first token every step decodes; what the first costs is taken off.
        seconds = _seconds(run(batch, 4, NEW_TOKENS)) - _seconds(run(batch, 4, 1))
        found[f"decode {batch}"] = batch * (NEW_TOKENS - 1) / seconds
    found[f"prefill {PREFILL}"] = PREFILL / _seconds(run(1, PREFILL, 1))
    chosen = {name: os.environ.get(name, "") for name in ("COE_KERNELS", "COE_KERNELS_WEIGHTS")}
    print("\n" + json.dumps({**chosen, "tokens_per_cpu_s": found}), flush=True)


def _seconds(call: Callable[[], object]) -> float:
    """CPU seconds, the median of several calls after one to warm up."""
    call()
    times: list[float] = []
    for _ in range(REPEATS):
        started = time.process_time()
        call()
        times.append(time.process_time() - started)
    return statistics.median(times)


if __name__ == "__main__":
    main()
