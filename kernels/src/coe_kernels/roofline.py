"""The least time that a mixture-of-experts layer can take, from the bytes and operations of its shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A mixture-of-experts layer.

    Attributes:
        hidden, intermediate: of one expert, as it is on this device.
        experts: on this device.
        top_k: experts per token.
        weight_bytes: per weight (2 for bfloat16; for 8 bits with a scale for each 16 weights 1.125).
        activation_bytes: per activation.
    """

    hidden: int
    intermediate: int
    experts: int
    top_k: int
    weight_bytes: float = 2.0
    activation_bytes: int = 2

    def __post_init__(self) -> None:
        if not 1 <= self.top_k <= self.experts:
            raise ValueError(f"top_k is {self.top_k}, but must be from 1 to experts, {self.experts}")
        if min(self.hidden, self.intermediate) < 1:
            raise ValueError(
                f"hidden and intermediate must be positive, not {self.hidden}, {self.intermediate}"
            )

    @property
    def expert_weights(self) -> int:
        """Weights of one expert: gate, up and down."""
        return 3 * self.hidden * self.intermediate


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What a device can do at most, measured or stated.

    Attributes:
        bytes_per_us: memory read bandwidth (GB/s · 1,000).
        flops_per_us: of the arithmetic that the layer uses (TFLOP/s · 1,000,000).
    """

    bytes_per_us: float
    flops_per_us: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """The least that a layer can take.

    Attributes:
        us: microseconds.
        bytes_moved: weights of the distinct experts once, activations in and out.
        flops: multiplications and additions.
        bound: what `us` comes from, `memory` or `arithmetic`.
    """

    us: float
    bytes_moved: float
    flops: float
    bound: str


def distinct_experts(shape: Shape, tokens: int, histogram: Sequence[float] | None = None) -> float:
    """How many distinct experts `tokens` tokens are expected to use.

    Args:
        shape: of the layer.
        tokens: in the batch.
        histogram: how often each expert was used, float[experts]; uniform if None. A token uses an expert at
            most once, so a share above 1 / top_k counts as certain.

    Raises:
        ValueError: the histogram has another length or no uses.
    """
    if histogram is None:
        return shape.experts * (1.0 - (1.0 - shape.top_k / shape.experts) ** tokens)
    used = np.asarray(histogram, dtype=np.float64)
    if used.shape != (shape.experts,) or used.sum() <= 0 or used.min() < 0:
        raise ValueError(
            f"a histogram of {shape.experts} experts' uses is needed, not {used.shape} summing {used.sum()}"
        )
    chance = np.minimum(1.0, used / used.sum() * shape.top_k)
    return float((1.0 - (1.0 - chance) ** tokens).sum())


def floor(shape: Shape, tokens: int, device: Device, distinct: float | None = None) -> Floor:
    """The roofline of one layer for a batch.

    Args:
        shape: of the layer.
        tokens: in the batch.
        device: where it runs.
        distinct: experts that the batch uses; what is expected of uniform routing if None.
    """
    used = distinct_experts(shape, tokens) if distinct is None else distinct
    moved = used * shape.expert_weights * shape.weight_bytes
    moved += 2 * tokens * shape.hidden * shape.activation_bytes
    flops = 2.0 * tokens * shape.top_k * shape.expert_weights
    memory_us, arithmetic_us = moved / device.bytes_per_us, flops / device.flops_per_us
    bound = "memory" if memory_us >= arithmetic_us else "arithmetic"
    return Floor(us=max(memory_us, arithmetic_us), bytes_moved=moved, flops=flops, bound=bound)
