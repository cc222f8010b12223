"""vLLM's CPU experts, with our kernels."""

from __future__ import annotations

from typing import Any

import torch
from vllm.model_executor.layers.fused_moe.activation import MoEActivation
from vllm.model_executor.layers.fused_moe.experts.cpu_moe import CPUUnquantizedExperts
from vllm.model_executor.layers.fused_moe.experts.lora_context import MoELoRAContext
from vllm.model_executor.layers.fused_moe.experts.lora_experts_mixin import LoRAExpertsMixin
from vllm.model_executor.utils import replace_parameter

from coe.errors import PluginError
from coe_kernels.cpu import best_isa, library
from coe_kernels.engine import ops
from coe_kernels.settings import Weights, weights
from coe_kernels.telemetry import HERE


class CoeCpuExperts(CPUUnquantizedExperts):
    """Unquantised bfloat16 experts with SwiGLU. The packed weights take the places of the plain ones."""

    def process_weights_after_loading(self, layer: torch.nn.Module) -> None:
        """Packs the layer's weights in place: at the first loading and after every later one."""
        experts, _, hidden = layer.w13_weight.shape
        kernel = best_isa(library(), ops.TYPES[layer.w13_weight.dtype]).name
        self._experts, self._intermediate = experts, layer.w2_weight.shape[2]
        if self.rounds(layer):
            kernel += " int8"
        self.pack(layer)
        name = getattr(layer, "layer_name", "") or f"{len(HERE.layers)} ({experts} experts of {hidden})"
        self._layer = HERE.add(name, kernel, experts)

    @staticmethod
    def rounds(layer: torch.nn.Module) -> bool:
        """Whether the layer's weights are to have 8 bits."""
        return weights() is Weights.INT8 and layer.w13_weight.dtype is torch.bfloat16

    @classmethod
    def pack(cls, layer: torch.nn.Module) -> None:
        """Replaces plain weights by packed ones: in the same memory and under the same shape, or by int8."""
        if cls.rounds(layer):
            for name, interleaved in (("w13_weight", True), ("w2_weight", False)):
                rounded = ops.pack_int8(getattr(layer, name).data, interleaved=interleaved)
                replace_parameter(layer, name, rounded)
            return
        for name, interleaved in (("w13_weight", True), ("w2_weight", False)):
            weight = getattr(layer, name).data
            weight.copy_(ops.pack(weight, interleaved=interleaved).view_as(weight))

    def apply(
        self,
        output: torch.Tensor,
        hidden_states: torch.Tensor,
        w1: torch.Tensor,
        w2: torch.Tensor,
        topk_weights: torch.Tensor,
        topk_ids: torch.Tensor,
        activation: MoEActivation,
        *_args: Any,
        **_kwargs: Any,
    ) -> None:
        """The layer. Where vLLM says so, the router's weights are in `hidden_states` already."""
        topk_weights = _router_weights(topk_weights, _args, _kwargs)
        torch.ops.coe.fused_moe(
            output,
            hidden_states,
            w1,
            w2,
            topk_weights,
            topk_ids,
            self._intermediate,
            self._experts,
            self._layer,
        )


_REST = (
    "global_num_experts",
    "expert_map",
    "a1q_scale",
    "a2_scale",
    "workspace13",
    "workspace2",
    "expert_tokens_meta",
    "apply_router_weight_on_input",
)


def _router_weights(weights: torch.Tensor, rest: tuple[Any, ...], named: dict[str, Any]) -> torch.Tensor:
    by_name = dict(zip(_REST, rest, strict=False)) | named
    return torch.ones_like(weights) if by_name.get("apply_router_weight_on_input") else weights


class CoeCpuLoraExperts(LoRAExpertsMixin, CoeCpuExperts):
    """The same with adapters, which vLLM's own classes for CPUs lack. Weights keep their type."""

    @staticmethod
    def rounds(layer: torch.nn.Module) -> bool:
        """Never: the plain weights must come back from the packed ones."""
        return False

    def set_lora_context(self, ctx: MoELoRAContext) -> None:
        """As vLLM. Raises `PluginError` for adapters that are spread over devices along their rank."""
        if ctx.fully_sharded:
            raise PluginError(
                "fully sharded adapters on experts are not for CPUs: leave --fully-sharded-loras out"
            )
        super().set_lora_context(ctx)

    def apply(
        self,
        output: torch.Tensor,
        hidden_states: torch.Tensor,
        w1: torch.Tensor,
        w2: torch.Tensor,
        topk_weights: torch.Tensor,
        topk_ids: torch.Tensor,
        activation: MoEActivation,
        *_args: Any,
        **_kwargs: Any,
    ) -> None:
        """The layer, with each token's adapter."""
        context = self._lora_context
        if context is None:
            super().apply(
                output, hidden_states, w1, w2, topk_weights, topk_ids, activation, *_args, **_kwargs
            )
            return
        # Shared halves are stored once for all experts.
        stacks = [
            one.expand(-1, self._experts, -1, -1)
            for one in (
                *context.w13_lora_a_stacked,
                *context.w13_lora_b_stacked,
                *context.w2_lora_a_stacked,
                *context.w2_lora_b_stacked,
            )
        ]
        torch.ops.coe.fused_moe_adapters(
            output,
            hidden_states,
            w1,
            w2,
            _router_weights(topk_weights, _args, _kwargs),
            topk_ids,
            context.punica_wrapper.token_lora_indices,
            stacks,
            self._intermediate,
            self._experts,
            self._layer,
        )
