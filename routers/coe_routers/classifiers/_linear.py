"""One linear layer over n-grams and embedding: multinomial logistic regression, or class centroids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe_routers.features import Encoded, SparseRow


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
    _packed: NDArray[np.void] | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        packed = None
        if self.lexical is not None and self.lexical_scales is not None:
            packed = _pack(self.lexical, self.lexical_scales)
        object.__setattr__(self, "_packed", packed)

    @property
    def packed(self) -> NDArray[np.void] | None:
        """Each bucket's n-gram weights and, in its last four bytes, its scale."""
        return self._packed

    @property
    def columns(self) -> int:
        """How many columns the logits have."""
        return len(self.bias)

    def logits(self, encoded: Encoded) -> NDArray[np.float32]:
        """float32[n, c]. Row by row, so that a batch gives bit by bit what single prompts give."""
        logits = np.empty((len(encoded), len(self.bias)), np.float32)
        logits[:] = self.bias
        for row, total in enumerate(logits):
            if encoded.dense is not None and self.dense is not None:
                total += encoded.dense[row].dot(self.dense)
            if encoded.lexical is not None and self._packed is not None:
                _add_lexical(total, encoded.lexical[row], self._packed)
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


def _add_lexical(total: NDArray[np.float32], row: SparseRow, packed: NDArray[np.void]) -> None:
    taken = packed.take(row.buckets)
    width = taken.itemsize
    weights = taken.view(np.int8).reshape(-1, width).astype(np.float32)
    scales = taken.view(np.float32)[width // 4 - 1 :: width // 4]
    values: NDArray[np.float32] = row.values * scales
    total += values @ weights[:, : len(total)]


def _pack(weights: NDArray[np.int8], scales: NDArray[np.float32]) -> NDArray[np.void]:
    """Each bucket's weights and, in its last four bytes, its scale.

    One look-up for both, in pieces of 16 bytes: a size that numpy copies quickly.
    """
    buckets, columns = weights.shape
    width = -(-(columns + 4) // 16) * 16
    table = np.zeros((buckets, width), np.int8)
    table[:, :columns] = weights
    table[:, -4:] = np.ascontiguousarray(scales, "<f4").view(np.int8).reshape(buckets, 4)
    return table.view(f"V{width}").ravel()


def quantise_rows(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """float32[n, c] to int8[n, c] and one scale for each row, float32[n]."""
    scales = (np.abs(weights).max(axis=1) / 127).astype(np.float32)
    safe = np.where(scales > 0, scales, np.float32(1))
    return np.rint(weights / safe[:, None]).astype(np.int8), scales
