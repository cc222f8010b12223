"""The class that vLLM makes in place of its own for every unquantised mixture-of-experts layer."""

from __future__ import annotations

import torch
from vllm import envs
from vllm.logger import init_logger
from vllm.model_executor.custom_op import op_registry_oot
from vllm.model_executor.layers.fused_moe.config import FusedMoEConfig
from vllm.model_executor.layers.fused_moe.modular_kernel import FusedMoEExpertsModular
from vllm.model_executor.layers.fused_moe.oracle.unquantized import UnquantizedMoeBackend
from vllm.model_executor.layers.fused_moe.unquantized_fused_moe_method import UnquantizedFusedMoEMethod
from vllm.platforms import current_platform

from coe.errors import PluginError
from coe_kernels.cpu import Type, best_isa, library
from coe_kernels.engine.experts import CoeCpuExperts, CoeCpuLoraExperts
from coe_kernels.select import LayerFacts, reason_against, reason_against_triton
from coe_kernels.settings import Mode, Weights, mode, weights
from coe_kernels.telemetry import HERE

logger = init_logger("vllm.coe_kernels")


class CoeFusedMoEMethod(UnquantizedFusedMoEMethod):
    """vLLM's method, whose experts are ours where `coe_kernels.select` has nothing against it."""

    def __init__(self, moe: FusedMoEConfig) -> None:
        super().__init__(moe)
        replaced = self.experts_cls.__name__ if self.experts_cls else "none"
        chosen, reason = _choice(_facts(moe, replaced))
        if chosen is not None:
            self.experts_cls = chosen
            if issubclass(chosen, CoeCpuLoraExperts):
                # With adapters vLLM takes Triton's layout for granted, on a CPU too.
                self.unquantized_backend = UnquantizedMoeBackend.CPU
            return
        HERE.decline(reason)
        logger.info_once("coe-kernels leaves %s in place: %s", replaced, reason)
        if mode() is Mode.FORCE:
            raise PluginError(f"COE_KERNELS=force, but {reason}")

    def process_weights_after_loading(self, layer: torch.nn.Module) -> None:
        """As vLLM; weights that are loaded again are packed again, which vLLM does not ask of its experts."""
        again = self.moe_kernel is not None
        super().process_weights_after_loading(layer)
        if again and self.experts_cls in (CoeCpuExperts, CoeCpuLoraExperts):
            self.experts_cls.pack(layer)


def register() -> None:
    """Makes vLLM use the class above. Does nothing the second time.

    Raises:
        PluginError: another plugin has replaced the class already.
    """
    name = UnquantizedFusedMoEMethod.__name__
    if name in op_registry_oot:
        if op_registry_oot[name] is not CoeFusedMoEMethod:
            raise PluginError(f"{op_registry_oot[name]} has already replaced {name}")
        return
    UnquantizedFusedMoEMethod.register_oot(CoeFusedMoEMethod)


def _facts(moe: FusedMoEConfig, replaced: str) -> LayerFacts:
    return LayerFacts(
        device=current_platform.device_type,
        dtype=str(moe.in_dtype).removeprefix("torch."),
        hidden=moe.hidden_dim,
        intermediate=moe.intermediate_size_per_partition,
        activation=moe.activation.value if moe.swiglu_limit is None else "clamped",
        gated=moe.is_act_and_mul,
        biased=moe.has_bias,
        expert_parallel=moe.moe_parallel_config.use_ep,
        batch_invariant=bool(envs.VLLM_BATCH_INVARIANT),
        replaced=replaced,
        zentorch=hasattr(torch.ops.zentorch, "zentorch_fused_moe"),
        lora=moe.is_lora_enabled,
        int8=weights() is Weights.INT8,
        forced=mode() is Mode.FORCE,
    )


def _choice(facts: LayerFacts) -> tuple[type[FusedMoEExpertsModular] | None, str]:
    """Our class, or none and why."""
    if facts.device == "cpu":
        reason = _reason(facts)
        ours = CoeCpuLoraExperts if facts.lora else CoeCpuExperts
        return (ours, "") if reason is None else (None, reason)
    reason = reason_against_triton(facts)
    if reason is not None:
        return None, reason
    # Only now: it needs Triton, which CPUs lack.
    from coe_kernels.engine.gpu.experts import CoeTritonExperts

    return CoeTritonExperts, ""


def _reason(facts: LayerFacts) -> str | None:
    try:
        isa = best_isa(library(), Type.BFLOAT16)
    except PluginError as error:
        return reason_against(facts, None, f"{error}; {error.hint}" if error.hint else str(error))
    return reason_against(facts, isa)
