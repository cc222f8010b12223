from __future__ import annotations

import numpy as np
import pytest

from coe_routers.evaluation import compare, knn_choice

SCORES = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, np.nan]])
COST = np.array([[2.0, 1.0]] * 4)


def test_rows_of_the_comparison() -> None:
    rows = compare(
        SCORES,
        COST,
        np.array([0, 0, 1, 1]),
        {"router": np.array([0, 0, 1, 1]), "best single": np.zeros(4, dtype=np.int64)},
        reference="best single",
        seed=0,
    )
    found = {row.policy: row for row in rows}
    assert list(found) == ["router", "best single", "random", "category oracle", "prompt oracle"]
    assert found["router"].score == 1.0
    assert found["router"].n == 3
    assert found["router"].cost == pytest.approx(1.5)
    # Paired on the three prompts where both were recorded.
    assert found["router"].diff_points == pytest.approx(100 / 3)
    assert found["best single"].diff_ci95 == (0.0, 0.0)
    assert found["random"].score == pytest.approx((0.5 + 0.5 + 0.5 + 0.0) / 4)
    assert found["category oracle"].score == 1.0
    assert found["prompt oracle"].score == pytest.approx(0.75)
    assert found["prompt oracle"].score >= found["random"].score


def test_intervals_shrink_with_more_prompts() -> None:
    rng = np.random.default_rng(0)

    def width(n: int) -> float:
        scores = (rng.random((n, 2)) < [0.7, 0.5]).astype(float)
        chosen = {"router": np.zeros(n, dtype=np.int64), "best single": np.ones(n, dtype=np.int64)}
        row = compare(scores, np.ones((n, 2)), np.zeros(n, int), chosen, reference="best single", seed=1)[0]
        assert row.diff_ci95[0] < 20 < row.diff_ci95[1]
        return row.diff_ci95[1] - row.diff_ci95[0]

    assert width(4000) < 0.5 * width(200)


def test_without_categories_there_is_no_category_oracle() -> None:
    rows = compare(
        SCORES, COST, np.full(4, -1), {"best single": np.zeros(4, int)}, reference="best single", seed=0
    )
    assert [row.policy for row in rows] == ["best single", "random", "prompt oracle"]


def test_neighbours_decide_and_noise_does_not() -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(4, dtype=np.float32)[:2]
    label = rng.integers(0, 2, 400)
    vectors = centres[label] + rng.normal(0, 0.05, (400, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = (rng.random((400, 2)) < np.array([[0.9, 0.2], [0.2, 0.9]])[label]).astype(float)
    scores[::7, 0] = np.nan
    assert (knn_choice(vectors[:300], scores[:300], vectors[300:]) == label[300:]).mean() > 0.97
    alike = (rng.random((300, 2)) < [0.6, 0.55]).astype(float)
    assert (knn_choice(vectors[:300], alike, vectors[300:]) == alike.mean(axis=0).argmax()).mean() > 0.7
