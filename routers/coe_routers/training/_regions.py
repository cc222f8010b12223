"""Where the embeddings of training prompts lie: what is far from all of it, the classifier cannot know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from coe_routers._extras import library
from coe_routers._threads import one_thread

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST = 256
"""More find a little more (docs/router.md) and make every decision slower."""
_ROWS_PER_REGION = 4
_SAMPLE = 5000
_ROUNDS = 10


@one_thread
def regions(vectors: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Centres of k-means, float32[k, dim], unit norm, k at most `MOST`.

    Args:
        vectors: float32[n, dim], unit norm, n at least 1.
        seed: of the first centres.

    Raises:
        PluginError: scikit-learn is not installed.
    """
    cluster: Any = library("sklearn.cluster", "train")
    sample = vectors[np.linspace(0, len(vectors) - 1, min(len(vectors), _SAMPLE)).astype(np.int64)]
    count = min(MOST, max(1, len(np.unique(sample, axis=0)) // _ROWS_PER_REGION))
    fitted = cluster.KMeans(count, n_init=1, max_iter=_ROUNDS, random_state=seed).fit(sample)
    centres: NDArray[np.float32] = np.asarray(fitted.cluster_centers_, np.float32)
    norms = np.linalg.norm(centres, axis=1, keepdims=True)
    # As they are saved: limits are calibrated with the very numbers that decide later.
    return (centres / np.maximum(norms, 1e-12)).astype(np.float16).astype(np.float32)
