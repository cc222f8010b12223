"""Mean score of every (category, expert) cell, shrunk so that small cells do not win by luck."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTable:
    """What is known of m experts in c categories.

    Attributes:
        categories, experts: names of rows and columns.
        share: float64[c], part of the prompts in each category; sums to 1.
        count: int64[c, m], scored prompts of the cell.
        mean: float64[c, m], their plain mean score, NaN where there are none.
        variance: float64[c, m], their sample variance, NaN below two.
        value: float64[c, m], the shrunken estimate that maps are solved with; never NaN. In a cell without
            prompts it is the prediction of expert and category alone.
        error: float64[c, m], standard deviation of `value` where experts are compared within a category:
            the difficulty that a prompt has for all experts alike is taken out.
    """

    categories: tuple[str, ...]
    experts: tuple[str, ...]
    share: Floats
    count: NDArray[np.int64]
    mean: Floats
    variance: Floats
    value: Floats
    error: Floats

    def interval(self, z: float = 1.96) -> tuple[Floats, Floats]:
        """Interval of each cell's mean score, float64[c, m] twice: Wilson's, which stays within 0..1.

        Scores between 0 and 1 vary less than zeros and ones of the same mean, so it is never too narrow.
        A cell without prompts gets (0, 1).
        """
        n = np.maximum(self.count, 1)
        p = np.where(self.count > 0, self.mean, 0.5)
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        empty = self.count == 0
        return np.where(empty, 0.0, centre - half), np.where(empty, 1.0, centre + half)


def score_table(
    scores: NDArray[np.floating],
    category: NDArray[np.integer],
    *,
    categories: tuple[str, ...],
    experts: tuple[str, ...],
) -> ScoreTable:
    """Build the table by empirical Bayes.

    The model is `score = category effect + expert effect + interaction + noise`. Only the interaction, that
    is what routing lives on, is shrunk: by tau² / (tau² + noise² / count), with tau² (how much interactions
    really differ) estimated from the table itself by the method of moments. A large cell keeps its mean; a
    small one moves towards what expert and category predict. Noise is measured after each prompt's own mean
    is taken out, since a hard prompt is hard for every expert and says nothing about which is better.

    Args:
        scores: float[n, m], NaN where an expert was not tried.
        category: int[n], index into `categories`; rows with a negative index are left out.

    Source: two-way random effects; Efron and Morris, 1975. Chosen over per-expert tau², a full covariance
    of experts and shrinkage of raw means by cross-validation on recorded outcomes: all were within 0.2
    points of each other, this is the simplest.
    """
    known = category >= 0
    y = np.asarray(scores[known], dtype=np.float64)
    cat = np.asarray(category[known], dtype=np.int64)
    seen = np.isfinite(y)
    y = np.where(seen, y, 0.0)
    c = len(categories)

    count = _per_category(seen.astype(np.float64), cat, c)
    n = np.maximum(count, 1.0)
    mean = _per_category(y, cat, c) / n
    square = _per_category(y * y, cat, c) / n
    variance = np.maximum(square - mean * mean, 0.0) * n / np.maximum(count - 1, 1)

    row_effect, expert_effect = _additive(mean, count)
    interaction = np.where(count > 0, mean - row_effect - expert_effect, 0.0)
    noise = _noise(y, seen, cat, c) / n
    # Centring k scores takes 1/k of their variance away; a gap between two experts has all of it.
    tried = seen.sum(axis=1).mean() if len(y) else 1.0
    gap_noise = noise * tried / max(tried - 1.0, 1.0)
    tau2 = _tau2(interaction, noise, count)
    keep = np.where(count > 0, tau2 / (tau2 + noise + 1e-12), 0.0)
    rows = np.bincount(cat, minlength=c).astype(np.float64)
    return ScoreTable(
        categories=categories,
        experts=experts,
        share=rows / max(rows.sum(), 1.0),
        count=count.astype(np.int64),
        mean=np.where(count > 0, mean, np.nan),
        variance=np.where(count > 1, variance, np.nan),
        value=np.clip(row_effect + expert_effect + keep * interaction, 0.0, 1.0),
        error=np.sqrt(np.where(count > 0, keep * gap_noise, tau2)),
    )


def best_single(table: ScoreTable, allowed: NDArray[np.bool_] | None = None) -> int | None:
    """Column of the expert with the highest expected score over all categories, the first on a tie.

    Args:
        allowed: bool[c, m], cells that may be used. An expert must be allowed, and scored, wherever there
            are prompts.

    Returns:
        None when no expert covers every category.
    """
    usable = table.count > 0 if allowed is None else allowed & (table.count > 0)
    covers = usable[table.share > 0].all(axis=0)
    expected = np.where(covers, table.share @ table.value, -np.inf)
    return int(expected.argmax()) if covers.any() else None


def cautious(table: ScoreTable, reference: int, caution: float) -> Floats:
    """Values float64[c, m] that favour `reference`: others lose `caution` standard deviations of the gap.

    With 0 the plain values; with 1 a category leaves the reference expert only where another is better
    beyond one standard deviation.
    """
    gap_error = np.sqrt(table.error**2 + table.error[:, [reference]] ** 2)
    gap_error[:, reference] = 0.0
    return table.value - caution * gap_error


def _per_category(values: Floats, cat: NDArray[np.int64], c: int) -> Floats:
    """Sums float64[c, m] of the rows float64[n, m] of each category."""
    sums = [np.bincount(cat, weights=column, minlength=c) for column in values.T]
    return np.stack(sums, axis=1).astype(np.float64)


def _additive(mean: Floats, count: Floats) -> tuple[Floats, Floats]:
    """Category effects float64[c, 1] and expert effects float64[1, m], fitted by backfitting.

    Exact after one round when every expert saw every prompt; missing cells need a few more.
    """
    row, column = np.zeros((mean.shape[0], 1)), np.zeros((1, mean.shape[1]))
    of_row = np.maximum(count.sum(axis=1, keepdims=True), 1.0)
    of_column = np.maximum(count.sum(axis=0, keepdims=True), 1.0)
    for _ in range(30):
        row = ((mean - column) * count).sum(axis=1, keepdims=True) / of_row
        step = ((mean - row) * count).sum(axis=0, keepdims=True) / of_column - column
        column = column + step
        if np.abs(step).max(initial=0.0) < 1e-9:
            break
    return row, column


def _noise(y: Floats, seen: NDArray[np.bool_], cat: NDArray[np.int64], c: int) -> Floats:
    """Variance float64[1, m] of an expert's score around its cell, the prompt's own mean taken out."""
    tried = seen.sum(axis=1, keepdims=True)
    centred = np.where(seen, y - y.sum(axis=1, keepdims=True) / np.maximum(tried, 1), 0.0)
    count = _per_category(seen.astype(np.float64), cat, c)
    cell = _per_category(centred, cat, c) / np.maximum(count, 1.0)
    rest = np.where(seen, centred - cell[cat], 0.0)
    degrees = np.maximum((count - (count > 0)).sum(axis=0), 1.0)
    return ((rest**2).sum(axis=0) / degrees)[None, :]


def _tau2(interaction: Floats, noise: Floats, count: Floats) -> float:
    """Variance of the true interactions: what the observed ones vary beyond their noise.

    Fitting each expert's effect takes its part of both variances away, which is given back here.
    """
    weight = count / np.maximum(count.sum(axis=0, keepdims=True), 1.0)
    cells = np.maximum((count > 0).sum(axis=0), 1)
    observed = (interaction**2 * weight).sum(axis=0)
    expected = (noise * weight).sum(axis=0) * (cells - 1) / cells
    left = 1.0 - (weight**2).sum(axis=0)
    return max(float((observed - expected).sum() / max(float(left.sum()), 1e-9)), 0.0)
