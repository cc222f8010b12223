"""Prompts to logits by one compiled call each: what an encoder and a linear head do together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from coe_routers._compiled import NATIVE, Native, ScoreTables
from coe_routers.classifiers._linear import LinearHead
from coe_routers.features import (
    DAMPED,
    CompiledTokenRows,
    Encoder,
    Reading,
    StaticEmbedder,
    read,
    routing_text,
    shapes,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe.contracts import Features


class Scored(NamedTuple):
    """n prompts.

    Attributes:
        logits: float32[n, columns].
        dense: float32[n, dim]; None without an embedder.
        evidence: bool[n], which prompts have anything to go by.
    """

    logits: NDArray[np.float32]
    dense: NDArray[np.float32] | None
    evidence: NDArray[np.bool_]


class Scorer:
    """An encoder with n-grams, and the static embedding or none, and a linear head.

    Args:
        native: the compiled loops.
        encoder: how prompts are read.
        bias: float32[columns].
        dim: of the embedding; 0 without one.
        tables: of the encoder and the head.
        tokens: finds tokens in texts that the tables do not suffice for; None without an embedder.
    """

    def __init__(
        self,
        native: Native,
        encoder: Encoder,
        bias: NDArray[np.float32],
        dim: int,
        tables: ScoreTables,
        tokens: CompiledTokenRows | None,
    ) -> None:
        self._native = native
        self._encoder = encoder
        self._bias = bias
        self._dim = dim
        self._tables = tables
        self._tokens = tokens

    def score(self, features: Sequence[Features]) -> Scored:
        """One by one, so that a batch gives bit by bit what single prompts give."""
        logits = np.empty((len(features), len(self._bias)), np.float32)
        logits[:] = self._bias
        dense = np.empty((len(features), self._dim), np.float32)
        others = shapes(features, self._encoder.shape)
        known = [
            self._one(read(routing_text(each, tools=self._encoder.tools)), more, row, vector)
            for each, more, row, vector in zip(features, others, logits, dense, strict=True)
        ]
        return Scored(logits, dense if self._dim else None, np.array(known, np.bool_))

    def _one(
        self,
        reading: Reading,
        others: NDArray[np.uint32],
        logits: NDArray[np.float32],
        vector: NDArray[np.float32],
    ) -> bool:
        tokens, known = self._tokens, None
        if tokens is None or tokens.lowered_suffices(reading):
            known = self._native.score(reading.lowered, others, None, logits, vector, self._tables)
        if known is None and tokens is not None:
            given = tokens.words.rows(reading.text).tobytes()
            known = self._native.score(reading.lowered, others, given, logits, vector, self._tables)
        return bool(known)


def scorer(encoder: Encoder, head: object) -> Scorer | None:
    """The compiled way from prompts to logits; None where there is none for them."""
    if NATIVE is None or encoder.idf is None or not isinstance(head, LinearHead) or head.packed is None:
        return None
    lexical = encoder.idf, DAMPED, head.packed
    embedder = encoder.embedder
    if embedder is None and head.dense is None:
        no_bytes, no_floats = np.empty(0, np.int8), np.empty(0, np.float32)
        no_words: dict[str | bytes, bytes] = {}
        nothing = b"", np.empty(0, np.int32), no_words, no_bytes, no_floats, no_floats
        return Scorer(NATIVE, encoder, head.bias, 0, (*lexical, *nothing), None)
    if not isinstance(embedder, StaticEmbedder) or head.dense is None:
        return None
    tokens = embedder.token_rows
    if not isinstance(tokens, CompiledTokenRows):
        return None
    found = tokens.table, tokens.marks, tokens.words, embedder.vectors, embedder.scales
    dense = np.ascontiguousarray(head.dense, np.float32)
    return Scorer(NATIVE, encoder, head.bias, embedder.dim, (*lexical, *found, dense), tokens)
