"""The names of vLLM that the plugin relies on, and the versions on which it was tried."""

from __future__ import annotations

import importlib
import inspect
import re

TESTED = "0.32"
"""Of vLLM: every 0.32.x."""

_MOE = "vllm.model_executor.layers.fused_moe"
NAMES = {
    f"{_MOE}.unquantized_fused_moe_method": {
        "UnquantizedFusedMoEMethod.__init__": ("moe",),
        "UnquantizedFusedMoEMethod.register_oot": (),
        "UnquantizedFusedMoEMethod.process_weights_after_loading": ("layer",),
    },
    f"{_MOE}.experts.cpu_moe": {
        "CPUUnquantizedExperts.process_weights_after_loading": ("layer",),
        "CPUUnquantizedExperts.apply": (
            *("output", "hidden_states", "w1", "w2", "topk_weights", "topk_ids", "activation"),
            *("expert_map", "apply_router_weight_on_input"),
        ),
    },
    f"{_MOE}.experts.triton_moe": {
        "TritonExperts.apply": (
            *("output", "hidden_states", "w1", "w2", "topk_weights", "topk_ids", "activation", "expert_map"),
            *("workspace13", "workspace2", "apply_router_weight_on_input"),
        ),
    },
    f"{_MOE}.fused_moe": {"try_get_optimal_moe_config": ("w1_shape", "w2_shape", "top_k", "dtype", "M")},
    f"{_MOE}.moe_align_block_size": {
        "moe_align_block_size": ("topk_ids", "block_size", "num_experts"),
    },
    f"{_MOE}.experts.lora_experts_mixin": {"LoRAExpertsMixin.set_lora_context": ("ctx",)},
    f"{_MOE}.experts.lora_context": {
        "MoELoRAContext": (
            *("w13_lora_a_stacked", "w13_lora_b_stacked", "w2_lora_a_stacked", "w2_lora_b_stacked"),
            *("punica_wrapper", "fully_sharded"),
        ),
    },
    f"{_MOE}.oracle.unquantized": {"UnquantizedMoeBackend.CPU": ()},
    "vllm._custom_ops": {"moe_sum": ("input", "output")},
    "vllm.model_executor.utils": {"replace_parameter": ("layer", "param_name", "new_tensor")},
    "vllm.model_executor.custom_op": {"op_registry_oot": ()},
    "vllm.platforms": {"current_platform": ()},
    "vllm.envs": {"VLLM_BATCH_INVARIANT": ()},
}
"""Attributes by module, with the parameters that each must have."""


def missing() -> list[str]:
    """What the installed vLLM lacks of NAMES; empty where the plugin can work."""
    lacks: list[str] = []
    for module, attributes in NAMES.items():
        try:
            found: object = importlib.import_module(module)
        except ImportError as error:
            lacks.append(f"{module} ({error})")
            continue
        for path, parameters in attributes.items():
            lacks += [f"{module}.{path}{lack}" for lack in _lacks(found, path, parameters)]
    return lacks


def tested(version: str) -> bool:
    """Whether a vLLM version is one on which the plugin was tried."""
    return re.match(rf"{re.escape(TESTED)}(\.|$|\+)", version) is not None


def _lacks(found: object, path: str, parameters: tuple[str, ...]) -> list[str]:
    for name in path.split("."):
        if not hasattr(found, name):
            return [""]
        found = getattr(found, name)
    has = inspect.signature(found).parameters if callable(found) and parameters else {}
    return [f"({name})" for name in parameters if name not in has]
