"""k nearest prompts: what the experts made of the most similar recorded prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from coe_routers.alternatives._index import Search, neighbour_index
from coe_routers.alternatives._linear import encode, folds_of
from coe_routers.alternatives._prediction import Floats, Prediction
from coe_routers.alternatives._saved import About, read, write
from coe_routers.alternatives._targets import believed, choose_trust, filled
from coe_routers.classifiers import evidence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe.contracts import Embedder, Features
    from coe_routers.artifact import EmbedderRef, FindEmbedder
    from coe_routers.features import Encoder
    from coe_routers.outcomes import Outcomes

KIND = "knn-router"
NEIGHBOURS = (25, 50, 100)
"""How many to try; fewer are too noisy, since a recorded score is mostly a single 0 or 1."""
SHARPNESS = 10.0
"""A neighbour with cosine s weighs exp(SHARPNESS * (s - 1))."""
PRIOR = 10.0
"""Neighbours that the overall mean counts as."""


class KnnAbout(About):
    """Facts of a saved k-NN router."""

    neighbours: int = Field(ge=1)
    trust: float = Field(ge=0, le=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Knn:
    """Recorded prompts with the scores of every expert.

    Attributes:
        experts: m names.
        encoder: gives the embedding only.
        vectors: float32[k, dim], unit norm, one for each recorded prompt.
        scores: float32[k, m].
        neighbours: how many recorded prompts are looked at.
        trust: how much of their difference from the overall means is believed.
        index: a FAISS index over `vectors`; None searches with numpy.
    """

    experts: tuple[str, ...]
    encoder: Encoder
    vectors: NDArray[np.float32]
    scores: NDArray[np.float32]
    neighbours: int
    trust: float
    index: Any = None

    def predict(self, features: Sequence[Features]) -> Prediction:
        """Predict for n prompts. Uncertainty is 1 less the mean similarity of the neighbours."""
        encoded = self.encoder.encode(features)
        dense = encoded.dense
        assert dense is not None
        mean = self.scores.mean(axis=0, dtype=np.float64)
        score = np.tile(mean, (len(dense), 1))
        similar = np.zeros(len(dense))
        found = evidence(encoded)
        for row in np.flatnonzero(found):
            near, places = self._nearest(dense[row])
            score[row] = _vote(near, self.scores[places].astype(np.float64), mean)
            similar[row] = near.mean()
        utility = believed(mean, score, self.trust)
        return Prediction(score, utility, 1.0 - similar.clip(0.0, 1.0), found)

    def _nearest(self, vector: NDArray[np.float32]) -> tuple[Floats, NDArray[np.int64]]:
        if self.index is not None:
            near, places = self.index.search(vector[None], self.neighbours)
            # An approximate search may find fewer than asked for.
            found = places[0] >= 0
            return near[0][found].astype(np.float64), places[0][found]
        return nearest(self.vectors @ vector, self.neighbours)

    def save(self, path: Path, embedder: EmbedderRef, facts: Mapping[str, Any] | None = None) -> str:
        """Write it; `embedder` says how its embedder is found again. Returns the revision."""
        about = KnnAbout(
            experts=self.experts,
            embedder=embedder,
            neighbours=self.neighbours,
            trust=self.trust,
            facts=dict(facts or {}),
        )
        return write(path, KIND, about, self.encoder, {"vectors": self.vectors, "scores": self.scores})


def load_knn(path: Path, find: FindEmbedder, search: Search = "numpy") -> tuple[Knn, str]:
    """Load a k-NN router and its revision.

    Args:
        path: its folder.
        find: gives the embedder.
        search: `faiss` searches exactly too, faster from about 10,000 recorded prompts; `ivf` searches the
            likeliest part only, for a million.

    Raises:
        ArtifactError: the folder is refused.
        PluginError: `faiss` or `ivf` is asked for and FAISS is not installed.
    """
    about, saved = read(path, KIND, KnnAbout, find)
    count = len(saved.tensors.get("scores", ()))
    dim = saved.encoder.embedder.dim if saved.encoder.embedder else 0
    vectors = saved.tensor("vectors", (count, dim), path)
    model = Knn(
        experts=about.experts,
        encoder=saved.encoder,
        vectors=vectors,
        scores=saved.tensor("scores", (count, len(about.experts)), path),
        neighbours=min(about.neighbours, count),
        trust=about.trust,
        index=neighbour_index(vectors, search),
    )
    return model, saved.revision


def fit_knn(
    outcomes: Outcomes, *, embedder: Embedder, seed: int, folds: int = 3
) -> tuple[Knn, Mapping[str, Any]]:
    """Store the recorded prompts; choose how many neighbours to ask and how far to believe them.

    Both are chosen on prompts held out in `folds` parts; equal prompts share a part.

    Returns:
        The model, and facts about the choice.

    Raises:
        DataError: fewer than two experts have scores.
    """
    scores = filled(outcomes)
    encoder, encoded = encode(outcomes, embedder, ngrams=False)
    vectors = encoded.dense
    assert vectors is not None
    mean = scores.mean(axis=0)
    held_out = _held_out(vectors, scores, folds_of(outcomes, folds, seed))
    sizes = list(held_out)
    rows = np.arange(len(scores))
    neighbours = max(sizes, key=lambda size: scores[rows, held_out[size].argmax(axis=1)].mean())
    trust = choose_trust(scores, mean, held_out[neighbours], seed=seed)
    model = Knn(
        experts=outcomes.experts,
        encoder=encoder,
        vectors=vectors,
        scores=scores.astype(np.float32),
        neighbours=neighbours,
        trust=trust.share,
    )
    facts = {"prompts": len(scores), "gain": trust.gain, "gain_ci95": list(trust.gain_ci95), "seed": seed}
    return model, facts


def _held_out(vectors: NDArray[np.float32], scores: Floats, fold: NDArray[np.int64]) -> dict[int, Floats]:
    """Predictions float64[n, m] for every row from the rows of other folds, by number of neighbours."""
    sizes = [size for size in NEIGHBOURS if size <= len(scores) // 4] or [max(1, len(scores) // 4)]
    found = {size: np.empty_like(scores) for size in sizes}
    for number in np.unique(fold):
        train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        mean = scores[train].mean(axis=0)
        for row in test:
            near, places = nearest(vectors[train] @ vectors[row], max(sizes))
            for size in sizes:
                found[size][row] = _vote(near[:size], scores[train[places[:size]]], mean)
    return found


def nearest(similarity: NDArray[np.float32], count: int) -> tuple[Floats, NDArray[np.int64]]:
    """The `count` largest of float32[k] and their places, largest first, the earlier of equal ones first."""
    count = min(count, len(similarity))
    if count < len(similarity):
        edge = np.partition(similarity, len(similarity) - count)[len(similarity) - count]
        places = np.flatnonzero(similarity >= edge)
    else:
        places = np.arange(len(similarity))
    places = places[np.argsort(-similarity[places], kind="stable")][:count]
    return similarity[places].astype(np.float64), places


def _vote(near: Floats, scores: Floats, mean: Floats) -> Floats:
    """Weighted mean float64[m] of scores float64[k, m], and `PRIOR` neighbours' worth of the overall mean."""
    weights = np.exp(SHARPNESS * (near - near.max()))
    weights *= len(near) / weights.sum()
    return (weights @ scores + PRIOR * mean) / (len(near) + PRIOR)
