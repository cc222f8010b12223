"""Temperature and limit of uncertainty, both from predictions on prompts that were not trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from coe_routers.classifiers import softmax

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COLDEST, _HOTTEST = 0.01, 100.0


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The temperature with the least negative log-likelihood of the labels.

    Args:
        logits: float32[n, c] of held-out rows.
        labels: int64[n], the column of each row.

    Source: Guo et al., arXiv 1706.04599. The likelihood has one minimum, found by golden section on a
    logarithmic scale.
    """
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        probabilities = softmax(logits / np.float32(np.exp(log_temperature)))
        return float(-np.log(np.maximum(probabilities[rows, labels], 1e-12)).mean())

    low, high = float(np.log(_COLDEST)), float(np.log(_HOTTEST))
    ratio = (np.sqrt(5) - 1) / 2
    while high - low > 1e-4:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if loss(left) <= loss(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def uncertainty_limit(uncertainty: NDArray[np.float32], keep: float) -> float:
    """The limit that keeps the share `keep` of in-scope prompts: a quantile of held-out float32[n].

    Five digits: more would be noise, and would differ from machine to machine.
    """
    return float(f"{np.quantile(uncertainty, keep):.5g}")
