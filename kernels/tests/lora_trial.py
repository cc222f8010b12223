"""A sparse model with adapters on its experts in vLLM: what each prompt gets, alone and in one batch.

`python lora_trial.py MODEL [NAME=ADAPTER …]`; run by test_lora.py.
"""

from __future__ import annotations

import json
import os
import sys

TEXT = [(7 * at * at + 3 * at + 11) % 1000 for at in range(32)]
BEGINNINGS = (5, 17, 32)


def main() -> None:
    # All in one process: three that import vLLM take three times as long.
    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    model, *named = sys.argv[1:]
    adapters = [
        LoRARequest(name, number, path)
        for number, (name, _, path) in enumerate((one.partition("=") for one in named), start=1)
    ]
    given = {"distributed_executor_backend": "uni"} | (
        {"enable_lora": True, "max_loras": 2, "max_lora_rank": 8} if adapters else {}
    )
    llm = LLM(
        model=model,
        dtype="bfloat16",
        max_model_len=128,
        enforce_eager=True,
        enable_prefix_caching=False,
        worker_extension_cls="coe_kernels.engine.worker.KernelsWorker",
        **given,
    )
    choices = [None, *adapters]

    def scored(chosen: LoRARequest | None) -> list[float]:
        """Log-probabilities of the text's tokens. vLLM 0.32 cannot give them for several adapters at once."""
        wanted = SamplingParams(max_tokens=1, prompt_logprobs=0, detokenize=False)
        [output] = llm.generate([{"prompt_token_ids": TEXT}], wanted, use_tqdm=False, lora_request=chosen)
        return [next(iter(place.values())).logprob for place in output.prompt_logprobs if place is not None]

    def continued(chosen: list[LoRARequest | None]) -> list[list[dict[int, float]]]:
        """Of each choice, for each beginning of the text: what may come next."""
        wanted = SamplingParams(max_tokens=1, temperature=0, logprobs=5, detokenize=False)
        prompts = [{"prompt_token_ids": TEXT[:size]} for size in BEGINNINGS]
        outputs = llm.generate(
            prompts * len(chosen),
            wanted,
            use_tqdm=False,
            lora_request=[one for one in chosen for _ in prompts],
        )
        found = [
            {token: place.logprob for token, place in output.outputs[0].logprobs[0].items()}
            for output in outputs
        ]
        return [found[at : at + len(prompts)] for at in range(0, len(found), len(prompts))]

    result = {
        "scored": [scored(one) for one in choices],
        "alone": [continued([one])[0] for one in choices],
        "mixed": continued(choices),
    }
    print("\nTRIAL " + json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
