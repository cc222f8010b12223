"""What models are fitted to, and how far they may be trusted over the experts' plain means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from coe.errors import DataError
from coe_routers.alternatives._prediction import Floats
from coe_routers.outcomes import Outcomes
from coe_routers.scores import paired_bootstrap

TRUSTS = (0.25, 0.5, 1.0)
"""How much of a predicted difference from an expert's mean is believed; 0, the best single expert, is always
considered too."""


@dataclass(frozen=True, slots=True)
class Trust:
    """How much of the predictions to believe, and the evidence.

    Attributes:
        share: 0 (always the best single expert) .. 1 (all).
        gain: held-out mean score above the best single expert's, by the share above 0 that did best.
        gain_ci95: its interval, paired by prompt.
    """

    share: float
    gain: float
    gain_ci95: tuple[float, float]


def filled(outcomes: Outcomes) -> Floats:
    """Scores float64[n, m] without gaps: one is filled by the prompt's mean plus the expert's usual lead.

    Such a cell says nothing about which expert suits which prompt, as it should.

    Raises:
        DataError: an expert has no score at all, or fewer than two experts have.
    """
    scores = outcomes.scores.astype(np.float64)
    seen = np.isfinite(scores)
    if len(outcomes.experts) < 2:
        raise DataError(f"Routing needs two experts; the outcomes hold {len(outcomes.experts)}.")
    unseen: list[int] = np.flatnonzero(seen.sum(axis=0) == 0).tolist()
    if unseen:
        raise DataError(f"No scores of {', '.join(f'`{outcomes.experts[e]}`' for e in unseen)}.")
    known = np.where(seen, scores, 0.0)
    row, lead = np.zeros((len(scores), 1)), np.zeros((1, scores.shape[1]))
    for _ in range(10):
        row = ((known - lead) * seen).sum(axis=1, keepdims=True) / np.maximum(
            seen.sum(axis=1, keepdims=True), 1
        )
        lead = ((known - row) * seen).sum(axis=0, keepdims=True) / seen.sum(axis=0, keepdims=True)
    return np.where(seen, scores, np.clip(row + lead, 0.0, 1.0))


def believed(mean: Floats, predicted: Floats, share: float) -> Floats:
    """Scores float64[n, m] between the experts' means float64[m] and the predictions float64[n, m]."""
    return mean + share * (predicted - mean)


def choose_trust(
    scores: Floats, mean: Floats, held_out: Floats, *, seed: int, shares: Sequence[float] = TRUSTS
) -> Trust:
    """Choose the share that scores best on held-out predictions.

    The best single expert is kept unless the gain over it exceeds one standard error.

    Args:
        scores: float64[n, m], recorded.
        mean: float64[m], mean score of each expert.
        held_out: float64[n, m], predicted by models that did not see the row.
        seed: of the bootstrap.
        shares: to choose from.
    """
    rows = np.arange(len(scores))
    alone = scores[:, int(mean.argmax())]
    got = [scores[rows, believed(mean, held_out, share).argmax(axis=1)] for share in shares]
    best = int(np.argmax([each.mean() for each in got]))
    gain, interval = paired_bootstrap(got[best], alone, seed=seed)
    worth_it = gain > (interval[1] - interval[0]) / (2 * 1.96)
    return Trust(shares[best] if worth_it else 0.0, gain, interval)
