"""The Triton kernels. Needs Triton, and neither vLLM nor a GPU: they run in its interpreter too.

Weights are as vLLM stores them: w13 [experts, 2 · intermediate, hidden], gate rows first; w2 [experts,
hidden, intermediate]; all contiguous. `UPCAST` converts operands to float32 before products, for Triton's
interpreter, whose bfloat16 products are wrong without a word; on a GPU it is never set.

Decoding (few tokens): one program owns a block of outputs of one token, and reads each weight that it needs
once. Nothing is sorted, padded or added up by a kernel of its own: two launches, where vLLM has five.

Grouped (many tokens): blocks of rows of one expert, as vLLM's kernel; gate and up are products of the same
rows and meet in registers, so that SwiGLU costs neither a launch nor a way through memory.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def decode_gate_up(
    x, w13, ids, inner,
    hidden, intermediate, experts,
    TOP_K: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """inner[slot, n] = silu(gate) · up, of one slot (a token and one of its experts) and BLOCK_N outputs."""
    slot = tl.program_id(0)
    expert = tl.load(ids + slot).to(tl.int64)
    if (expert < 0) | (expert >= experts):
        return  # `decode_down` does not read it
    token = (slot // TOP_K).to(tl.int64)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    k = tl.arange(0, BLOCK_K)
    inside = n < intermediate
    gates = w13 + expert * 2 * intermediate * hidden + n[:, None].to(tl.int64) * hidden + k[None, :]
    ups = gates + intermediate.to(tl.int64) * hidden
    row = x + token * hidden + k
    gate = tl.zeros((BLOCK_N, BLOCK_K), tl.float32)
    up = tl.zeros((BLOCK_N, BLOCK_K), tl.float32)
    for start in range(0, hidden, BLOCK_K):
        there = k < hidden - start
        both = inside[:, None] & there[None, :]
        values = tl.load(row + start, mask=there, other=0.0).to(tl.float32)[None, :]
        gate += tl.load(gates + start, mask=both, other=0.0).to(tl.float32) * values
        up += tl.load(ups + start, mask=both, other=0.0).to(tl.float32) * values
    g = tl.sum(gate, 1)
    answer = g / (1.0 + tl.exp(-g)) * tl.sum(up, 1)
    tl.store(inner + slot.to(tl.int64) * intermediate + n, answer.to(inner.dtype.element_ty), mask=inside)


@triton.jit
def decode_down(
    inner, w2, ids, weights, out,
    hidden, intermediate, experts,
    TOP_K: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """out[token, n] = Σ weight · w2 · inner over the token's experts, of one token and BLOCK_N outputs."""
    token = tl.program_id(0).to(tl.int64)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    k = tl.arange(0, BLOCK_K)
    inside = n < hidden
    total = tl.zeros((BLOCK_N, BLOCK_K), tl.float32)
    for choice in range(TOP_K):
        slot = token * TOP_K + choice
        expert = tl.load(ids + slot).to(tl.int64)
        if (expert >= 0) & (expert < experts):
            weight = tl.load(weights + slot).to(tl.float32)
            columns = (
                w2 + expert * hidden * intermediate + n[:, None].to(tl.int64) * intermediate + k[None, :]
            )
            row = inner + slot * intermediate + k
            part = tl.zeros((BLOCK_N, BLOCK_K), tl.float32)
            for start in range(0, intermediate, BLOCK_K):
                there = k < intermediate - start
                both = inside[:, None] & there[None, :]
                values = tl.load(row + start, mask=there, other=0.0).to(tl.float32)[None, :]
                part += tl.load(columns + start, mask=both, other=0.0).to(tl.float32) * values
            total += weight * part
    tl.store(out + token * hidden + n, tl.sum(total, 1).to(out.dtype.element_ty), mask=inside)


@triton.jit
def _tile(count, columns, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, GROUP_M: tl.constexpr):
    """The program's block of rows and of columns: GROUP_M blocks of rows share columns in the cache."""
    program = tl.program_id(0)
    blocks_m, blocks_n = tl.cdiv(count, BLOCK_M), tl.cdiv(columns, BLOCK_N)
    group = program // (GROUP_M * blocks_n)
    first = group * GROUP_M
    size = min(blocks_m - first, GROUP_M)
    within = program % (GROUP_M * blocks_n)
    return first + within % size, within // size


@triton.jit
def grouped_gate_up(
    x, w13, inner, order, block_experts, padded,
    slots, hidden, intermediate, capacity,
    TOP_K: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """inner[slot, n] = silu(gate) · up of BLOCK_M slots of one expert and BLOCK_N outputs.

    `order` has the slots by expert, each expert's padded to a multiple of BLOCK_M by numbers from `slots` on;
    `block_experts` each block's expert, -1 for none; `padded` how many of `order` count.
    """
    block_m, block_n = _tile(capacity, intermediate, BLOCK_M, BLOCK_N, GROUP_M)
    if block_m * BLOCK_M >= tl.load(padded):
        return
    expert = tl.load(block_experts + block_m).to(tl.int64)
    if expert < 0:
        return
    slot = tl.load(order + block_m * BLOCK_M + tl.arange(0, BLOCK_M)).to(tl.int64)
    real = slot < slots
    n = block_n * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = n < intermediate
    k = tl.arange(0, BLOCK_K)
    rows = x + (slot // TOP_K)[:, None] * hidden + k[None, :]
    gates = w13 + expert * 2 * intermediate * hidden + n[None, :].to(tl.int64) * hidden + k[:, None]
    ups = gates + intermediate.to(tl.int64) * hidden
    gate = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    up = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for start in range(0, hidden, BLOCK_K):
        there = k < hidden - start
        a = tl.load(rows + start, mask=real[:, None] & there[None, :], other=0.0)
        both = there[:, None] & inside[None, :]
        g = tl.load(gates + start, mask=both, other=0.0)
        u = tl.load(ups + start, mask=both, other=0.0)
        if UPCAST:
            a, g, u = a.to(tl.float32), g.to(tl.float32), u.to(tl.float32)
        gate = tl.dot(a, g, gate)
        up = tl.dot(a, u, up)
    answer = gate / (1.0 + tl.exp(-gate)) * up
    to = inner + slot[:, None] * intermediate + n[None, :]
    tl.store(to, answer.to(inner.dtype.element_ty), mask=real[:, None] & inside[None, :])


@triton.jit
def grouped_down(
    inner, w2, answers, order, block_experts, padded, weights,
    slots, hidden, intermediate, capacity,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """answers[slot, n] = weight · w2 · inner of BLOCK_M slots of one expert and BLOCK_N outputs."""
    block_m, block_n = _tile(capacity, hidden, BLOCK_M, BLOCK_N, GROUP_M)
    if block_m * BLOCK_M >= tl.load(padded):
        return
    slot = tl.load(order + block_m * BLOCK_M + tl.arange(0, BLOCK_M)).to(tl.int64)
    real = slot < slots
    n = block_n * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = n < hidden
    to = answers + slot[:, None] * hidden + n[None, :]
    expert = tl.load(block_experts + block_m).to(tl.int64)
    total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    if expert >= 0:
        k = tl.arange(0, BLOCK_K)
        rows = inner + slot[:, None] * intermediate + k[None, :]
        columns = w2 + expert * hidden * intermediate + n[None, :].to(tl.int64) * intermediate + k[:, None]
        for start in range(0, intermediate, BLOCK_K):
            there = k < intermediate - start
            a = tl.load(rows + start, mask=real[:, None] & there[None, :], other=0.0)
            b = tl.load(columns + start, mask=there[:, None] & inside[None, :], other=0.0)
            if UPCAST:
                a, b = a.to(tl.float32), b.to(tl.float32)
            total = tl.dot(a, b, total)
        total *= tl.load(weights + slot, mask=real, other=0.0).to(tl.float32)[:, None]
    tl.store(to, total.to(answers.dtype.element_ty), mask=real[:, None] & inside[None, :])
