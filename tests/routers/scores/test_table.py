from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from coe_routers.scores import (
    ScoreTable,
    best_single,
    bootstrap_mean,
    cautious,
    paired_bootstrap,
    score_table,
)


def table(scores: NDArray[np.float64], category: list[int], c: int) -> ScoreTable:
    return score_table(
        scores,
        np.array(category),
        categories=tuple(f"c{n}" for n in range(c)),
        experts=tuple(f"e{n}" for n in range(scores.shape[1])),
    )


def simulated(
    seed: int, n: int, c: int, m: int, spread: float
) -> tuple[NDArray[np.float64], list[int], NDArray[np.float64]]:
    """Scores of 0 and 1, categories, and the true table."""
    rng = np.random.default_rng(seed)
    truth = np.clip(
        0.5 + rng.normal(0, 0.1, (c, 1)) + rng.normal(0, 0.05, (1, m)) + rng.normal(0, spread, (c, m)), 0, 1
    )
    category = rng.integers(0, c, n)
    return (rng.random((n, m)) < truth[category]).astype(float), category.tolist(), truth


def test_plain_statistics_and_share() -> None:
    scores = np.array([[1.0, 0.0], [0.0, np.nan], [1.0, 1.0], [0.5, 0.5]])
    made = table(scores, [0, 0, 1, -1], 3)
    assert made.count.tolist() == [[2, 1], [1, 1], [0, 0]]
    np.testing.assert_allclose(made.mean[:2], [[0.5, 0.0], [1.0, 1.0]])
    assert np.isnan(made.mean[2]).all()
    np.testing.assert_allclose(made.share, [2 / 3, 1 / 3, 0])
    assert made.variance[0, 0] == pytest.approx(0.5)
    assert np.isfinite(made.value).all()


def test_without_noise_nothing_is_shrunk() -> None:
    scores = np.repeat(np.array([[0.9, 0.1], [0.2, 0.8]]), 10, axis=0)
    made = table(scores, [0] * 10 + [1] * 10, 2)
    np.testing.assert_allclose(made.value, [[0.9, 0.1], [0.2, 0.8]], atol=1e-6)


def test_a_lucky_small_cell_moves_further_than_a_large_one() -> None:
    scores, category, _ = simulated(0, 600, 6, 5, spread=0.1)
    scores = np.vstack([scores, np.array([[1.0, 0, 0, 0, 0]] * 2)])
    made = table(scores, [*category, 6, 6], 7)
    moved = np.abs(made.value - made.mean)
    assert moved[6, 0] > 3 * moved[:6].max()
    assert made.error[6].min() > made.error[:6].max()


@pytest.mark.parametrize("seed", range(5))
def test_shrunk_values_are_closer_to_the_truth_than_means(seed: int) -> None:
    scores, category, truth = simulated(seed, 400, 10, 8, spread=0.05)
    made = table(scores, category, 10)
    assert ((made.value - truth) ** 2).mean() < ((made.mean - truth) ** 2).mean()


def test_a_cell_without_prompts_gets_the_prediction_of_expert_and_category() -> None:
    base = np.array([[0.8, 0.6], [0.5, 0.3], [0.4, np.nan]])
    made = table(np.repeat(base, 20, axis=0), [0] * 20 + [1] * 20 + [2] * 20, 3)
    assert made.value[2, 1] == pytest.approx(0.2, abs=1e-6)
    low, high = made.interval()
    assert (low[2, 1], high[2, 1]) == (0.0, 1.0)


def test_intervals_cover() -> None:
    inside = []
    for seed in range(20):
        scores, category, truth = simulated(seed, 500, 5, 4, spread=0.1)
        low, high = table(scores, category, 5).interval()
        inside.append((low <= truth) & (truth <= high))
    assert 0.92 < np.mean(inside) <= 1.0


def test_best_single_must_cover_every_category() -> None:
    scores = np.array([[1.0, 0.5, 0.6], [np.nan, 0.5, 0.5]])
    made = table(np.repeat(scores, 5, axis=0), [0] * 5 + [1] * 5, 2)
    assert best_single(made) == 2
    assert best_single(made, np.array([[True, True, False], [True, True, True]])) == 1
    assert best_single(made, np.zeros((2, 3), dtype=bool)) is None


def test_caution_favours_the_reference() -> None:
    scores, category, _ = simulated(3, 300, 6, 4, spread=0.1)
    made = table(scores, category, 6)
    np.testing.assert_array_equal(cautious(made, 1, 0.0), made.value)
    careful = cautious(made, 1, 1.0)
    np.testing.assert_array_equal(careful[:, 1], made.value[:, 1])
    assert (np.delete(careful, 1, axis=1) < np.delete(made.value, 1, axis=1)).all()


def test_the_error_is_that_of_gaps() -> None:
    """Over many samples of one cell the gap of two experts varies as the table says."""
    rng = np.random.default_rng(0)
    gaps, errors = [], []
    for _ in range(300):
        hard = rng.random((400, 1)) < 0.5
        scores = ((rng.random((400, 3)) < np.where(hard, 0.2, 0.9)) * 1.0).astype(float)
        made = table(scores, ([0, 1] * 200), 2)
        gaps.append(made.mean[0, 0] - made.mean[0, 1])
        count = made.count[0, 0]
        errors.append(np.sqrt(made.variance[0, :2].sum() / count))
    # Prompts that are hard for all make plain errors too wide for gaps.
    assert np.std(gaps) < 0.85 * np.mean(errors)


def test_bootstrap_of_the_mean_matches_theory() -> None:
    rng = np.random.default_rng(0)
    for values in ((rng.random(400) < 0.3).astype(float), rng.normal(0, 1, 400)):
        low, high = bootstrap_mean(values, seed=1)
        half = 1.96 * values.std() / np.sqrt(len(values))
        assert high - low == pytest.approx(2 * half, rel=0.1)
        assert low < values.mean() < high
    assert bootstrap_mean(values, seed=1) == bootstrap_mean(values, seed=1)
    assert bootstrap_mean(values, seed=1) != bootstrap_mean(values, seed=2)


def test_pairs_with_a_gap_in_either_are_left_out() -> None:
    mean, (low, high) = paired_bootstrap(np.array([1, 0, np.nan, 1]), np.array([0, 0, 1, np.nan]), seed=0)
    assert mean == pytest.approx(0.5)
    assert low <= 0.5 <= high
    assert np.isnan(paired_bootstrap(np.array([np.nan]), np.array([1.0]), seed=0)[0])
