"""One category: which experts can still be the best, and whether that is settled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coe_routers.ranking._betting import largest_log_capital

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Race:
    """A state machine over the scores of m experts on n prompts of one category.

    Two kinds of hypotheses are tested for every pair, on the prompts that both were scored on. `j is at least
    as good as i`: given up, j is beaten. `j is better than i by the tolerance or more`: given up, j is no
    contender against i. The race is settled when some unbeaten expert has no contender among the unbeaten.

    An error needs the best expert to lose a test that it should not lose. It takes part in 2 (m - 1) such
    tests, so with `alpha` for each the winner is within the tolerance of the best, except with probability
    2 (m - 1) alpha.

    Args:
        prompts: how many there are at most, n.
        experts: how many there are, m.
        alpha: chance of error of one test.
        tolerance: difference in mean score that does not matter, above 0.
    """

    def __init__(self, prompts: int, experts: int, *, alpha: float, tolerance: float) -> None:
        self.scores: Floats = np.full((prompts, experts), np.nan)
        self.beaten: Bools = np.zeros(experts, np.bool_)
        self._harmless: Bools = np.eye(experts, dtype=np.bool_)
        self._needed = -np.log(alpha)
        self._tolerance = tolerance

    def observe(self, expert: int, prompts: NDArray[np.integer], scores: NDArray[np.floating]) -> None:
        """Take in scores of an expert on prompts: int[k], float[k] in 0..1.

        Prompts must be taken in an order that was fixed before anything was scored: who chooses a prompt by
        what another expert made of it, biases the test.
        """
        self.scores[prompts, expert] = scores
        rows = np.isfinite(self.scores[:, expert])
        lead = self.scores[rows][:, [expert]] - self.scores[rows]
        # As j against all others, and all others as j against it.
        self._clear(expert, lead)
        self._beat(expert, lead)

    def _clear(self, expert: int, lead: Floats) -> None:
        worst = 1.0 - self._tolerance
        self._harmless[expert] |= self._lost(self._tolerance - lead, worst)
        self._harmless[:, expert] |= self._lost(self._tolerance + lead, worst)

    def _beat(self, expert: int, lead: Floats) -> None:
        loses, wins = self._lost(-lead, 1.0), self._lost(lead, 1.0)
        now = self.beaten | wins
        now[expert] |= bool(loses.any())
        if not now.all():
            self.beaten = now

    def _lost(self, gains: Floats, worst: float) -> Bools:
        return largest_log_capital(gains, worst) >= self._needed

    @property
    def count(self) -> NDArray[np.int64]:
        """Scored prompts of each expert, int64[m]."""
        return np.isfinite(self.scores).sum(axis=0)

    @property
    def mean(self) -> Floats:
        """Mean score of each expert, float64[m], NaN without any."""
        count = self.count
        return np.where(count > 0, np.nansum(self.scores, axis=0) / np.maximum(count, 1), np.nan)

    @property
    def winner(self) -> int | None:
        """The expert that the race is settled for, None while it is open; the best mean of several."""
        alive = ~self.beaten
        sure = alive & (self._harmless[alive].sum(axis=0) == alive.sum())
        if not sure.any():
            return None
        return int(np.where(sure, np.nan_to_num(self.mean, nan=-1.0), -np.inf).argmax())

    def harmless(self, leader: int) -> Bools:
        """Experts that are not better than `leader` by the tolerance or more, bool[m]."""
        return self._harmless[:, leader]

    @property
    def contenders(self) -> Bools:
        """Experts that may still win, bool[m]: the unbeaten ones, the winner alone once there is one."""
        if (winner := self.winner) is None:
            return ~self.beaten
        return np.arange(len(self.beaten)) == winner
