"""Ridge regression of many targets on n-grams and embedding, out of fold too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coe_routers._extras import library
from coe_routers.classifiers import LinearHead, quantise_rows
from coe_routers.features import (
    BUCKETS,
    Encoded,
    Encoder,
    count_ngrams,
    inverse_document_frequency,
    read,
    routing_text,
    weigh,
)
from coe_routers.training import stratified_folds

if TYPE_CHECKING:
    from coe.contracts import Embedder
    from coe_routers.alternatives._prediction import Floats
    from coe_routers.outcomes import Outcomes

_TOLERANCE = 1e-3
_MAX_STEPS = 60


@dataclass(frozen=True, slots=True)
class Regression:
    """Fitted targets.

    Attributes:
        encoder: how prompts are read.
        head: its logits are the targets less their mean, one column for each target.
        mean: float64[t], mean of each target.
        held_out: float64[n, t], predictions for each row by a fit that did not see it.
        fold: int64[n], the fold that each row was held out in.
    """

    encoder: Encoder
    head: LinearHead
    mean: Floats
    held_out: Floats
    fold: np.ndarray[Any, np.dtype[np.int64]]


def encode(outcomes: Outcomes, embedder: Embedder | None, *, ngrams: bool = True) -> tuple[Encoder, Encoded]:
    """How the prompts of outcomes are read, and the prompts read that way.

    The offered tools are read where any row offers some.
    """
    tools = bool(outcomes.tools)
    texts = [routing_text(each, tools=tools) for each in outcomes.features()]
    idf, lexical = None, None
    if ngrams:
        counted = [count_ngrams(read(text)) for text in texts]
        idf = inverse_document_frequency([buckets for buckets, _ in counted])
        lexical = tuple(weigh(buckets, counts, idf) for buckets, counts in counted)
    return Encoder(idf, embedder, tools), Encoded(lexical, embedder.embed(texts) if embedder else None)


def folds_of(outcomes: Outcomes, folds: int, seed: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """A fold for each row, int64[n]; equal prompts share one, categories are spread evenly."""
    return stratified_folds(
        [str(index) for index in outcomes.category.tolist()], outcomes.prompts, folds, seed
    )


def regress(
    outcomes: Outcomes, targets: Floats, embedder: Embedder | None, *, penalty: float, folds: int, seed: int
) -> Regression:
    """Fit targets float64[n, t] (no NaN) on the prompts of outcomes. Raises `PluginError` without scipy."""
    encoder, encoded = encode(outcomes, embedder)
    matrix = _matrix(encoded)
    fold = folds_of(outcomes, folds, seed)
    held_out = np.empty_like(targets)
    for number in range(folds):
        train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        mean = targets[train].mean(axis=0)
        weights = _solve(matrix[train], targets[train] - mean, penalty)
        held_out[test] = matrix[test] @ weights + mean
    mean = targets.mean(axis=0)
    weights = _solve(matrix, targets - mean, penalty).astype(np.float32)
    lexical, scales = quantise_rows(weights[:BUCKETS])
    head = LinearHead(
        lexical=lexical,
        lexical_scales=scales,
        dense=np.ascontiguousarray(weights[BUCKETS:]) if embedder else None,
        bias=np.zeros(len(mean), np.float32),
    )
    return Regression(encoder, head, mean, held_out, fold)


def _matrix(encoded: Encoded) -> Any:
    """Rows as a scipy CSR matrix float64[n, BUCKETS + dim]."""
    sparse: Any = library("scipy.sparse", "train")
    assert encoded.lexical is not None
    ends = np.cumsum([0, *(len(row.buckets) for row in encoded.lexical)])
    values = np.concatenate([row.values for row in encoded.lexical])
    buckets = np.concatenate([row.buckets for row in encoded.lexical])
    parts = [sparse.csr_matrix((values, buckets, ends), shape=(len(encoded), BUCKETS))]
    if encoded.dense is not None:
        parts.append(sparse.csr_matrix(encoded.dense))
    return sparse.hstack(parts, format="csr", dtype=np.float64)


def _solve(matrix: Any, targets: Floats, penalty: float) -> Floats:
    """Ridge weights float64[d, t] by conjugate gradients on the dual, all targets in one go.

    The dual has n unknowns where the primal has 98,560; a step costs two sparse products.
    """
    transposed = matrix.T.tocsr()
    dual = np.zeros_like(targets)
    rest, direction = targets.copy(), targets.copy()
    norm = (rest**2).sum(axis=0)
    goal = np.maximum(norm * _TOLERANCE**2, 1e-18)
    for _ in range(_MAX_STEPS):
        if (norm <= goal).all():
            break
        image = matrix @ (transposed @ direction) + penalty * direction
        step = norm / np.maximum((direction * image).sum(axis=0), 1e-30)
        dual += step * direction
        rest -= step * image
        before, norm = norm, (rest**2).sum(axis=0)
        direction = rest + norm / np.maximum(before, 1e-30) * direction
    return np.asarray(transposed @ dual)
