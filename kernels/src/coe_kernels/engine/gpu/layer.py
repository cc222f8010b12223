"""A layer by our Triton kernels: few tokens in two launches, many by vLLM's tuned tiles."""

from __future__ import annotations

import torch
from vllm.model_executor.layers.fused_moe.fused_moe import try_get_optimal_moe_config

from coe_kernels.engine.gpu.around import grouping, sum_slots
from coe_kernels.engine.gpu.launch import decode, grouped


def run_layer(
    out: torch.Tensor,
    x: torch.Tensor,
    w13: torch.Tensor,
    w2: torch.Tensor,
    router_weights: torch.Tensor,
    ids: torch.Tensor,
    inner: torch.Tensor,
    answers: torch.Tensor | None,
    *,
    upcast: bool = False,
) -> None:
    """Writes the layer's output.

    Args:
        out: [tokens, hidden]; for more than few tokens it may lie where `inner` does, which is read before.
        x: [tokens, hidden].
        w13: [experts, 2 * intermediate, hidden].
        w2: [experts, hidden, intermediate].
        router_weights: float32[tokens, top_k].
        ids: int[tokens, top_k].
        inner: room for [tokens * top_k, intermediate].
        answers: room for [tokens, top_k, hidden]; None for `launch.FEW_TOKENS` or fewer, which need none.
        upcast: products in float32: for bfloat16 in Triton's interpreter.
    """
    if answers is None:
        decode(out, x, w13, w2, router_weights, ids, inner)
        return
    tokens, top_k = ids.shape
    config = try_get_optimal_moe_config(w13.size(), w2.size(), top_k, None, tokens)
    groups = grouping(ids, config["BLOCK_SIZE_M"], len(w2))
    grouped(answers, x, w13, w2, router_weights, groups, inner, config, upcast=upcast)
    sum_slots(answers, out)
