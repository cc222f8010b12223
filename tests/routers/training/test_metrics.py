import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe_routers.training import accuracy, auroc, expected_calibration_error, macro_f1

sklearn_metrics = pytest.importorskip("sklearn.metrics")


def predicted(columns: list[int], width: int, confidence: float = 1.0) -> np.ndarray:
    probabilities = np.full((len(columns), width), (1 - confidence) / (width - 1), np.float32)
    probabilities[np.arange(len(columns)), columns] = confidence
    return probabilities


PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)


@given(PAIRS)
def test_macro_f1_and_accuracy_agree_with_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    guesses, labels = (list(column) for column in zip(*pairs, strict=True))
    found = predicted(guesses, 4)
    expected = sklearn_metrics.f1_score(labels, guesses, average="macro")
    assert macro_f1(found, np.array(labels)) == pytest.approx(expected)
    assert accuracy(found, np.array(labels)) == pytest.approx(sklearn_metrics.accuracy_score(labels, guesses))


VALUES = st.lists(st.integers(0, 9), min_size=1, max_size=20)


@given(VALUES, VALUES)
def test_auroc_agrees_with_scikit_learn(inside: list[int], outside: list[int]) -> None:
    labels = [0] * len(inside) + [1] * len(outside)
    expected = sklearn_metrics.roc_auc_score(labels, inside + outside)
    assert auroc(np.array(inside, np.float32), np.array(outside, np.float32)) == pytest.approx(expected)


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    found = predicted([0] * 10, 3, confidence=0.8)
    assert expected_calibration_error(found, np.array([0] * 8 + [1] * 2)) == pytest.approx(0, abs=1e-6)
    assert expected_calibration_error(found, np.array([0] * 5 + [1] * 5)) == pytest.approx(0.3, abs=1e-6)
