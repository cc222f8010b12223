"""Runs a model in vLLM (`python -m coe_kernels.engine.trial`): what it answers, and what was counted.

One process per trial, because COE_KERNELS and torch.compile's mode belong to a process.
"""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from vllm import LLM, SamplingParams

from coe_kernels.verify import MARK

PROMPT = [5, 17, 301, 42, 7]
NEW_TOKENS = 8


def main() -> None:
    """Answers a prompt, scores a fixed text, and answers again with the experts' outputs negated."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--reload", action="store_true")
    given = parser.parse_args()
    # All in one process: three that import vLLM take three times as long, and each is bound to the same core.
    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    llm = LLM(
        model=given.model,
        dtype="bfloat16",
        max_model_len=256,
        enforce_eager=not given.compile,
        worker_extension_cls="coe_kernels.engine.worker.KernelsWorker",
        enable_prefix_caching=False,
        seed=0,
        distributed_executor_backend="uni",
    )
    if given.reload:
        llm.collective_rpc("reload_weights")
    before = _status(llm)
    tokens = _answer(llm)
    after = _status(llm)
    text = [(7 * at * at + 3 * at + 11) % 1000 for at in range(48)]
    scored = llm.generate(
        {"prompt_token_ids": text}, SamplingParams(max_tokens=1, prompt_logprobs=0), use_tqdm=False
    )[0]
    logprobs = [
        next(iter(place.values())).logprob for place in scored.prompt_logprobs or [] if place is not None
    ]
    llm.collective_rpc("coe_kernels_negate", args=(True,))
    negated = _answer(llm)
    llm.collective_rpc("coe_kernels_negate", args=(False,))
    result = {
        "tokens": tokens,
        "logprobs": logprobs,
        "negated_tokens": negated,
        "again": _answer(llm),
        "before": before,
        "after": after,
        "prompt_tokens": len(PROMPT),
        "new_tokens": NEW_TOKENS,
    }
    print("\n" + MARK + json.dumps(result), flush=True)


def _status(llm: LLM) -> dict[str, Any]:
    return llm.collective_rpc("coe_kernels_status")[0]


def _answer(llm: LLM) -> list[int]:
    wanted = SamplingParams(max_tokens=NEW_TOKENS, temperature=0, ignore_eos=True, detokenize=False)
    outputs = llm.generate({"prompt_token_ids": PROMPT}, wanted, use_tqdm=False)
    return list(outputs[0].outputs[0].token_ids)


if __name__ == "__main__":
    main()
