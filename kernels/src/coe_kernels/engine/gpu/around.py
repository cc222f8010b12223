"""What goes on before and after the grouped kernels: by vLLM's operators on a GPU, by torch elsewhere."""

from __future__ import annotations

import torch

from coe_kernels.engine.gpu.launch import Groups, align


def grouping(ids: torch.Tensor, block: int, experts: int) -> Groups:
    """Slots by expert, in blocks."""
    if not ids.is_cuda:
        return align(ids, block, experts)
    from vllm.model_executor.layers.fused_moe.moe_align_block_size import moe_align_block_size

    return Groups(*moe_align_block_size(ids, block, experts))


def sum_slots(answers: torch.Tensor, out: torch.Tensor) -> None:
    """Writes Σ answers over each token's slots: [tokens, top_k, hidden] to [tokens, hidden]."""
    if not answers.is_cuda:
        torch.sum(answers, 1, out=out)
        return
    from vllm import _custom_ops

    _custom_ops.moe_sum(answers, out)
