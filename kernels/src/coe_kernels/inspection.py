"""What a model's sparse layers cost at least, and which kernel would serve them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coe_kernels.checkpoint import SparseModel
from coe_kernels.roofline import Device, Shape, distinct_experts, floor

DEVICES: Mapping[str, Device] = {
    "A100": Device(bytes_per_us=2.039e6, flops_per_us=312e6),
    "H100": Device(bytes_per_us=3.35e6, flops_per_us=989e6),
    "H200": Device(bytes_per_us=4.8e6, flops_per_us=989e6),
    "B200": Device(bytes_per_us=8.0e6, flops_per_us=2250e6),
}
"""The makers' figures for bfloat16 without sparsity, of the SXM boards."""
_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One layer with one batch.

    Attributes:
        tokens: of the batch.
        distinct: experts that it is expected to use.
        bytes_moved, flops: at least.
        us: at least, on the device; None without one.
        bound: what `us` comes from.
    """

    tokens: int
    distinct: float
    bytes_moved: float
    flops: float
    us: float | None
    bound: str | None


def costs(
    model: SparseModel,
    batches: Sequence[int],
    device: Device | None = None,
    histograms: Mapping[str, NDArray[np.int64]] | None = None,
) -> list[Cost]:
    """What each batch costs a layer; with histograms the mean over their layers."""
    shape = Shape(
        hidden=model.hidden,
        intermediate=model.intermediate,
        experts=model.experts,
        top_k=model.top_k,
        weight_bytes=_BYTES.get(model.dtype, 1.0) if model.quantised is None else 1.0,
    )
    found: list[Cost] = []
    for tokens in batches:
        recorded = [distinct_experts(shape, tokens, uses.tolist()) for uses in (histograms or {}).values()]
        distinct = float(np.mean(recorded)) if recorded else distinct_experts(shape, tokens)
        least = floor(shape, tokens, device or DEVICES["H100"], distinct)
        found.append(
            Cost(
                tokens=tokens,
                distinct=distinct,
                bytes_moved=least.bytes_moved,
                flops=least.flops,
                us=least.us if device else None,
                bound=least.bound if device else None,
            )
        )
    return found
