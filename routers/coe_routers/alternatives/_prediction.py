"""What a model says of n prompts and m experts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Prediction:
    """Predictions for n prompts.

    Attributes:
        score: float64[n, m], expected score of each expert.
        utility: float64[n, m], what is maximised: the score, less what cost or doubt take away.
        uncertainty: float64[n] in 0..1.
        evidence: bool[n]; False where nothing could be read and the overall means stand in.
        category: a name for what the prompt was taken for, n of them; empty when there is none.
    """

    score: Floats
    utility: Floats
    uncertainty: Floats
    evidence: Bools
    category: tuple[str, ...] = ()


def closeness(utility: Floats) -> Floats:
    """Uncertainty float64[n] of a choice by utilities float64[n, m]: 1 less the lead of the first one."""
    if utility.shape[1] < 2:
        return np.zeros(len(utility))
    top = np.partition(utility, -2, axis=1)[:, -2:]
    return 1.0 - np.clip(top[:, 1] - top[:, 0], 0.0, 1.0)
