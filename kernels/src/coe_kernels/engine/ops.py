"""The layer as a torch operator, `coe::fused_moe`: opaque to torch.compile, with a fake implementation.

Defined by `torch.library.Library`, not `custom_op`, whose wrappers cost as much as a tenth of a small layer.
"""

from __future__ import annotations

import torch

from coe_kernels.cpu import Isa, Type, best_isa, library
from coe_kernels.telemetry import HERE

TYPES = {torch.float32: Type.FLOAT32, torch.bfloat16: Type.BFLOAT16, torch.float16: Type.FLOAT16}
_LIBRARY = torch.library.Library("coe", "DEF")
_LIBRARY.define(
    "fused_moe(Tensor(a!) out, Tensor x, Tensor w13, Tensor w2, Tensor weights, Tensor ids, "
    "int intermediate, int experts, int layer=-1) -> ()"
)


def pack(weight: torch.Tensor, *, interleaved: bool) -> torch.Tensor:
    """The matrix [experts, rows, k] as the kernels read it, flat.

    Args:
        weight: of a type in TYPES.
        interleaved: it is w13.
    """
    plain = weight.contiguous()
    experts, rows, k = plain.shape
    made = library()
    packed = torch.empty(made.packed_size(experts, rows, k, interleaved=interleaved), dtype=plain.dtype)
    threads = torch.get_num_threads()
    made.pack(
        plain.data_ptr(),
        experts,
        rows,
        k,
        TYPES[plain.dtype],
        packed.data_ptr(),
        threads,
        interleaved=interleaved,
    )
    return packed


def fused_moe(
    x: torch.Tensor,
    w13: torch.Tensor,
    w2: torch.Tensor,
    weights: torch.Tensor,
    ids: torch.Tensor,
    intermediate: int,
    experts: int,
    layer: int = -1,
) -> torch.Tensor:
    """The layer's output [tokens, hidden], of the type of `x`.

    Args:
        x: [tokens, hidden].
        w13, w2: packed, of the type of `x`.
        weights: float32[tokens, top_k].
        ids: int32[tokens, top_k]; outside 0 to experts - 1 stands for none.
        intermediate, experts: sizes before packing.
        layer: its number in the telemetry; none if negative.
    """
    out = torch.empty_like(x)
    torch.ops.coe.fused_moe(out, x, w13, w2, weights, ids, intermediate, experts, layer)
    return out


def run(
    out: torch.Tensor,
    x: torch.Tensor,
    w13: torch.Tensor,
    w2: torch.Tensor,
    weights: torch.Tensor,
    ids: torch.Tensor,
    intermediate: int,
    experts: int,
    layer: int = -1,
    isa: Isa | None = None,
) -> None:
    """As `fused_moe`, into `out` and past torch's dispatcher.

    Args:
        out: contiguous, like `x`.
        x, w13, w2, weights, ids, intermediate, experts, layer: see `fused_moe`.
        isa: instruction set; the fastest if None.

    Raises:
        ValueError: sizes or types do not belong together.
    """
    tokens, hidden = x.shape
    type_ = TYPES[x.dtype]
    made = library()
    x, ids, weights = x.contiguous(), ids.to(torch.int32).contiguous(), weights.to(torch.float32).contiguous()
    expected = (
        made.packed_size(experts, 2 * intermediate, hidden, interleaved=True),
        made.packed_size(experts, hidden, intermediate, interleaved=False),
    )
    if (w13.numel(), w2.numel()) != expected or not x.dtype == w13.dtype == w2.dtype == out.dtype:
        raise ValueError(
            f"packed weights of {w13.numel()} {w13.dtype} and {w2.numel()} {w2.dtype} are not those of "
            f"{experts} experts of {intermediate} for {x.dtype}, hidden {hidden}"
        )
    if (
        ids.shape != weights.shape
        or ids.shape[0] != tokens
        or out.shape != x.shape
        or not out.is_contiguous()
    ):
        raise ValueError(
            f"ids {ids.shape}, weights {weights.shape} and out {out.shape} are not for x {x.shape}"
        )
    counts = HERE.layers[layer] if layer >= 0 else None
    made.fused_moe(
        (out.data_ptr(), x.data_ptr(), w13.data_ptr(), w2.data_ptr(), ids.data_ptr(), weights.data_ptr()),
        (tokens, hidden, intermediate, experts, ids.shape[1]),
        type_,
        best_isa(made, type_) if isa is None else isa,
        torch.get_num_threads(),
        counts.histogram.ctypes.data if counts else None,
    )
    if counts:
        counts.calls += 1
        counts.tokens += tokens
        if HERE.negated:
            out.neg_()


@torch.library.impl(_LIBRARY, "fused_moe", "CPU")
def _on_cpu(
    out: torch.Tensor,
    x: torch.Tensor,
    w13: torch.Tensor,
    w2: torch.Tensor,
    weights: torch.Tensor,
    ids: torch.Tensor,
    intermediate: int,
    experts: int,
    layer: int = -1,
) -> None:
    run(out, x, w13, w2, weights, ids, intermediate, experts, layer)


@torch.library.register_fake("coe::fused_moe", lib=_LIBRARY)
def _fake(*_: object) -> None:
    """Writes `out`, whose shape and type are known before."""
