"""Fitting the linear head on n-grams and embeddings, and calibrating it out of fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from coe.contracts import GENERAL, Classification
from coe.errors import ConfigError
from coe_routers._extras import library
from coe_routers.artifact import Method
from coe_routers.classifiers import (
    Abstention,
    Head,
    LinearHead,
    NeighbourHead,
    TrainedClassifier,
    classification,
    distances,
    evidence,
    quantise_rows,
)
from coe_routers.features import (
    BUCKETS,
    Encoded,
    Encoder,
    count_ngrams,
    inverse_document_frequency,
    read,
    routing_text,
    shapes,
    weigh,
)
from coe_routers.training._calibration import calibrate, fit_temperature, uncertainty_limit
from coe_routers.training._correction import MOST_COLUMNS, Correction, fit_correction
from coe_routers.training._folds import stratified_folds
from coe_routers.training._regions import regions
from coe_routers.training._separators import Separators

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe.contracts import Embedder, Features

_OR_NGRAMS: dict[Method, str] = {"linear": " or n-grams", "centroid": " or n-grams", "knn": ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """How to fit.

    Attributes:
        method: `linear` (one-against-all support vectors), `centroid` (mean of each category) or `knn`
            (FAISS; reads the embedding only).
        neighbours: how many vote in `knn`.
        strength: inverse regularisation of `linear`; more fits the training rows closer.
        balanced: weigh categories equally, however many rows they have.
        folds: out-of-fold predictions are made in this many parts.
        keep: share of in-scope prompts that are not sent to `general`.
        coverage: share of in-scope prompts whose prediction set holds their category.
        limits: what sends a prompt to `general`: `all` three limits, or `uncertainty` alone, for decisions
            that measure no distance.
        correct: teach the head which categories it confuses, from its out-of-fold predictions. Not for
            `knn`, which has no weights to change.
        seed: of the folds and the solver.
    """

    method: Method = "linear"
    strength: float = 0.5
    balanced: bool = False
    neighbours: int = 15
    folds: int = 3
    keep: float = 0.95
    coverage: float = 0.9
    limits: Literal["all", "uncertainty"] = "all"
    correct: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Predictions for every training row by a classifier that did not see it, calibrated.

    Attributes:
        probabilities: float32[n, c].
        uncertainty: float32[n].
        labels: int64[n], column of each row; -1 for rows labelled `general`.
        general: bool[n], which the rule sends to `general`.
        set_sizes: int64[n], how many categories each prediction set holds.
    """

    probabilities: NDArray[np.float32]
    uncertainty: NDArray[np.float32]
    labels: NDArray[np.int64]
    general: NDArray[np.bool_]
    set_sizes: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A calibrated classifier and how it did on held-out rows."""

    classifier: TrainedClassifier
    abstention: Abstention
    held_out: HeldOut


def fit_classifier(
    features: Sequence[Features],
    labels: Sequence[str],
    *,
    embedder: Embedder | None,
    ngrams: bool = True,
    tools: bool = False,
    shape: bool = False,
    groups: Sequence[str] | None = None,
    options: FitOptions = FitOptions(),
) -> Fitted:
    """Fit and calibrate a classifier.

    Args:
        features: n training prompts.
        labels: the category of each; rows of `general` teach what belongs to none.
        embedder: gives the dense part; None for n-grams alone.
        ngrams: whether hashed n-grams are read.
        tools: whether the offered tools are read.
        shape: whether n-grams are joined by how prompts are typed.
        groups: rows of one group share a fold; by default rows with the same text do.
        options: how to fit.

    Raises:
        ConfigError: fewer than two categories, a category with fewer rows than folds, or nothing to read.
        PluginError: the extra `train` is not installed.
    """
    categories = _categories(labels, options.folds)
    ngrams = ngrams and options.method != "knn"
    if not ngrams and embedder is None:
        raise ConfigError(f"A `{options.method}` classifier needs an embedder{_OR_NGRAMS[options.method]}.")
    texts = [routing_text(each, tools=tools) for each in features]
    encoder, encoded = _encode(texts, embedder, tools, shapes(features, shape) if ngrams else None)
    encoder = replace(encoder, shape=ngrams and shape)
    columns = [*categories, GENERAL] if GENERAL in labels else list(categories)
    targets = np.array([columns.index(label) for label in labels], np.int64)
    fold_of = stratified_folds(labels, groups or texts, options.folds, options.seed)
    logits = np.zeros((len(labels), len(columns)), np.float32)
    fit = _Heads(encoded, targets, len(columns), options).fit
    for fold in range(options.folds):
        test = np.flatnonzero(fold_of == fold)
        logits[test] = fit(np.flatnonzero(fold_of != fold)).logits(encoded.take(test))
    temperature = fit_temperature(logits, targets)
    correction: Correction | None = None
    if options.correct and options.method != "knn" and len(columns) <= MOST_COLUMNS:
        correction = fit_correction(logits, targets, temperature)
        # What is said of a row must not rest on a correction that has seen it.
        logits = _corrected(logits, targets, fold_of, temperature)
        temperature = fit_temperature(logits, targets)
    found = classification(logits, len(categories), temperature, evidence(encoded))
    inside = targets < len(categories)
    known = None
    if encoded.dense is not None and options.limits == "all":
        # Regions of one half of the folds; the other half tells how far prompts are that did not make them.
        first = fold_of % 2 == 0
        known = regions(encoded.dense[inside & first], options.seed)
        found = replace(found, distance=distances(encoded.dense, known))
    if options.limits == "all":
        abstention = calibrate(
            _rows(found, inside),
            targets[inside],
            keep=options.keep,
            coverage=options.coverage,
            apart=fold_of[inside] % 2 == 1,
        )
    else:
        abstention = Abstention(uncertainty_limit=uncertainty_limit(found.uncertainty[inside], options.keep))
    head = fit(np.arange(len(labels)), correction)
    return Fitted(
        TrainedClassifier(encoder, head, categories, temperature, known),
        abstention,
        HeldOut(
            found.probabilities,
            found.uncertainty,
            np.where(inside, targets, -1),
            abstention.general(found),
            abstention.set_sizes(found.probabilities),
        ),
    )


def _rows(found: Classification, rows: NDArray[np.bool_]) -> Classification:
    distance = None if found.distance is None else found.distance[rows]
    return Classification(found.probabilities[rows], found.uncertainty[rows], distance)


def _categories(labels: Sequence[str], folds: int) -> tuple[str, ...]:
    names, counts = np.unique([label for label in labels if label != GENERAL], return_counts=True)
    if len(names) < 2:
        raise ConfigError(f"A classifier needs two categories besides `{GENERAL}`, found {len(names)}.")
    for name, count in zip(names.tolist(), counts.tolist(), strict=True):
        if count < folds:
            raise ConfigError(
                f"The category `{name}` has {count} rows, fewer than the {folds} folds.",
                hint="Add rows, merge it with another, or use fewer folds.",
            )
    return tuple(names.tolist())


def _encode(
    texts: Sequence[str],
    embedder: Embedder | None,
    tools: bool,
    others: Sequence[NDArray[np.uint32]] | None,
) -> tuple[Encoder, Encoded]:
    """The encoder with its document frequencies, and the texts through it; n-grams are counted once.

    Args:
        others: what is counted beside the n-grams of each text; None without n-grams.
    """
    idf, lexical = None, None
    if others is not None:
        counted = [count_ngrams(read(text), other) for text, other in zip(texts, others, strict=True)]
        idf = inverse_document_frequency([buckets for buckets, _ in counted])
        lexical = tuple(weigh(buckets, counts, idf) for buckets, counts in counted)
    return Encoder(idf, embedder, tools), Encoded(lexical, embedder.embed(texts) if embedder else None)


def _corrected(
    logits: NDArray[np.float32], targets: NDArray[np.int64], fold_of: NDArray[np.int64], temperature: float
) -> NDArray[np.float32]:
    """Out-of-fold logits float32[n, c], those of each fold corrected by what the others teach."""
    corrected = np.empty_like(logits)
    for fold in np.unique(fold_of):
        others = fold_of != fold
        corrected[~others] = fit_correction(logits[others], targets[others], temperature)(logits[~others])
    return corrected


class _Heads:
    """Fits heads of one method on subsets of the same rows."""

    def __init__(
        self, encoded: Encoded, targets: NDArray[np.int64], columns: int, options: FitOptions
    ) -> None:
        self._encoded, self._targets, self._columns, self._options = encoded, targets, columns, options
        self._matrix: Any = None if options.method == "knn" else _matrix(encoded)
        self._separators = (
            Separators(
                self._matrix,
                targets,
                columns,
                strength=options.strength,
                balanced=options.balanced,
                seed=options.seed,
            )
            if options.method == "linear"
            else None
        )

    def fit(self, rows: NDArray[np.int64], correction: Correction | None = None) -> Head:
        """A head that has seen these rows, int64[m]; a linear one with the correction folded in."""
        lexical, dense = self._encoded.lexical, self._encoded.dense
        if self._matrix is None:
            assert dense is not None
            targets = self._targets[rows]
            return NeighbourHead.fit(dense[rows], targets, self._columns, self._options.neighbours)
        if self._separators is not None:
            weights, bias = self._separators.fit(rows)
        else:
            weights, bias = _centroids(self._matrix[rows], self._targets[rows], self._columns)
        if correction is not None:
            weights, bias = correction.folded(weights, bias)
        split = BUCKETS if lexical is not None else 0
        quantised = quantise_rows(weights[:split]) if lexical is not None else (None, None)
        below = np.ascontiguousarray(weights[split:]) if dense is not None else None
        return LinearHead(lexical=quantised[0], lexical_scales=quantised[1], dense=below, bias=bias)


def _matrix(encoded: Encoded) -> Any:
    """Rows as a scipy CSR matrix float64[n, BUCKETS + dim], the type that the solver computes in."""
    sparse: Any = library("scipy.sparse", "train")
    parts: list[Any] = []
    if encoded.lexical is not None:
        ends = np.cumsum([0, *(len(row.buckets) for row in encoded.lexical)])
        values = np.concatenate([row.values for row in encoded.lexical])
        buckets = np.concatenate([row.buckets for row in encoded.lexical])
        parts.append(sparse.csr_matrix((values, buckets, ends), shape=(len(encoded), BUCKETS)))
    if encoded.dense is not None:
        parts.append(sparse.csr_matrix(encoded.dense))
    return sparse.hstack(parts, format="csr", dtype=np.float64)


def _centroids(
    matrix: Any, targets: NDArray[np.int64], columns: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The mean direction of each category, minus the mean of all: what they share tells nothing apart."""
    means = np.stack([np.asarray(matrix[targets == column].mean(axis=0))[0] for column in range(columns)])
    centred = means - means.mean(axis=0)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    return np.ascontiguousarray(centred.T, np.float32), np.zeros(columns, np.float32)
