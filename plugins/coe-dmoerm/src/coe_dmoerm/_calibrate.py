"""Thresholds of a cascade, from answers whose scores are known: the cheapest that lose little."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coe.errors import DataError
from coe_dmoerm._evaluate import prompt_interval
from coe_dmoerm._heads import folds_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TRIED = 4_000
"""Combinations of thresholds that are tried; with more experts each one is looked at less finely."""
_FINEST = 40
_FOLDS = 5


@dataclass(frozen=True, slots=True)
class Answered:
    """What k experts, the cheapest first, answered to n prompts.

    Attributes:
        experts: k names.
        rewards: float64[n, k], what the cascade would look at.
        scores: float64[n, k] in 0..1, how good the answers were.
        usd: float64[n, k].
    """

    experts: tuple[str, ...]
    rewards: NDArray[np.float64]
    scores: NDArray[np.float64]
    usd: NDArray[np.float64]

    def take(self, rows: NDArray[np.bool_]) -> Answered:
        """Some of the prompts."""
        return Answered(self.experts, self.rewards[rows], self.scores[rows], self.usd[rows])


@dataclass(frozen=True, slots=True)
class Climbed:
    """What a cascade does to each of n prompts.

    Attributes:
        score: float64[n].
        usd: float64[n], of all experts that were asked.
        step: int64[n], whose answer was taken.
    """

    score: NDArray[np.float64]
    usd: NDArray[np.float64]
    step: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Calibrated:
    """Thresholds, and what they are worth on prompts that they were not chosen on.

    Attributes:
        thresholds: for each expert but the last; what an answer must reach to be taken.
        held_back: what thresholds of four fifths of the prompts did to the others.
        single: the expert whose score is kept: the best one on its own.
        lead: mean score of `held_back` less that of `single`, and its 95 % interval.
    """

    thresholds: tuple[float, ...]
    held_back: Climbed
    single: str
    lead: tuple[float, float, float]


def climb(answered: Answered, thresholds: Sequence[float]) -> Climbed:
    """Ask one expert after the other until an answer's reward reaches its threshold."""
    n, k = answered.rewards.shape
    reached = answered.rewards >= np.array([*thresholds, -math.inf])
    step = reached.argmax(axis=1).astype(np.int64)
    rows = np.arange(n, dtype=np.int64)
    asked = np.arange(k, dtype=np.int64) <= step[:, None]
    return Climbed(answered.scores[rows, step], np.where(asked, answered.usd, 0).sum(axis=1), step)


def calibrate(answered: Answered, loss: float, seed: int = 0) -> Calibrated:
    """Choose thresholds, and judge the choice by cross-validation.

    Args:
        answered: what the experts answered.
        loss: of the best single expert's mean score, that may be lost.
        seed: of the folds and of the interval.

    Raises:
        DataError: fewer than two experts, or fewer than ten prompts.
    """
    n, k = answered.rewards.shape
    if k < 2 or n < 2 * _FOLDS:
        raise DataError(f"{n} prompts with answers of all {k} experts; expected 2 experts and 10 prompts.")
    folds = folds_of(np.arange(n, dtype=np.int64), _FOLDS, seed)
    score, usd, step = np.zeros(n), np.zeros(n), np.zeros(n, np.int64)
    for fold in range(_FOLDS):
        held = folds == fold
        found = climb(answered.take(held), cheapest(answered.take(~held), loss))
        score[held], usd[held], step[held] = found.score, found.usd, found.step
    best = int(answered.scores.mean(axis=0).argmax())
    lead = score - answered.scores[:, best]
    low, high = prompt_interval(lead, range(n), seed)
    return Calibrated(
        cheapest(answered, loss),
        Climbed(score, usd, step),
        answered.experts[best],
        (float(lead.mean()), low, high),
    )


def cheapest(answered: Answered, loss: float) -> tuple[float, ...]:
    """The cheapest thresholds that lose at most so much of the best single expert's mean score.

    Of equally cheap ones those with the higher score; where none loses so little, those with the highest.
    """
    steps = len(answered.experts) - 1
    size = min(_FINEST, max(int(_TRIED ** (1 / steps)), 2))
    least = float(answered.scores.mean(axis=0).max()) - loss - 1e-12
    kinds = [
        (-math.inf, *np.unique(np.quantile(column, np.linspace(0, 1, size))).tolist(), math.inf)
        for column in answered.rewards.T[:steps]
    ]

    def worth(thresholds: tuple[float, ...]) -> tuple[bool, float, float]:
        found = climb(answered, thresholds)
        score, usd = float(found.score.mean()), float(found.usd.mean())
        return (True, -usd, score) if score >= least else (False, score, -usd)

    return max(itertools.product(*kinds), key=worth)
