import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from coe_routers.classifiers import classification, softmax

LOGITS = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 4), st.integers(2, 6)), elements=st.floats(-80, 80, width=32)
)


@given(LOGITS, st.floats(0.05, 20), st.booleans())
def test_probabilities_are_probabilities(logits: np.ndarray, temperature: float, none: bool) -> None:
    categories = logits.shape[1] - (1 if none and logits.shape[1] > 2 else 0)
    found = classification(logits, categories, temperature, np.ones(len(logits), np.bool_))
    assert found.probabilities.shape == (len(logits), categories)
    assert found.probabilities.dtype == found.uncertainty.dtype == np.float32
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-4)
    assert ((found.uncertainty >= 0) & (found.uncertainty <= 1)).all()


def test_a_hotter_temperature_is_less_sure_and_keeps_the_order() -> None:
    logits = np.array([[3.0, 1.0, 0.0]], np.float32)
    everything = np.ones(1, np.bool_)
    cold, hot = (classification(logits, 3, temperature, everything) for temperature in (0.5, 2.0))
    assert cold.uncertainty[0] < hot.uncertainty[0]
    assert cold.probabilities.argsort().tolist() == hot.probabilities.argsort().tolist()


def test_what_belongs_to_none_is_uncertain() -> None:
    logits = np.array([[9.0, 0.0, 0.0], [9.0, 0.0, 20.0]], np.float32)
    found = classification(logits, 2, 1.0, np.ones(2, np.bool_))
    assert found.uncertainty[0] < 0.01
    assert found.uncertainty[1] > 0.99
    np.testing.assert_allclose(found.probabilities[1], 0.5, atol=1e-3)


def test_nothing_to_go_by_is_wholly_uncertain() -> None:
    found = classification(np.array([[9.0, 0.0]], np.float32), 2, 1.0, np.zeros(1, np.bool_))
    assert found.uncertainty.tolist() == [1.0]
    assert found.probabilities.tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize(
    ("row", "entropy"),
    [([1, 0, 0], 0.0), ([1 / 3] * 3, 1.0), ([0.5, 0.5, 0], np.log(2) / np.log(3)), ([1], 0.0)],
)
def test_entropy(row: list[float], entropy: float) -> None:
    logits = np.log(np.maximum(np.array([row], np.float32), np.float32(1e-30)))
    found = classification(logits, len(row), 1.0, np.ones(1, np.bool_))
    np.testing.assert_allclose(found.uncertainty, [entropy], atol=1e-5)
    np.testing.assert_allclose(found.probabilities, [row], atol=1e-6)


def test_no_rows_give_no_rows() -> None:
    found = classification(np.zeros((0, 4), np.float32), 3, 1.0, np.zeros(0, np.bool_))
    assert found.probabilities.shape == (0, 3)
    assert found.uncertainty.shape == (0,)


def test_softmax_survives_large_logits() -> None:
    assert softmax(np.array([[1e30, 0.0]], np.float32)).tolist() == [[1.0, 0.0]]
