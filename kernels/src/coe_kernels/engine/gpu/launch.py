"""Running the Triton kernels on tensors, on a GPU or in Triton's interpreter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import triton

from coe_kernels.engine.gpu import kernels
from coe_kernels.tuned import for_gate_up

FEW_TOKENS = 8
"""Up to here the kernels for decoding are meant."""
DECODE = {"BLOCK_N": 8, "BLOCK_K": 256, "num_warps": 4, "num_stages": 3}


@dataclass(frozen=True, slots=True)
class Groups:
    """Slots (a token and one of its experts) by expert: as vLLM's `moe_align_block_size` gives them.

    Attributes:
        order: int32[capacity], slots; numbers from tokens · top_k on are padding.
        block_experts: int32[capacity / BLOCK_M], each block's expert; -1 for none.
        padded: int32[1], how many of `order` count.
    """

    order: torch.Tensor
    block_experts: torch.Tensor
    padded: torch.Tensor


def align(ids: torch.Tensor, block: int, experts: int) -> Groups:
    """Groups by torch alone, where vLLM's CUDA operator is not.

    Args:
        ids: int32[tokens, top_k]; outside 0 to experts - 1 stands for none.
        block: rows of a block.
        experts: of the layer.
    """
    flat = ids.flatten().to(torch.int64)
    kept = torch.where((flat >= 0) & (flat < experts), flat, experts)
    counts = torch.bincount(kept, minlength=experts + 1)
    sizes = (counts + block - 1) // block * block
    starts = torch.cumsum(sizes, 0) - sizes
    ranked = torch.argsort(kept, stable=True)
    within = torch.arange(flat.numel(), device=ids.device) - (torch.cumsum(counts, 0) - counts)[kept[ranked]]
    total = int(sizes.sum())
    order = torch.full((total,), flat.numel(), dtype=torch.int32, device=ids.device)
    order[starts[kept[ranked]] + within] = ranked.to(torch.int32)
    numbers = torch.arange(experts + 1, device=ids.device, dtype=torch.int32)
    numbers[experts] = -1
    block_experts = torch.repeat_interleave(numbers, sizes // block)
    return Groups(order, block_experts, torch.tensor([total], dtype=torch.int32, device=ids.device))


def decode(
    out: torch.Tensor,
    x: torch.Tensor,
    w13: torch.Tensor,
    w2: torch.Tensor,
    weights: torch.Tensor,
    ids: torch.Tensor,
    inner: torch.Tensor,
    config: Mapping[str, int] = DECODE,
) -> None:
    """The layer for few tokens, in two launches.

    Args:
        out: [tokens, hidden], written.
        x: [tokens, hidden].
        w13, w2: as vLLM stores them.
        weights: float32[tokens, top_k].
        ids: int32[tokens, top_k]; outside the layer stands for none.
        inner: [tokens · top_k, intermediate], scratch.
        config: sizes of blocks, and Triton's options.
    """
    tokens, hidden = x.shape
    (experts, _, intermediate), top_k = w2.shape, ids.shape[1]
    sizes = (hidden, intermediate, experts)
    across = triton.cdiv(intermediate, config["BLOCK_N"])
    kernels.decode_gate_up[(tokens * top_k, across)](x, w13, ids, inner, *sizes, TOP_K=top_k, **config)
    down = (tokens, triton.cdiv(hidden, config["BLOCK_N"]))
    kernels.decode_down[down](inner, w2, ids, weights, out, *sizes, TOP_K=top_k, **config)


def grouped(
    answers: torch.Tensor,
    x: torch.Tensor,
    w13: torch.Tensor,
    w2: torch.Tensor,
    weights: torch.Tensor,
    groups: Groups,
    inner: torch.Tensor,
    config: Mapping[str, int],
    *,
    upcast: bool = False,
) -> None:
    """The layer for many tokens: each slot's weighted answer, whose sum over a token's slots is its output.

    Args:
        answers: [tokens, top_k, hidden], written.
        x, w13, w2, weights: as of `decode`.
        groups: made with the config's BLOCK_SIZE_M.
        inner: [tokens · top_k, intermediate], scratch.
        config: as of `coe_kernels.tuned`.
        upcast: products in float32; for bfloat16 in the interpreter.
    """
    (tokens, hidden), intermediate, top_k = x.shape, w2.shape[2], weights.shape[1]
    # Blocks are at most as many as slots, whatever room there is for padding.
    capacity = min(groups.order.numel(), tokens * top_k * config["BLOCK_SIZE_M"])
    sizes = (tokens * top_k, hidden, intermediate, capacity)
    blocks = triton.cdiv(capacity, config["BLOCK_SIZE_M"])
    grouping = (groups.order, groups.block_experts, groups.padded)
    first, second = _constants(for_gate_up(config), upcast), _constants(config, upcast)
    kernels.grouped_gate_up[(blocks * triton.cdiv(intermediate, first["BLOCK_N"]),)](
        x, w13, inner, *grouping, *sizes, TOP_K=top_k, **first
    )
    kernels.grouped_down[(blocks * triton.cdiv(hidden, second["BLOCK_N"]),)](
        inner, w2, answers, *grouping, weights, *sizes, **second
    )


def _constants(config: Mapping[str, int], upcast: bool) -> dict[str, int | bool]:
    """The kernels' names for what a configuration says."""
    tile = {f"BLOCK_{one}": config[f"BLOCK_SIZE_{one}"] for one in "MNK"}
    options = {name: config[name] for name in ("num_warps", "num_stages") if name in config}
    return {**tile, **options, "GROUP_M": config["GROUP_SIZE_M"], "UPCAST": upcast}
