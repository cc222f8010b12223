"""From category probabilities to an expert."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Which expert answers a prompt, given the probabilities of its categories.

    With `blend` the expert of highest expected worth `sum_c p(c) * (value - price)[c]` among those that the
    most probable category allows; without it the best of the most probable category alone. An uncertain
    prompt takes the last row, `general`, alone.

    Attributes:
        experts: m names.
        value: float64[c + 1, m], expected scores; the last row is `general`.
        price: float64[c + 1, m], what is taken off a score because of budgets, in score.
        allowed: bool[c + 1, m]; every row allows somebody.
        blend: whether probabilities are used or only their maximum.
    """

    experts: tuple[str, ...]
    value: Floats
    price: Floats
    allowed: NDArray[np.bool_]
    blend: bool

    def scores(
        self, probabilities: NDArray[np.floating], uncertain: NDArray[np.bool_]
    ) -> tuple[Floats, Floats]:
        """Expected scores and worths, float64[n, m] each; the worth of an expert not allowed is -inf.

        Args:
            probabilities: float[n, c].
            uncertain: bool[n].
        """
        top = np.where(uncertain, len(self.value) - 1, probabilities.argmax(axis=1))
        if self.blend:
            alone = uncertain[:, None]
            score = np.where(alone, self.value[-1], probabilities @ self.value[:-1])
            price = np.where(alone, self.price[-1], probabilities @ self.price[:-1])
        else:
            score, price = self.value[top], self.price[top]
        return score, np.where(self.allowed[top], score - price, -np.inf)

    def choose(self, probabilities: NDArray[np.floating], uncertain: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Column of the best expert for each prompt, the first on a tie: int64[n]."""
        return self.scores(probabilities, uncertain)[1].argmax(axis=1)
