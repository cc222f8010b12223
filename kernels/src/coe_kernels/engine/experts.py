"""vLLM's CPU experts, with our kernels."""

from __future__ import annotations

from typing import Any

import torch
from vllm.model_executor.layers.fused_moe.activation import MoEActivation
from vllm.model_executor.layers.fused_moe.experts.cpu_moe import CPUUnquantizedExperts

from coe_kernels.cpu import Type, best_isa, library
from coe_kernels.engine import ops
from coe_kernels.telemetry import HERE


class CoeCpuExperts(CPUUnquantizedExperts):
    """Unquantised bfloat16 experts with SwiGLU. The packed weights take the places of the plain ones."""

    def process_weights_after_loading(self, layer: torch.nn.Module) -> None:
        """Packs the layer's weights in place: at the first loading and after every later one."""
        self.pack(layer)
        experts, _, hidden = layer.w13_weight.shape
        kernel = best_isa(library(), Type.BFLOAT16).name
        self._experts, self._intermediate = experts, layer.w2_weight.shape[2]
        name = getattr(layer, "layer_name", "") or f"{len(HERE.layers)} ({experts} experts of {hidden})"
        self._layer = HERE.add(name, kernel, experts)

    @staticmethod
    def pack(layer: torch.nn.Module) -> None:
        """Replaces plain weights by packed ones, in the same memory and under the same shape."""
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
        by_name = dict(zip(_REST, _args, strict=False)) | _kwargs
        if by_name.get("apply_router_weight_on_input"):
            topk_weights = torch.ones_like(topk_weights)
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
