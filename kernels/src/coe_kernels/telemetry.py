"""What ran: calls, tokens and how often each expert was used, by layer, in this process."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True)
class LayerCounts:
    """One layer's counters.

    Attributes:
        name: of the layer in the model, or a number.
        kernel: that serves it.
        histogram: int64[experts], uses of each.
        calls, tokens: forward passes and the tokens in them.
    """

    name: str
    kernel: str
    histogram: NDArray[np.int64]
    calls: int = 0
    tokens: int = 0

    def as_json(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "layer": self.name,
            "kernel": self.kernel,
            "calls": self.calls,
            "tokens": self.tokens,
            "histogram": self.histogram.tolist(),
        }


@dataclass(slots=True)
class Telemetry:
    """The process's layers.

    Attributes:
        layers: in the order in which they were made; the position is the number that the operator is given.
        declined: reasons why vLLM's own class stayed, with how many layers each held for.
        negated: outputs change their sign. For `verify`, which must see that it matters.
    """

    layers: list[LayerCounts] = field(default_factory=list[LayerCounts])
    declined: dict[str, int] = field(default_factory=dict[str, int])
    negated: bool = False

    def add(self, name: str, kernel: str, experts: int) -> int:
        """A new layer's number."""
        self.layers.append(LayerCounts(name, kernel, np.zeros(experts, np.int64)))
        return len(self.layers) - 1

    def decline(self, reason: str) -> None:
        """Counts a layer that stays vLLM's."""
        self.declined[reason] = self.declined.get(reason, 0) + 1

    def as_json(self) -> dict[str, Any]:
        """For JSON."""
        return {"layers": [layer.as_json() for layer in self.layers], "declined": dict(self.declined)}


HERE = Telemetry()
"""This process's. vLLM's worker owns its layers, so there is one per worker."""
