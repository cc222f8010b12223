"""Teaching a classifier which categories it confuses, from what it said of prompts it had not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coe_routers._extras import library
from coe_routers._threads import one_thread

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_COLUMNS = 100
"""With more columns a correction has more numbers than prompts can settle, and takes too long to fit."""
_STEPS = 100
_ENOUGH = 1e-6
"""Part of the penalised likelihood: a step that gains less is the last."""
_SAMPLE = 2000
"""Rows, about, that tell how the likelihood curves: the coordinates need not be exact."""


@dataclass(frozen=True, slots=True)
class Correction:
    """Corrected logits are `logits @ matrix + offset`: a layer behind the layer, folded into it afterwards.

    Planes fitted one against all others know nothing of each other; one scale for all of them (a
    temperature) cannot mend that. Measured: accuracy .72 to .81 and likelihood .84 to .49 nats on 12 kinds
    of tool call, likelihood .42 to .37 on 13 tasks and .57 to .53 on 14 subjects.
    """

    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]

    def __call__(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Corrected logits float32[n, c]."""
        return (logits @ self.matrix + self.offset).astype(np.float32)

    def folded(
        self, weights: NDArray[np.float32], bias: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weights float32[d, c] and bias float32[c] of the layer that gives corrected logits."""
        return (weights @ self.matrix.astype(np.float32)), self(bias)


@one_thread
def fit_correction(logits: NDArray[np.float32], labels: NDArray[np.int64], temperature: float) -> Correction:
    """The correction of most likelihood, held to the plain temperature by a penalty.

    The penalty on squared differences grows with the number of columns c, so that what a column learns from
    each other one counts as one prompt of evidence against c.

    Args:
        logits: float32[n, c] of held-out rows.
        labels: int64[n], the column of each row.
        temperature: the one that fits these logits best.

    Source: matrix scaling, Guo et al., arXiv 1706.04599; regularised as in Kull et al., arXiv 1910.12656.
    """
    optimize: Any = library("scipy.optimize", "train")
    n, c = logits.shape
    z = np.hstack([logits.astype(np.float64) / temperature, np.ones((n, 1))])
    rows = np.arange(n, dtype=np.int64)
    penalty = float(c)
    scales = _scales(z, penalty)

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        change = _unscaled(scales, flat)
        moved = z @ change
        moved += z[:, :c]
        moved -= moved.max(axis=1, keepdims=True)
        likelihood = float(moved[rows, labels].sum())
        np.exp(moved, out=moved)
        total = moved.sum(axis=1, keepdims=True)
        likelihood -= float(np.log(total).sum())
        moved /= total
        moved[rows, labels] -= 1
        slope = z.T @ moved + penalty * change
        return penalty / 2 * float((change**2).sum()) - likelihood, (scales @ slope.T[..., None]).ravel()

    found = optimize.minimize(
        loss,
        np.zeros(c * (c + 1)),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _STEPS, "ftol": _ENOUGH},
    )
    change = _unscaled(scales, np.asarray(found.x, dtype=np.float64))
    return Correction(np.eye(c) + change[:c], change[c] * temperature)


def _scales(z: NDArray[np.float64], penalty: float) -> NDArray[np.float64]:
    """Coordinates in which the likelihood curves about equally every way: float64[c, c + 1, c + 1].

    Inverse Cholesky factors of each column's own second derivatives where no change is made. In plain
    coordinates 100 steps do not reach the best correction of 58 columns; in these a few do.
    """
    c = z.shape[1] - 1
    every = max(1, len(z) // _SAMPLE)
    z = z[::every]
    shares = np.exp(z[:, :c] - z[:, :c].max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    curved = np.stack([(z.T * (share * (1 - share))) @ z for share in shares.T])
    inverse = np.linalg.inv(np.linalg.cholesky(every * curved + penalty * np.eye(c + 1)))
    return inverse.astype(np.float64)


def _unscaled(scales: NDArray[np.float64], flat: NDArray[np.float64]) -> NDArray[np.float64]:
    """The change, float64[c + 1, c], that these coordinates stand for."""
    columns = flat.reshape(len(scales), -1)
    return (columns[:, None] @ scales)[:, 0].T
