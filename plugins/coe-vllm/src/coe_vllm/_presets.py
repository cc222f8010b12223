"""Starting points for common machines: arguments and environment, each with its reason.

A preset is the lowest layer: `launch.args` and `launch.env` of the configuration lie over it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

Argument: TypeAlias = bool | int | float | str | list[str] | dict[str, object]
PresetName = Literal["cpu", "small-gpu", "gpu-80gb", "8-gpus"]


@dataclass(frozen=True, slots=True)
class Preset:
    """Arguments of vLLM by name, environment variables, and why these."""

    args: Mapping[str, Argument]
    env: Mapping[str, str]
    why: str


PRESETS: Mapping[PresetName, Preset] = {
    "cpu": Preset(
        {
            "enforce_eager": True,
            "dtype": "bfloat16",
            "max_num_seqs": 8,
            "kv_cache_memory_bytes": 128 * 1024 * 1024,
            "distributed_executor_backend": "uni",
        },
        {
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": "1",
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "TORCHDYNAMO_DISABLE": "1",
        },
        "A small model without an accelerator. Compiling costs minutes at the start and gained nothing "
        "measurable; a "
        "KV cache of stated size, because the default takes a share of all RAM; one process and one thread "
        "per "
        "server, because several servers bound to the same cores wait for each other.",
    ),
    "small-gpu": Preset(
        {"gpu_memory_utilization": 0.85, "max_model_len": 8192, "max_num_seqs": 16, "kv_cache_dtype": "fp8"},
        {},
        "One GPU of 8 to 24 GB. Memory is what is short: an 8-bit KV cache holds twice the tokens, a bounded "
        "context keeps one long prompt from taking all of it, and few sequences at once keep the captured "
        "graphs "
        "small. Choose a model quantised to 4 or 8 bits.",
    ),
    "gpu-80gb": Preset(
        {"gpu_memory_utilization": 0.92, "max_num_seqs": 256, "enable_prefix_caching": True},
        {},
        "One GPU of 80 GB. Decoding reads all active weights once per step whatever the batch, so many "
        "sequences at "
        "once are what raises throughput; prompts that share a beginning (system prompts, demonstrations) "
        "share its "
        "cache.",
    ),
    "8-gpus": Preset(
        {
            "tensor_parallel_size": 8,
            "enable_expert_parallel": True,
            "gpu_memory_utilization": 0.92,
            "max_num_seqs": 512,
            "enable_prefix_caching": True,
        },
        {},
        "One node of eight GPUs for one large model. Attention is split over all of them; a mixture's "
        "experts are "
        "kept whole and spread, so that each GPU reads few large matrices in place of many thin slices. A "
        "dense "
        "model ignores expert parallelism.",
    ),
}
