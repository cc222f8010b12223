"""One separating plane for each category against all other rows.

Squared hinge loss in the dual: five times as fast as multinomial logistic regression on these features, and
after temperature scaling better in accuracy and likelihood (docs/router.md).

Most rows of other categories lie far on their side of a plane and have no part in it. So each plane is fitted
on its own rows and those that an earlier, rougher head puts near it; then all rows are looked at. What the
left-out rows would add to the loss bounds how far the plane is from the best one: where that is more than
`_GAP` of the objective, the rows that matter are added and the plane is fitted again. On 10,781 prompts of 58
categories this takes half the time of fitting on all rows, and the held-out likelihood is the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from coe_routers._extras import library

if TYPE_CHECKING:
    from numpy.typing import NDArray

_GAP = 0.03
_NEAR = -1.05
"""Rows of other categories with a greater value of the rougher head take part at first."""
_EVERY = 8
"""The first head is fitted on this fraction of the rows."""
_WORTH_IT = 2000
"""With fewer rows all take part at once."""


class Separators:
    """Fits heads on subsets of the same rows, each helped by the one before.

    Args:
        matrix: float64 CSR [n, dim].
        targets: int64[n], the column of each row.
        columns: how many there are.
        strength: inverse regularisation.
        balanced: weigh columns equally, however many rows they have.
        seed: of the solver.
    """

    def __init__(
        self,
        matrix: Any,
        targets: NDArray[np.int64],
        columns: int,
        *,
        strength: float,
        balanced: bool,
        seed: int,
    ) -> None:
        self._matrix = matrix
        # Values are only compared with thresholds: float32 halves the time of looking at all rows.
        self._rough = matrix.astype(np.float32)
        self._targets = targets
        self._columns = columns
        self._strength = strength
        self._balanced = balanced
        self._seed = seed
        self._values: NDArray[np.float32] | None = None

    def fit(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weights float32[dim, c] and bias float32[c], fitted on some rows that hold every column."""
        own = self._targets[rows][:, None] == np.arange(self._columns)
        if len(rows) < _WORTH_IT:
            return self._planes(rows, own, np.ones_like(own), range(self._columns), tolerance=0.1)
        if self._values is None:
            some = self._some(rows)
            mine = self._targets[some][:, None] == np.arange(self._columns)
            first = self._planes(some, mine, np.ones_like(mine), range(self._columns), tolerance=1.0)
            self._values = self._look(*first)
        used = own | (self._values[rows] > _NEAR)
        weights, bias = self._planes(rows, own, used, range(self._columns), tolerance=0.1)
        while True:
            self._values = self._look(weights, bias)
            gap = self._gap(self._values[rows], own, used, weights, bias)
            if not len(missed := np.flatnonzero(gap > _GAP)):
                return weights, bias
            used |= self._values[rows] > -1
            weights[:, missed], bias[missed] = self._planes(rows, own, used, missed.tolist(), tolerance=0.1)

    def _planes(
        self,
        rows: NDArray[np.int64],
        own: NDArray[np.bool_],
        used: NDArray[np.bool_],
        columns: Any,
        *,
        tolerance: float,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        solver: Any = library("sklearn.svm", "train").LinearSVC
        weights = np.zeros((self._matrix.shape[1], len(columns)), np.float32)
        bias = np.zeros(len(columns), np.float32)
        whole = self._matrix[rows]
        for place, column in enumerate(columns):
            mine, part = own[:, column], used[:, column]
            fitted = solver(
                C=self._strength,
                tol=tolerance,
                max_iter=300,
                class_weight=self._weights(mine),
                random_state=self._seed,
            ).fit(whole if part.all() else whole[np.flatnonzero(part)], mine[part])
            weights[:, place], bias[place] = fitted.coef_[0], fitted.intercept_[0]
        return weights, bias

    def _weights(self, mine: NDArray[np.bool_]) -> dict[bool, float] | None:
        if not self._balanced:
            return None
        share = float(mine.mean())
        return {True: 0.5 / share, False: 0.5 / (1 - share)}

    def _look(self, weights: NDArray[np.float32], bias: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(self._rough @ weights + bias, dtype=np.float32)

    def _gap(
        self,
        values: NDArray[np.float32],
        own: NDArray[np.bool_],
        used: NDArray[np.bool_],
        weights: NDArray[np.float32],
        bias: NDArray[np.float32],
    ) -> NDArray[np.float64]:
        """What left-out rows would add to each column's objective, as a share of it: float64[c]."""
        loss = np.maximum(1 - np.where(own, values, -values), 0.0).astype(np.float64) ** 2
        if self._balanced:
            share = own.mean(axis=0)
            loss *= np.where(own, 0.5 / share, 0.5 / (1 - share))
        size = (weights.astype(np.float64) ** 2).sum(axis=0) + bias.astype(np.float64) ** 2
        inside = self._strength * (loss * used).sum(axis=0) + size / 2
        return self._strength * (loss * ~used).sum(axis=0) / np.maximum(inside, 1e-12)

    def _some(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Every `_EVERY`-th row of each column, at least one."""
        found = [rows[self._targets[rows] == column][::_EVERY] for column in range(self._columns)]
        return np.sort(np.concatenate(found))
