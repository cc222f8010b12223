"""The Bradley–Terry loss: mean over pairs of −log σ(reward of the better − reward of the worse)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from coe_dmoerm._libraries import library

if TYPE_CHECKING:
    from numpy.typing import NDArray


def loss_and_slope(margins: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Mean loss of margins float64[m], and its derivative by each of them."""
    loss = float(np.logaddexp(0, -margins).mean())
    return loss, -_sigmoid(-margins) / len(margins)


def fit_linear(differences: Any, l2: float, start: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Weights float64[d] that minimise the loss on pairs plus l2/2 · |w − start|².

    Args:
        differences: [m, d], features of the better minus those of the worse; dense or sparse.
        l2: pulls towards `start`.
        start: float64[d]; zeros by default.
    """
    origin = np.zeros(differences.shape[1]) if start is None else start

    def objective(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        loss, slope = loss_and_slope(differences @ weights)
        off = weights - origin
        return loss + l2 / 2 * float(off @ off), differences.T @ slope + l2 * off

    found: Any = library("scipy.optimize").minimize(
        objective, origin, jac=True, method="L-BFGS-B", options={"maxiter": 200}
    )
    return np.asarray(found.x, np.float64)


def _sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.exp(-np.logaddexp(0, -values))
