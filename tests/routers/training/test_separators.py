import numpy as np
import pytest
from scipy import sparse
from sklearn import svm

from coe_routers.training import _separators
from coe_routers.training._separators import Separators


def rows(seed: int, n: int = 600, columns: int = 6) -> tuple[object, np.ndarray]:
    random = np.random.default_rng(seed)
    targets = random.permutation(np.arange(n) % columns)
    centres = random.normal(size=(columns, 12))
    return sparse.csr_matrix(centres[targets] + 1.5 * random.normal(size=(n, 12))), targets


def objective(matrix: object, mine: np.ndarray, balanced: bool, plane: np.ndarray, bias: float) -> float:
    share = mine.mean()
    weight = np.where(mine, 0.5 / share, 0.5 / (1 - share)) if balanced else 1.0
    margin = np.where(mine, 1, -1) * (np.asarray(matrix @ plane) + bias)
    return float((plane**2).sum() / 2 + bias**2 / 2 + 0.5 * (weight * np.maximum(1 - margin, 0) ** 2).sum())


@pytest.mark.parametrize("balanced", [False, True])
def test_planes_of_some_rows_are_as_good_as_those_of_all(
    monkeypatch: pytest.MonkeyPatch, balanced: bool
) -> None:
    monkeypatch.setattr(_separators, "_WORTH_IT", 100)
    matrix, targets = rows(0)
    made = Separators(matrix, targets, 6, strength=0.5, balanced=balanced, seed=0)
    weight = "balanced" if balanced else None
    for part in (np.arange(400), np.arange(200, 600)):
        weights, bias = made.fit(part)
        for column in range(6):
            mine = targets[part] == column
            exact = svm.LinearSVC(C=0.5, tol=1e-5, max_iter=100_000, class_weight=weight, random_state=0)
            exact.fit(matrix[part], mine)
            best = objective(matrix[part], mine, balanced, exact.coef_[0], exact.intercept_[0])
            found = objective(matrix[part], mine, balanced, weights[:, column], bias[column])
            assert best - 1e-6 <= found <= 1.02 * best


def test_a_plane_without_near_rows_still_has_two_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_separators, "_WORTH_IT", 10)
    targets = np.repeat([0, 1, 2], 20)
    matrix = sparse.csr_matrix(np.eye(3)[targets] * 50)
    weights, bias = Separators(matrix, targets, 3, strength=0.5, balanced=False, seed=0).fit(np.arange(60))
    assert (np.asarray(matrix @ weights + bias).argmax(axis=1) == targets).all()
