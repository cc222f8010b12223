"""A trained classifier: how prompts are read, a head, a temperature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from coe.contracts import Classification
from coe_routers.classifiers._calibrated import classification
from coe_routers.classifiers._scorer import Scored, scorer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe.contracts import Features
    from coe_routers.features import Encoded, Encoder


class Head(Protocol):
    """What turns encoded prompts into logits, one column for each category.

    There is one column more when `general` rows were trained on: the last column is theirs.
    """

    @property
    def columns(self) -> int:
        """How many columns the logits have."""
        ...

    def logits(self, encoded: Encoded) -> NDArray[np.float32]:
        """float32[n, columns]; row by row, so that a batch gives bit by bit what single prompts give."""
        ...

    def tensors(self) -> Mapping[str, NDArray[Any]]:
        """Arrays to save."""
        ...


class TrainedClassifier:
    """Encoder, head, temperature.

    Args:
        encoder: how prompts are read.
        head: gives logits.
        categories: names of the head's columns, without `general`.
        temperature: what logits are divided by, fitted on held-out prompts.
        regions: float32[k, dim], unit norm, where the embeddings of training prompts lie; None without an
            embedder.
    """

    def __init__(
        self,
        encoder: Encoder,
        head: Head,
        categories: Sequence[str],
        temperature: float,
        regions: NDArray[np.float32] | None = None,
    ) -> None:
        self.encoder = encoder
        self.head = head
        self.temperature = temperature
        self.regions = regions
        self._categories = tuple(categories)
        self._scorer = scorer(encoder, head)

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the columns of probabilities, without `general`."""
        return self._categories

    def classify(self, features: Sequence[Features]) -> Classification:
        """Classify n prompts. A prompt in which nothing can be read has uncertainty 1."""
        logits, dense, known = (
            self._scored(features) if self._scorer is None else self._scorer.score(features)
        )
        found = classification(logits, len(self._categories), self.temperature, known)
        if dense is None or self.regions is None:
            return found
        return Classification(found.probabilities, found.uncertainty, distances(dense, self.regions))

    def _scored(self, features: Sequence[Features]) -> Scored:
        encoded = self.encoder.encode(features)
        return Scored(self.head.logits(encoded), encoded.dense, evidence(encoded))


def evidence(encoded: Encoded) -> NDArray[np.bool_]:
    """Which prompts have anything to go by, bool[n]."""
    if encoded.lexical is None:
        found = np.zeros(len(encoded), np.bool_)
    else:
        read = [len(row.buckets) > 0 for row in encoded.lexical]
        found = np.array(read, np.bool_)
        if all(read):
            return found
    if encoded.dense is not None:
        found |= encoded.dense.any(axis=1)
    return found


def distances(vectors: NDArray[np.float32], regions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosine distance of each vector to the nearest region, float32[n]; 0 for a vector of zeros.

    Row by row, so that a batch gives bit by bit what single prompts give.
    """
    return np.array([1 - (regions @ row).max() if row.any() else 0 for row in vectors], np.float32)
