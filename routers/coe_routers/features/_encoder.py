"""Prompts to numbers: TF-IDF of hashed n-grams beside an embedding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coe_routers.features._ngrams import BUCKETS, WORD_BUCKETS, count_ngrams
from coe_routers.features._reading import read
from coe_routers.features._shape import shape_buckets
from coe_routers.features._static import StaticEmbedder
from coe_routers.features._text import routing_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe.contracts import Embedder, Features

_NONE = np.empty(0, np.uint32)
DAMPED = (1 + np.log(np.maximum(np.arange(4096), 1))).astype(np.float32)
"""`1 + ln count`; texts with an n-gram that occurs more often are rare."""


@dataclass(frozen=True, slots=True)
class SparseRow:
    """The n-grams of one prompt: buckets int64[m], sorted, and TF-IDF weights float32[m].

    The words' part and the bytes' part have unit norm each.
    """

    buckets: NDArray[np.int64]
    values: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Encoded:
    """n prompts as numbers.

    Attributes:
        lexical: one row for each prompt; None when n-grams are off.
        dense: float32[n, dim]; None without an embedder.
    """

    lexical: tuple[SparseRow, ...] | None
    dense: NDArray[np.float32] | None

    def take(self, rows: NDArray[np.int64]) -> Encoded:
        """Some of the rows."""
        wanted: list[int] = rows.tolist()
        lexical = None if self.lexical is None else tuple(self.lexical[row] for row in wanted)
        return Encoded(lexical, None if self.dense is None else self.dense[rows])

    def __len__(self) -> int:
        return (
            len(self.lexical)
            if self.lexical is not None
            else len(self.dense)
            if self.dense is not None
            else 0
        )


@dataclass(frozen=True, slots=True)
class Encoder:
    """How a classifier reads prompts; the same in training and at run time.

    Attributes:
        idf: inverse document frequency of each bucket, float32[BUCKETS]; None when n-grams are off.
        embedder: gives the dense part; None for n-grams alone.
        tools: whether the offered tools are read too.
        shape: whether n-grams are joined by how the text is typed (`shape_buckets`).
    """

    idf: NDArray[np.float32] | None
    embedder: Embedder | None
    tools: bool = False
    shape: bool = False

    def encode(self, features: Sequence[Features]) -> Encoded:
        """Encode n prompts."""
        texts = [routing_text(each, tools=self.tools) for each in features]
        if self.idf is None:
            return Encoded(None, self.embedder.embed(texts) if self.embedder else None)
        readings = [read(text) for text in texts]
        others = shapes(features, self.shape)
        lexical = tuple(
            weigh(*count_ngrams(reading, other), self.idf)
            for reading, other in zip(readings, others, strict=True)
        )
        if isinstance(self.embedder, StaticEmbedder):
            return Encoded(lexical, self.embedder.embed_readings(readings))
        return Encoded(lexical, self.embedder.embed(texts) if self.embedder else None)


def shapes(features: Sequence[Features], shape: bool) -> list[NDArray[np.uint32]]:
    """What `count_ngrams` is to count beside the n-grams of each prompt: its shape, or nothing."""
    return [shape_buckets(each.text) if shape else _NONE for each in features]


def weigh(buckets: NDArray[np.int64], counts: NDArray[np.int64], idf: NDArray[np.float32]) -> SparseRow:
    """TF-IDF with damped counts: `(1 + ln count) * idf`, words and bytes normed separately."""
    values = idf.take(buckets)
    values *= _damped(counts)
    split = int(buckets.searchsorted(WORD_BUCKETS))
    for part in (values[:split], values[split:]):
        if len(part):
            part *= np.float32(1 / math.sqrt(part.dot(part)))
    return SparseRow(buckets, values)


def _damped(counts: NDArray[np.int64]) -> NDArray[np.float32]:
    try:
        return DAMPED.take(counts)
    except IndexError:
        return (1 + np.log(counts)).astype(np.float32)


def inverse_document_frequency(counted: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
    """Smoothed idf, float32[BUCKETS], from the buckets of each training text.

    A bucket that training never saw weighs most: a strange text keeps little weight for what is known,
    its logits shrink and its uncertainty grows.
    """
    documents = np.zeros(BUCKETS, np.int64)
    for buckets in counted:
        documents[buckets] += 1
    return (np.log((1 + len(counted)) / (1 + documents)) + 1).astype(np.float32)
