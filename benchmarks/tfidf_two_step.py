"""The baseline of the recorded outcomes: TF-IDF and logistic regression, then each category's best expert.

What a reader would build in an afternoon: words and pairs of words, no embedding, no calibration, no
shrinkage, no cross-validation of whether routing pays. With a limit on the average cost every category takes
the expert that is best after a price, the lowest price that keeps the limit on the training prompts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from coe_routers._threads import one_thread

_PRICES = 2000


@one_thread
def categories(texts: Sequence[str], label: NDArray[np.int32], unseen: Sequence[str]) -> NDArray[np.int64]:
    """Categories of unseen prompts, int64[n], by a classifier of labelled ones."""
    vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2)
    read = vectorizer.fit_transform(texts)
    classifier = LogisticRegression(C=10, max_iter=300).fit(read, label)
    return np.asarray(classifier.predict(vectorizer.transform(unseen)), np.int64)


def category_map(
    label: NDArray[np.int32],
    scores: NDArray[np.float32],
    count: int,
    cost: NDArray[np.float64],
    limit: float | None,
) -> NDArray[np.int64]:
    """The expert of each category, int64[count].

    Args:
        label: int32[n], the training prompts' categories.
        scores: float32[n, m], NaN where not tried.
        count: how many categories there are.
        cost: float64[m], what an expert costs.
        limit: the most that may be paid on average over the training prompts.
    """
    of = np.eye(count)[label].T
    tried = of @ np.isfinite(scores)
    mean = np.where(tried > 0, (of @ np.nan_to_num(scores)) / np.maximum(tried, 1), -np.inf)
    share = np.bincount(label, minlength=count) / len(label)
    if limit is None:
        return mean.argmax(axis=1)
    for price in np.linspace(0.0, 1.0 / cost.min(), _PRICES):
        chosen = (mean - price * cost).argmax(axis=1)
        if share @ cost[chosen] <= limit:
            return chosen
    raise ValueError(f"no expert costs {limit} or less")
