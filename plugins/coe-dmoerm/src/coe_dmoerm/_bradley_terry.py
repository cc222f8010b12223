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
    return loss, -sigmoid(-margins) / len(margins)


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


def fit_rewards(rows: Any, pairs: NDArray[np.int64], l2: float) -> NDArray[np.float64]:
    """Weights float64[d] of rewards that minimise the loss on pairs plus l2/2 · |w|².

    Rewards are computed once for each item: there are many more pairs than items.

    Args:
        rows: [n, d], features of the items; dense or sparse.
        pairs: int64[m, 2], the better and the worse.
        l2: pulls towards 0.
    """
    better, worse = pairs.T
    turned = rows.T.tocsr() if hasattr(rows, "tocsr") else rows.T

    def objective(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        rewards = rows @ weights
        loss, slope = loss_and_slope(rewards[better] - rewards[worse])
        by_reward = np.bincount(better, slope, len(rewards)) - np.bincount(worse, slope, len(rewards))
        return loss + l2 / 2 * float(weights @ weights), turned @ by_reward + l2 * weights

    found: Any = library("scipy.optimize").minimize(
        objective, np.zeros(rows.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 100}
    )
    return np.asarray(found.x, np.float64)


def sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities, float64 of the same shape, that the better of pairs with these margins is preferred."""
    return np.exp(-np.logaddexp(0, -values))
