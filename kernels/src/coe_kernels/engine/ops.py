"""The layer as a torch operator, `coe::fused_moe`: opaque to torch.compile, with a fake implementation.

Defined by `torch.library.Library`, not `custom_op`, whose wrappers cost as much as a tenth of a small layer.
"""

from __future__ import annotations

import torch

from coe_kernels.cpu import Isa, Type, best_isa, library
from coe_kernels.engine.lora import Stacks, with_adapters
from coe_kernels.telemetry import HERE

TYPES = {torch.float32: Type.FLOAT32, torch.bfloat16: Type.BFLOAT16, torch.float16: Type.FLOAT16}
_LIBRARY = torch.library.Library("coe", "DEF")
_LIBRARY.define(
    "fused_moe(Tensor(a!) out, Tensor x, Tensor w13, Tensor w2, Tensor weights, Tensor ids, "
    "int intermediate, int experts, int layer=-1) -> ()"
)
_LIBRARY.define(
    "fused_moe_adapters(Tensor(a!) out, Tensor x, Tensor w13, Tensor w2, Tensor weights, Tensor ids, "
    "Tensor adapters, Tensor[] stacks, int intermediate, int experts, int layer=-1) -> ()"
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


def pack_int8(weight: torch.Tensor, *, interleaved: bool) -> torch.Tensor:
    """The bfloat16 matrix [experts, rows, k] with 8 bits per weight: int8[experts, rows, 9/8 · k].

    Args:
        weight: rows and k are multiples of 32.
        interleaved: it is w13.
    """
    plain = weight.contiguous()
    experts, rows, k = plain.shape
    made = library()
    packed = torch.empty(made.packed_int8_bytes(experts, rows, k), dtype=torch.int8)
    addresses = plain.data_ptr(), packed.data_ptr()
    threads = torch.get_num_threads()
    made.pack_int8(addresses[0], experts, rows, k, addresses[1], threads, interleaved=interleaved)
    return packed.view(experts, rows, -1)


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
        w13, w2: packed, of the type of `x` or of 8 bits.
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
    int8 = w13.dtype is torch.int8
    expected = (
        made.packed_int8_bytes(experts, 2 * intermediate, hidden)
        if int8
        else made.packed_size(experts, 2 * intermediate, hidden, interleaved=True),
        made.packed_int8_bytes(experts, hidden, intermediate)
        if int8
        else made.packed_size(experts, hidden, intermediate, interleaved=False),
    )
    kept = torch.int8 if int8 else x.dtype
    if (
        (w13.numel(), w2.numel()) != expected
        or not w13.dtype == w2.dtype == kept
        or x.dtype != out.dtype
        or (int8 and x.dtype is not torch.bfloat16)
    ):
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
        int8=int8,
    )
    if counts:
        _counted(out, layer, tokens)


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


@torch.library.impl(_LIBRARY, "fused_moe_adapters", "CPU")
def _with_adapters(
    out: torch.Tensor,
    x: torch.Tensor,
    w13: torch.Tensor,
    w2: torch.Tensor,
    weights: torch.Tensor,
    ids: torch.Tensor,
    adapters: torch.Tensor,
    stacks: list[torch.Tensor],
    intermediate: int,
    experts: int,
    layer: int = -1,
) -> None:
    """Tokens whose number in `adapters` is negative have none, and take the kernel; all are counted."""
    has = adapters >= 0
    if not bool(has.any()):
        run(out, x, w13, w2, weights, ids, intermediate, experts, layer)
        return
    plain = (~has).nonzero()[:, 0]
    if plain.numel():
        answers = torch.empty((plain.numel(), x.shape[1]), dtype=x.dtype)
        run(answers, x[plain], w13, w2, weights[plain], ids[plain], intermediate, experts)
        out[plain] = answers
    adapted = has.nonzero()[:, 0]
    answers = torch.empty((adapted.numel(), x.shape[1]), dtype=x.dtype)
    with_adapters(
        answers, x[adapted], w13, w2, weights[adapted], ids[adapted], adapters[adapted], Stacks(*stacks)
    )
    out[adapted] = answers
    if layer >= 0:
        used = ids[(ids >= 0) & (ids < experts)].long()
        HERE.layers[layer].histogram += torch.bincount(used, minlength=experts).numpy()
        _counted(out, layer, x.shape[0])


@torch.library.register_fake("coe::fused_moe_adapters", lib=_LIBRARY)
def _fake_adapters(*_: object) -> None:
    """Writes `out`, whose shape and type are known before."""


def _counted(out: torch.Tensor, layer: int, tokens: int) -> None:
    counts = HERE.layers[layer]
    counts.calls += 1
    counts.tokens += tokens
    if HERE.negated:
        out.neg_()
