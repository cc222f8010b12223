"""What length brings: more than people gave for it, or less."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ENOUGH = 20
"""Pairs that the slope needs."""


def length_slope(
    log_words: NDArray[np.float32], pairs: NDArray[np.int64], rewards: NDArray[np.float32]
) -> float:
    """The reward that a unit of log length brings, minus what it brought among people, both in log odds.

    Args:
        log_words: float32[n], ln(1 + words) of each answer.
        pairs: int64[m, 2], the better and the worse; 0 is returned for fewer than 20.
        rewards: float32[n], of answers that the model had not learnt from.
    """
    if len(pairs) < _ENOUGH:
        return 0.0
    better, worse = pairs.T
    longer = (log_words[better] - log_words[worse]).astype(np.float64)
    spread = float(longer @ longer)
    if spread < 1e-9:
        return 0.0
    margin = rewards[better] - rewards[worse]
    # Of the reward by least squares; of people's choices by the odds that the longer one won.
    reward_slope = float(longer @ margin) / spread
    signs = np.sign(longer)[longer != 0]
    won = (float((signs > 0).sum()) + 1) / (len(signs) + 2)
    people = float(np.log(won / (1 - won))) / float(np.abs(longer[longer != 0]).mean())
    return reward_slope - people
