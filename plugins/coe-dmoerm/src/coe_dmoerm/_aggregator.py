"""From a task's capabilities to one reward, trained by the Bradley–Terry loss.

`mlp` reads the heads' hidden features, as in the paper, beside a straight path from their scores; `linear`
weighs the scores alone, so that a reward can be explained by its capabilities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from coe_dmoerm._bradley_terry import fit_linear, loss_and_slope
from coe_dmoerm._libraries import library

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kind = Literal["auto", "mlp", "linear"]
_UNITS = 8
_LINEAR_L2 = (1.0, 0.1, 0.01)
_MLP_L2 = (0.3, 0.03)


@dataclass(frozen=True, slots=True)
class _Shape:
    """How far weights may move from the plain mean, and how large the network may grow (None: no network)."""

    linear_l2: float
    mlp_l2: float | None


_LINEAR = tuple(_Shape(l2, None) for l2 in _LINEAR_L2)
_MLP = tuple(_Shape(l2, own) for l2 in _LINEAR_L2[:2] for own in _MLP_L2)
_SHAPES: Mapping[Kind, tuple[_Shape, ...]] = {"linear": _LINEAR, "mlp": _MLP, "auto": (*_LINEAR, *_MLP)}


@dataclass(frozen=True, slots=True)
class Aggregator:
    """reward = (scores − centre)/spread · weights + PReLU(z W1 + b1) · W2, with z the scaled hidden features.

    Attributes:
        centre, spread, weights: float32[h], of the scores.
        hidden_centre, hidden_spread: float32[h · 6].
        first: float32[h · 6 + 1, u], W1 and b1; u is 0 for the linear one.
        second: float32[u].
        slope: float32[1], of PReLU below 0.
    """

    centre: NDArray[np.float32]
    spread: NDArray[np.float32]
    weights: NDArray[np.float32]
    hidden_centre: NDArray[np.float32]
    hidden_spread: NDArray[np.float32]
    first: NDArray[np.float32]
    second: NDArray[np.float32]
    slope: NDArray[np.float32]

    def rewards(self, scores: NDArray[np.float32], hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32[n] from scores float32[n, h] and hidden features float32[n, h, 6]."""
        found: NDArray[Any] = ((scores - self.centre) / self.spread) @ self.weights
        if len(self.second):
            flat = hidden.reshape(len(hidden), -1)
            scaled = (flat - self.hidden_centre) / self.hidden_spread
            inner: NDArray[Any] = scaled @ self.first[:-1] + self.first[-1]
            found = found + np.where(inner > 0, inner, self.slope * inner) @ self.second
        return found.astype(np.float32)

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """What makes it up."""
        return {name: getattr(self, name) for name in self.__slots__}


def aggregator_of(tensors: Mapping[str, NDArray[Any]]) -> Aggregator:
    """The aggregator whose tensors these are. Raises `KeyError` when one is missing."""
    return Aggregator(**{name: tensors[name] for name in Aggregator.__slots__})


def fit_aggregator(
    scores: NDArray[np.float32],
    hidden: NDArray[np.float32],
    pairs: NDArray[np.int64],
    folds: NDArray[np.int64],
    kind: Kind,
    seed: int,
) -> Aggregator:
    """Train on scores and hidden features that the heads gave to items they had not seen.

    Args:
        scores: float32[n, h].
        hidden: float32[n, h, 6].
        pairs: int64[m, 2], the better and the worse; without any, all capabilities weigh the same.
        folds: int64[n]: what is taken is judged on folds left out in turn; `auto` takes the better kind.
        kind: of aggregator.
        seed: of the first weights.
    """
    shapes = _SHAPES[kind]
    side = folds[pairs[:, 0]]
    turns = np.unique(side).tolist()

    def held_back(shape: _Shape) -> float:
        total = 0.0
        for turn in turns:
            made = _fit(scores, hidden, pairs[side != turn], shape, seed)
            said = made.rewards(scores, hidden).astype(np.float64)
            held = pairs[side == turn]
            total += loss_and_slope(said[held[:, 0]] - said[held[:, 1]])[0] * len(held)
        return total

    shape = min(shapes, key=held_back) if len(turns) > 1 else shapes[0]
    return _fit(scores, hidden, pairs, shape, seed)


def _fit(
    scores: NDArray[np.float32],
    hidden: NDArray[np.float32],
    pairs: NDArray[np.int64],
    shape: _Shape,
    seed: int,
) -> Aggregator:
    flat = hidden.reshape(len(hidden), -1)
    centre, spread = scores.mean(axis=0), np.maximum(scores.std(axis=0), 1e-6)
    hidden_centre, deviation = flat.mean(axis=0), flat.std(axis=0)
    hidden_spread = np.where(deviation > 1e-6, deviation, np.float32(1e6))  # a part that is not used
    standard = (scores - centre) / spread
    weights = np.full(scores.shape[1], 1 / scores.shape[1])
    first, second, slope = np.zeros((flat.shape[1] + 1, 0)), np.zeros(0), np.zeros(1)
    if len(pairs):
        better, worse = pairs.T
        lead = (standard[better] - standard[worse]).astype(np.float64)
        together = fit_linear(lead @ weights[:, None], 1e-4)  # one number: how sure the plain mean may be
        weights = fit_linear(lead, shape.linear_l2, weights * together)
        if shape.mlp_l2 is not None:
            scaled = (flat - hidden_centre) / hidden_spread
            first, second, slope = _fit_mlp(
                scaled, pairs, lead @ weights, shape.mlp_l2, np.random.default_rng(seed)
            )
    return Aggregator(
        *(
            np.asarray(each, np.float32)
            for each in (centre, spread, weights, hidden_centre, hidden_spread, first, second, slope)
        )
    )


def _fit_mlp(
    inputs: NDArray[Any],
    pairs: NDArray[np.int64],
    margins: NDArray[np.float64],
    l2: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """What the hidden features add to the `margins` float64[m] of the straight path."""
    wide = np.hstack([inputs, np.ones((len(inputs), 1))]).astype(np.float64)
    size = int(wide.shape[1])
    start = np.concatenate(
        [rng.normal(0, 0.3 / np.sqrt(size), size * _UNITS), rng.normal(0, 0.3, _UNITS), np.full(1, 0.25)]
    )

    def objective(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        first, second, slope = (
            values[: size * _UNITS].reshape(size, _UNITS),
            values[-_UNITS - 1 : -1],
            values[-1],
        )
        inner = wide @ first
        below = inner <= 0
        bent = np.where(below, slope * inner, inner)
        reward = bent @ second
        loss, by_margin = loss_and_slope(margins + reward[pairs[:, 0]] - reward[pairs[:, 1]])
        by_reward = np.bincount(pairs[:, 0], by_margin, len(reward)) - np.bincount(
            pairs[:, 1], by_margin, len(reward)
        )
        by_bent = by_reward[:, None] * second
        by_first = wide.T @ np.where(below, slope * by_bent, by_bent)
        by_slope = float((by_bent * inner)[below].sum())
        penalty = l2 / 2 * float(first.ravel() @ first.ravel() + second @ second)
        slopes = np.concatenate(
            [(by_first + l2 * first).ravel(), bent.T @ by_reward + l2 * second, [by_slope]]
        )
        return loss + penalty, slopes

    found: Any = library("scipy.optimize").minimize(
        objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 60}
    )
    values = np.asarray(found.x, np.float64)
    return values[: size * _UNITS].reshape(size, _UNITS), values[-_UNITS - 1 : -1], values[-1:]
