"""The kernels on numpy arrays. bfloat16 has no numpy type: its arrays are uint16, upper halves of float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coe_kernels.cpu._library import Isa, Library, Type
from coe_kernels.reference import Routing

_TYPES = {"float32": Type.FLOAT32, "uint16": Type.BFLOAT16, "float16": Type.FLOAT16}


def to_bfloat16(values: NDArray[Any]) -> NDArray[np.uint16]:
    """Rounded to nearest even; values are finite."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bfloat16(values: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Exactly."""
    return (values.astype(np.uint32) << 16).view(np.float32)


@dataclass(frozen=True, slots=True)
class PackedLayer:
    """A layer's weights as the kernels read them.

    Attributes:
        w13, w2: flat, of the layer's type; int8 for weights of 8 bits.
        hidden, intermediate, experts: sizes before packing.
    """

    w13: NDArray[Any]
    w2: NDArray[Any]
    hidden: int
    intermediate: int
    experts: int


def pack(
    library: Library, w13: NDArray[Any], w2: NDArray[Any], threads: int = 1, *, int8: bool = False
) -> PackedLayer:
    """Packs a layer.

    Args:
        library: the built kernels.
        w13: [experts, 2 · intermediate, hidden], gate rows first.
        w2: [experts, hidden, intermediate], of the same type: float32, float16 or uint16 for bfloat16.
        threads: to pack with.
        int8: with 8 bits and a scale for each 16 of a row, from bfloat16; sizes are multiples of 32.
    """
    experts, hidden, intermediate = w2.shape
    if w13.shape != (experts, 2 * intermediate, hidden) or w13.dtype != w2.dtype:
        raise ValueError(f"w13 {w13.dtype}{w13.shape} does not belong to w2 {w2.dtype}{w2.shape}")
    packed: list[NDArray[Any]] = []
    for matrix in (w13, w2):
        plain = np.ascontiguousarray(matrix)
        _, rows, k = plain.shape
        if int8:
            if plain.dtype != np.uint16 or rows % 32 or k % 32:
                raise ValueError(
                    f"8-bit weights are made of bfloat16 in multiples of 32, not {plain.dtype}{plain.shape}"
                )
            out = np.empty(library.packed_int8_bytes(experts, rows, k), np.int8)
            addresses = plain.ctypes.data, out.ctypes.data
            library.pack_int8(
                addresses[0], experts, rows, k, addresses[1], threads, interleaved=matrix is w13
            )
            packed.append(out)
            continue
        size = library.packed_size(experts, rows, k, interleaved=matrix is w13)
        out = np.empty(size, plain.dtype)
        type_ = _TYPES[plain.dtype.name]
        library.pack(
            plain.ctypes.data, experts, rows, k, type_, out.ctypes.data, threads, interleaved=matrix is w13
        )
        packed.append(out)
    return PackedLayer(packed[0], packed[1], hidden, intermediate, experts)


def fused_moe(
    library: Library,
    x: NDArray[Any],
    layer: PackedLayer,
    routing: Routing,
    *,
    isa: Isa | None = None,
    threads: int = 1,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """The layer's output [tokens, hidden], of the type of `x`.

    Args:
        library: the built kernels.
        x: [tokens, hidden], of the layer's type.
        layer: packed.
        routing: of the tokens; ids outside the layer stand for none.
        isa: instruction set; the best for the type if None.
        threads: to use.
        out: where to write, contiguous; new if None.
    """
    tokens, hidden = x.shape
    int8 = layer.w13.dtype == np.int8
    if hidden != layer.hidden or x.dtype != (np.uint16 if int8 else layer.w13.dtype):
        raise ValueError(f"{x.dtype}{x.shape} is not for a layer of {layer.w13.dtype}, hidden {layer.hidden}")
    x, ids, weights = (
        np.ascontiguousarray(x),
        np.ascontiguousarray(routing.ids, dtype=np.int32),
        np.ascontiguousarray(routing.weights, dtype=np.float32),
    )
    if ids.ndim != 2 or ids.shape != weights.shape or ids.shape[0] != tokens:
        raise ValueError(f"ids {ids.shape} and weights {weights.shape} are not for {tokens} tokens")
    result = np.empty_like(x) if out is None else out
    type_ = _TYPES[x.dtype.name]
    library.fused_moe(
        tuple(array.ctypes.data for array in (result, x, layer.w13, layer.w2, ids, weights)),
        (tokens, hidden, layer.intermediate, layer.experts, ids.shape[1]),
        type_,
        best_isa(library, type_) if isa is None else isa,
        threads,
        int8=int8,
    )
    return result


def best_isa(library: Library, type_: Type) -> Isa:
    """The fastest instruction set that this machine has for a type."""
    return library.fastest if type_ is Type.BFLOAT16 else Isa.PORTABLE
