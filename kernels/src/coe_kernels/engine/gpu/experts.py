"""vLLM's Triton experts, with our kernels where they cover the call."""

from __future__ import annotations

from typing import Any

import torch
from vllm.model_executor.layers.fused_moe.activation import MoEActivation
from vllm.model_executor.layers.fused_moe.experts.triton_moe import TritonExperts
from vllm.model_executor.layers.fused_moe.utils import _resize_cache

from coe_kernels.engine.gpu.launch import FEW_TOKENS
from coe_kernels.engine.gpu.layer import run_layer


class CoeTritonExperts(TritonExperts):
    """Unquantised experts with SwiGLU: few tokens in two launches, many with a fused activation.

    Everything else is vLLM's own: its weights, workspaces and tuned configurations, and its kernel for
    adapters, expert parallelism, other activations and quantised weights.
    """

    upcast = False
    """Products in float32: for bfloat16 in Triton's interpreter."""

    def apply(
        self,
        output: torch.Tensor,
        hidden_states: torch.Tensor,
        w1: torch.Tensor,
        w2: torch.Tensor,
        topk_weights: torch.Tensor,
        topk_ids: torch.Tensor,
        activation: MoEActivation,
        global_num_experts: int,
        expert_map: torch.Tensor | None,
        a1q_scale: torch.Tensor | None,
        a2_scale: torch.Tensor | None,
        workspace13: torch.Tensor,
        workspace2: torch.Tensor,
        expert_tokens_meta: Any,
        apply_router_weight_on_input: bool,
    ) -> None:
        """The layer."""
        covered = (
            activation == MoEActivation.SILU
            and self.activation_config.clamp_limit is None
            and expert_map is None
            and self._lora_context is None
            and self.quant_dtype is None
            and not apply_router_weight_on_input
            and hidden_states.dtype == w1.dtype
            and w1.is_contiguous()
            and w2.is_contiguous()
        )
        if not covered:
            super().apply(
                output,
                hidden_states,
                w1,
                w2,
                topk_weights,
                topk_ids,
                activation,
                global_num_experts,
                expert_map,
                a1q_scale,
                a2_scale,
                workspace13,
                workspace2,
                expert_tokens_meta,
                apply_router_weight_on_input,
            )
            return
        (tokens, top_k), (_, hidden, intermediate) = topk_ids.shape, w2.shape
        few = tokens <= FEW_TOKENS
        # `output` may lie within workspace13: nothing is read from there when it is written.
        inner = _resize_cache(workspace2 if few else workspace13, (tokens * top_k, intermediate))
        answers = None if few else _resize_cache(workspace2, (tokens, top_k, hidden))
        run_layer(
            output,
            hidden_states,
            w1,
            w2,
            topk_weights,
            topk_ids,
            inner,
            answers,
            upcast=self.upcast,
        )
