"""What searches the recorded prompts of a k-NN router: numpy, or an index of FAISS."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from coe_routers._extras import library

Search = Literal["numpy", "faiss", "ivf"]

LISTS = 2.0
"""An `ivf` index has this many times the square root of n lists, ..."""
PROBED = 1 / 16
"""... of which a search looks into this part: recall and time by benchmarks/knn_million.py."""
_LEARNED_FROM, _ROUNDS = 40, 10
"""Vectors for each list that the lists are learned from, and rounds of k-means: more change little."""


def neighbour_index(vectors: NDArray[np.float32], search: Search) -> Any:
    """An index over vectors float32[n, dim] of unit norm, by cosine; None for `numpy`.

    `faiss` is exact. `ivf` looks only into the lists of vectors nearest to the query: a few neighbours may
    be missed. Equal vectors give equal indexes.

    Raises:
        PluginError: the extra `faiss` is not installed.
    """
    if search == "numpy":
        return None
    faiss = library("faiss", "faiss")
    n, dim = vectors.shape
    if search == "faiss":
        index: Any = faiss.IndexFlatIP(dim)
    else:
        lists = max(1, min(round(LISTS * math.sqrt(n)), n // 40))
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, lists, faiss.METRIC_INNER_PRODUCT)
        index.cp.max_points_per_centroid = _LEARNED_FROM
        index.cp.niter = _ROUNDS
        # Sampled evenly over the rows, so that no seed is needed and no kind of prompt is left out.
        step = max(1, n // (lists * _LEARNED_FROM))
        index.train(np.ascontiguousarray(vectors[::step]))
        index.nprobe = max(1, math.ceil(lists * PROBED))
    index.add(np.ascontiguousarray(vectors))
    return index
