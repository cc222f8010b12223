"""One linear layer over n-grams and embedding: multinomial logistic regression, or class centroids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe_routers.features import Encoded


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearHead:
    """Weights of the layer, n-gram weights as int8 with one scale for each bucket.

    Attributes:
        lexical: int8[BUCKETS, c]; None without n-grams.
        lexical_scales: float32[BUCKETS]; bucket b weighs `lexical[b] * lexical_scales[b]`.
        dense: float32[dim, c]; None without an embedder.
        bias: float32[c].
    """

    lexical: NDArray[np.int8] | None
    lexical_scales: NDArray[np.float32] | None
    dense: NDArray[np.float32] | None
    bias: NDArray[np.float32]

    @property
    def columns(self) -> int:
        """How many columns the logits have."""
        return len(self.bias)

    def logits(self, encoded: Encoded) -> NDArray[np.float32]:
        """float32[n, c]. Row by row, so that a batch gives bit by bit what single prompts give."""
        logits = np.empty((len(encoded), len(self.bias)), np.float32)
        for row in range(len(encoded)):
            total = self.bias
            if encoded.dense is not None and self.dense is not None:
                total = total + encoded.dense[row] @ self.dense
            if encoded.lexical is not None and self.lexical is not None and self.lexical_scales is not None:
                sparse = encoded.lexical[row]
                values = sparse.values * self.lexical_scales.take(sparse.buckets)
                total = total + values @ self.lexical.take(sparse.buckets, axis=0).astype(np.float32)
            logits[row] = total
        return logits

    def tensors(self) -> dict[str, NDArray[Any]]:
        """What to save."""
        named = {
            "lexical": self.lexical,
            "lexical_scales": self.lexical_scales,
            "dense": self.dense,
            "bias": self.bias,
        }
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> LinearHead:
        """The saved head."""
        return cls(
            lexical=tensors.get("lexical"),
            lexical_scales=tensors.get("lexical_scales"),
            dense=tensors.get("dense"),
            bias=tensors["bias"],
        )


def quantise_rows(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """float32[n, c] to int8[n, c] and one scale for each row, float32[n]."""
    scales = (np.abs(weights).max(axis=1) / 127).astype(np.float32)
    safe = np.where(scales > 0, scales, np.float32(1))
    return np.rint(weights / safe[:, None]).astype(np.int8), scales
