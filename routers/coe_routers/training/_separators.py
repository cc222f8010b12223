"""One separating plane for each category against all other rows.

Squared hinge loss in the dual: five times as fast as multinomial logistic regression on these features, and
after temperature scaling better in accuracy and likelihood (docs/router.md).

Most rows of other categories lie far on their side of a plane and have no part in it. So each plane is
fitted on its own rows and those that an earlier, rougher head puts near it; then all rows are looked at.
On the rows that it was fitted on it costs no more than the best plane of all rows does, so what the left-out
rows cost is all that it can lose. Where that is more than `_GAP` of its objective, they are added and it is
fitted again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from coe_routers._extras import library
from coe_routers._threads import one_thread

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TOLERANCE = 0.03
_GAP = 0.005
"""The part of its objective that a plane may lose by the rows left out; on average it is a fifth of that."""
_NEAR = -1.1
"""Rows of other categories with a greater value of the rougher head take part at first."""
_EVERY = 4
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

    @one_thread
    def fit(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weights float32[dim, c] and bias float32[c], fitted on some rows that hold every column."""
        own = self._targets[rows][:, None] == np.arange(self._columns)
        if len(rows) < _WORTH_IT:
            return self._planes(rows, own, np.ones_like(own), range(self._columns))
        if self._values is None:
            some = self._some(rows)
            mine = self._targets[some][:, None] == np.arange(self._columns)
            first = self._planes(some, mine, np.ones_like(mine), range(self._columns), tolerance=1.0)
            self._values = self._look(*first)
        used = own | (self._values[rows] > _NEAR)
        used[:, used.sum(axis=0) == own.sum(axis=0)] = True  # a plane needs two sides
        weights, bias = self._planes(rows, own, used, range(self._columns))
        while True:
            self._values = self._look(weights, bias)
            missed = np.flatnonzero(self._lost(self._values[rows], own, used, weights, bias) > _GAP)
            if not len(missed):
                return weights, bias
            used |= self._values[rows] > -1
            weights[:, missed], bias[missed] = self._planes(rows, own, used, missed.tolist())

    def _lost(
        self,
        values: NDArray[np.float32],
        own: NDArray[np.bool_],
        used: NDArray[np.bool_],
        weights: NDArray[np.float32],
        bias: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """The most that each plane loses by the rows left out, as a part of its objective: float32[c]."""
        side: NDArray[np.float32] = np.where(own, 1, -1).astype(np.float32)
        cost = (self._strength * np.maximum(1 - side * values, 0) ** 2).astype(np.float32)
        if self._balanced:
            share: NDArray[np.float32] = own.mean(axis=0, dtype=np.float32)
            cost *= np.where(own, 0.5 / share, 0.5 / (1 - share))
        objective: NDArray[np.float32] = ((weights**2).sum(axis=0) + bias**2) / 2 + cost.sum(axis=0)
        left: NDArray[np.float32] = (cost * ~used).sum(axis=0)
        return left / objective

    def _planes(
        self,
        rows: NDArray[np.int64],
        own: NDArray[np.bool_],
        used: NDArray[np.bool_],
        columns: Sequence[int],
        tolerance: float = _TOLERANCE,
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

    def _some(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Every `_EVERY`-th row of each column, at least one."""
        found = [rows[self._targets[rows] == column][::_EVERY] for column in range(self._columns)]
        return np.sort(np.concatenate(found))
