"""Experts with adapters, on a CPU: where vLLM's own class fails with the first token.

Tokens without an adapter take the fused kernel. The others' products are torch's, expert by expert, with what
the adapter adds before the activation and after the second product, which no packed kernel could.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Stacks:
    """The low-rank matrices of all loaded adapters; scaling is in the second of each pair.

    Attributes:
        gate_a, up_a: [adapters, experts, rank, hidden].
        gate_b, up_b: [adapters, experts, intermediate, rank].
        down_a: [adapters, experts, rank, intermediate].
        down_b: [adapters, experts, hidden, rank].
    """

    gate_a: torch.Tensor
    up_a: torch.Tensor
    gate_b: torch.Tensor
    up_b: torch.Tensor
    down_a: torch.Tensor
    down_b: torch.Tensor


def unpacked_w13(packed: torch.Tensor, expert: int) -> torch.Tensor:
    """Gate rows, then up rows of one expert, [2 · intermediate, hidden], from what `ops.pack` made.

    Args:
        packed: [experts, 2 · intermediate, hidden]; both sizes are multiples of 32.
        expert: its number.
    """
    _, rows, k = packed.shape
    # Panels of 16 gate and the 16 up rows of the same places; within, pairs in k lie side by side.
    panels = packed[expert].reshape(rows // 32, k // 2, 2, 16, 2)
    return panels.permute(2, 0, 3, 1, 4).reshape(rows, k)


def unpacked_w2(packed: torch.Tensor, expert: int) -> torch.Tensor:
    """One expert's [hidden, intermediate], likewise."""
    _, rows, k = packed.shape
    return packed[expert].reshape(rows // 32, k // 2, 32, 2).permute(0, 2, 1, 3).reshape(rows, k)


def with_adapters(
    out: torch.Tensor,
    x: torch.Tensor,
    w13: torch.Tensor,
    w2: torch.Tensor,
    weights: torch.Tensor,
    ids: torch.Tensor,
    adapters: torch.Tensor,
    stacks: Stacks,
) -> None:
    """The layer for tokens that all have an adapter.

    Args:
        out: [tokens, hidden], written.
        x: [tokens, hidden].
        w13, w2: packed, in the shape of the plain ones.
        weights: float32[tokens, top_k].
        ids: int32[tokens, top_k].
        adapters: int64[tokens], each token's place in the stacks.
        stacks: the adapters.
    """
    total = torch.zeros(x.shape, dtype=torch.float32)
    for expert in ids.unique().tolist():
        if not 0 <= expert < w13.shape[0]:
            continue
        tokens, slots = (ids == expert).nonzero(as_tuple=True)
        rows, chosen = x[tokens], adapters[tokens]
        gate, up = functional.linear(rows, unpacked_w13(w13, expert)).float().chunk(2, dim=1)
        gate = gate + _low_rank(rows, stacks.gate_a, stacks.gate_b, chosen, expert)
        up = up + _low_rank(rows, stacks.up_a, stacks.up_b, chosen, expert)
        inner = (functional.silu(gate) * up).to(x.dtype)
        answer = functional.linear(inner, unpacked_w2(w2, expert)).float()
        answer = answer + _low_rank(inner, stacks.down_a, stacks.down_b, chosen, expert)
        total.index_add_(0, tokens, answer * weights[tokens, slots, None].float())
    out.copy_(total)


def _low_rank(
    rows: torch.Tensor, first: torch.Tensor, second: torch.Tensor, chosen: torch.Tensor, expert: int
) -> torch.Tensor:
    """float32[rows, …]: each row through its adapter's two matrices of the expert."""
    added = torch.empty((rows.shape[0], second.shape[2]), dtype=torch.float32)
    for adapter in chosen.unique().tolist():
        where = chosen == adapter
        within = functional.linear(rows[where].float(), first[adapter, expert].float())
        added[where] = functional.linear(within, second[adapter, expert].float())
    return added
