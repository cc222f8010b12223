"""Rows of the comparison: score, cost, paired difference to the best single expert."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coe_routers.scores import bootstrap_mean, paired_bootstrap

Floats = NDArray[np.float64]
_CELLS = 8_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRow:
    """One policy.

    Attributes:
        policy: its name.
        score, score_ci95: mean recorded score of the experts it chooses, bootstrap over prompts.
        cost: mean cost of its answers, NaN when unknown.
        diff_points, diff_ci95: hundredths of score above the best single expert, paired by prompt.
        n: prompts on which its choice was recorded.
    """

    policy: str
    score: float
    score_ci95: tuple[float, float]
    cost: float
    diff_points: float
    diff_ci95: tuple[float, float]
    n: int


def compare(
    scores: NDArray[np.floating],
    cost: Floats,
    category: NDArray[np.integer],
    chosen: Mapping[str, NDArray[np.int64]],
    *,
    reference: str,
    seed: int,
) -> tuple[PolicyRow, ...]:
    """Compare policies with each other, with chance and with both oracles.

    Args:
        scores: float[n, m], NaN where not recorded.
        cost: float64[n, m], NaN where unknown.
        category: int[n] for the per-category oracle, negative where unknown.
        chosen: policy to int64[n], the column it chooses.
        reference: the policy that differences are taken to; `chosen` holds it.
        seed: of the intervals.

    Returns:
        Rows in the order of `chosen`, then `random`, `category oracle` and `prompt oracle`. The oracles
        choose with the very scores that they are judged by: bounds that no router reaches.
    """
    data = np.asarray(scores, dtype=np.float64)
    rows = np.arange(len(data))
    got: dict[str, tuple[Floats, Floats]] = {
        name: (data[rows, column], cost[rows, column]) for name, column in chosen.items()
    }
    got["random"] = _row_means(data), _row_means(cost)
    if (category >= 0).any():
        best = _category_oracle(data, category)
        got["category oracle"] = data[rows, best], cost[rows, best]
    top = np.nan_to_num(data, nan=-1.0).argmax(axis=1)
    got["prompt oracle"] = data[rows, top], cost[rows, top]
    alone = got[reference][0]
    return tuple(_row(name, score, paid, alone, seed=seed) for name, (score, paid) in got.items())


def knn_choice(
    train: NDArray[np.float32], scores: NDArray[np.floating], test: NDArray[np.float32], *, k: int = 40
) -> NDArray[np.int64]:
    """The per-prompt router that learns no categories: best mean score over the k nearest prompts.

    Each expert's overall mean counts as `k` further neighbours; without it the noise of single prompts
    decides.

    Args:
        train: float32[n, dim], unit norm.
        scores: float[n, m] of the same prompts, NaN where not recorded.
        test: float32[t, dim].

    Returns:
        int64[t], column of the chosen expert.
    """
    data = np.asarray(scores, dtype=np.float64)
    overall = np.nan_to_num(_column_means(data), nan=0.0)
    filled = np.where(np.isfinite(data), data, overall)
    k = min(k, len(train))
    out = np.empty(len(test), dtype=np.int64)
    step = max(1, _CELLS // max(len(train), 1))
    for start in range(0, len(test), step):
        near = np.argpartition(-(test[start : start + step] @ train.T), k - 1, axis=1)[:, :k]
        out[start : start + step] = ((filled[near].mean(axis=1) + overall) / 2).argmax(axis=1)
    return out


def _row(name: str, score: Floats, paid: Floats, alone: Floats, *, seed: int) -> PolicyRow:
    seen = np.isfinite(score)
    known = paid[np.isfinite(paid)]
    gap, ci = paired_bootstrap(score, alone, seed=seed)
    return PolicyRow(
        policy=name,
        score=float(score[seen].mean()) if seen.any() else float("nan"),
        score_ci95=bootstrap_mean(score[seen], seed=seed),
        cost=float(known.mean()) if len(known) else float("nan"),
        diff_points=100 * gap,
        diff_ci95=(100 * ci[0], 100 * ci[1]),
        n=int(seen.sum()),
    )


def _row_means(data: Floats) -> Floats:
    return _column_means(data.T)


def _column_means(data: Floats) -> Floats:
    seen = np.isfinite(data)
    count = seen.sum(axis=0)
    return np.where(count > 0, np.where(seen, data, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)


def _category_oracle(data: Floats, category: NDArray[np.integer]) -> NDArray[np.int64]:
    """The best expert of each category by these very scores; of all rows where the category is unknown."""
    out = np.zeros(len(data), dtype=np.int64)
    for each in np.unique(category):
        rows = category == each
        part = data[rows] if each >= 0 else data
        # An expert recorded on a handful of the category's prompts is no measure of the category.
        covered = np.isfinite(part).mean(axis=0) >= np.isfinite(part).mean(axis=0).max() / 2
        out[rows] = np.where(covered, np.nan_to_num(_column_means(part), nan=-1.0), -1.0).argmax()
    return out
