"""Is one expert better than another? Decided by betting, as soon as the scores allow it.

A gambler starts with 1 and bets before each prompt on the outcome of a paired difference. Where the
hypothesis holds, no way of betting is expected to gain, and by Ville's inequality the capital ever reaches
1/alpha with probability alpha at most. So a hypothesis may be given up at the very moment when it does,
without a fixed number of prompts. Prompts on which both experts score the same cost nothing.

Source: Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, arXiv 2010.09686;
the bets are their approximate GRAPA.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LARGEST_BET = 0.75
"""Part of the capital that may be lost on one prompt."""
_PRIOR_VARIANCE = 0.25


def largest_log_capital(gains: Floats, worst: float) -> Floats:
    """The highest that the logarithm of the capital ever was, float64[k], of k games side by side.

    Args:
        gains: float64[n, k], what one unit staked gains on each prompt, in order; NaN where a game did not
            take place. The hypothesis is that no column's expected value is above 0.
        worst: what a unit staked may lose at most; gains are -worst or more.
    """
    played = np.isfinite(gains)
    gain = np.where(played, gains, 0.0)
    count = np.cumsum(played, axis=0) - played
    before = np.cumsum(gain, axis=0) - gain
    square = np.cumsum(gain * gain, axis=0) - gain * gain
    mean = before / (count + 1.0)
    variance = np.maximum((_PRIOR_VARIANCE + square) / (count + 1.0) - mean * mean, 1e-9)
    stake = np.clip(mean / (variance + mean * mean), 0.0, LARGEST_BET / worst)
    capital = np.cumsum(np.log1p(stake * gain), axis=0)
    return np.maximum(capital.max(axis=0, initial=0.0), 0.0)
