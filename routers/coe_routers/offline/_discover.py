"""Categories where outcomes name none: clusters of prompts, named by their most telling words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coe_routers._extras import library
from coe_routers._threads import one_thread

ALPHA = 0.02
"""What one more cluster must take off the relative inertia to be worth having (arXiv 2407.00256)."""
_SAMPLE = 20_000
_WORD: re.Pattern[str] = re.compile(r"[^\W\d_]{3,}")
_NAME_WORDS = 3


@one_thread
def discover(
    vectors: NDArray[np.float32], texts: Sequence[str], *, seed: int, most: int = 12, alpha: float = ALPHA
) -> tuple[str, ...]:
    """A category for each prompt.

    k-means for k = 2 .. `most`; the k of least scaled inertia `inertia_k / inertia_1 + alpha * k` is taken.

    Args:
        vectors: float32[n, dim], unit norm.
        texts: n prompts, for the names.

    Raises:
        PluginError: scikit-learn is not installed.

    Source: Mixture-of-Prompts, arXiv 2407.00256 (K-auto).
    """
    cluster: Any = library("sklearn.cluster", "train")
    sample = vectors[np.linspace(0, len(vectors) - 1, min(len(vectors), _SAMPLE)).astype(int)]
    alone = float(((sample - sample.mean(axis=0)) ** 2).sum())
    if alone <= 0:
        return ("all",) * len(texts)
    fits = [
        cluster.KMeans(n_clusters=k, n_init=3, random_state=seed).fit(sample)
        for k in range(2, min(most, len(sample) // 10) + 1)
    ]
    if not fits:
        return ("all",) * len(texts)
    best = min(fits, key=lambda fit: float(fit.inertia_) / alone + alpha * fit.n_clusters)
    labels: NDArray[np.int64] = np.asarray(best.predict(vectors), dtype=np.int64)
    names = _names(texts, labels, int(best.n_clusters))
    found: list[int] = labels.tolist()
    return tuple(names[label] for label in found)


def _names(texts: Sequence[str], labels: NDArray[np.int64], k: int) -> list[str]:
    """Words that are common in a cluster and rare elsewhere (class-based TF-IDF), joined by dashes."""
    counts: list[Counter[str]] = [Counter() for _ in range(k)]
    for text, label in zip(texts, labels.tolist(), strict=True):
        words: set[str] = set(_WORD.findall(text.lower()))
        for word in words:
            counts[label][word] += 1
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    names: list[str] = []
    for number, each in enumerate(counts):
        size = max(int((labels == number).sum()), 1)
        rest = max(len(texts) - size, 1)

        def telling(
            word: str, each: Counter[str] = each, size: int = size, rest: int = rest
        ) -> tuple[float, str]:
            inside, outside = each[word] / size, (total[word] - each[word]) / rest
            return inside * float(np.log((inside + 0.01) / (outside + 0.01))), word

        best = sorted(each, key=telling, reverse=True)[:_NAME_WORDS]
        name = "-".join(best) or f"cluster-{number + 1}"
        names.append(name if name not in names else f"{name}-{number + 1}")
    return names
