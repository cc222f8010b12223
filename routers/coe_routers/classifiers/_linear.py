"""One linear layer over n-grams and embedding: multinomial logistic regression, or class centroids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coe.contracts import Classification
from coe_routers.classifiers._calibrated import classification

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe.contracts import Features
    from coe_routers.features import Encoded, Encoder


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearHead:
    """Weights of the layer, n-gram weights as int8 with one scale for each bucket.

    c is the number of categories, or one more when `general` rows were trained on: the last column is theirs.

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


class LinearClassifier:
    """Encoder, linear head, temperature.

    Args:
        encoder: how prompts are read.
        head: the layer.
        categories: names of its outputs.
        temperature: what logits are divided by, fitted on held-out prompts.
    """

    def __init__(
        self, encoder: Encoder, head: LinearHead, categories: Sequence[str], temperature: float
    ) -> None:
        self.encoder = encoder
        self.head = head
        self.temperature = temperature
        self._categories = tuple(categories)

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the columns of probabilities, without `general`."""
        return self._categories

    def classify(self, features: Sequence[Features]) -> Classification:
        """Classify n prompts. A prompt in which nothing can be read has uncertainty 1."""
        encoded = self.encoder.encode(features)
        logits = self.head.logits(encoded)
        return classification(logits, len(self._categories), self.temperature, evidence(encoded))


def evidence(encoded: Encoded) -> NDArray[np.bool_]:
    """Which prompts have anything to go by, bool[n]."""
    found = np.zeros(len(encoded), np.bool_)
    if encoded.dense is not None:
        found |= encoded.dense.any(axis=1)
    if encoded.lexical is not None:
        found |= np.array([len(row.buckets) > 0 for row in encoded.lexical], np.bool_)
    return found
