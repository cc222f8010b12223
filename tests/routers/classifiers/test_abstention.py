import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coe.contracts import Classification, Reason
from coe_routers.classifiers import Abstention, distances, mass_before
from coe_routers.training import calibrate, conformal_mass


def drawn(seed: int, n: int, categories: int, sharpness: float) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that a classifier might give, and labels that they need not be right about."""
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.full(categories, sharpness), n).astype(np.float32)
    told = random.random(n) < 0.7
    labels = np.where(told, probabilities.argmax(axis=1), random.integers(0, categories, n))
    return probabilities, labels


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(12, 60),
    st.integers(2, 7),
    st.sampled_from([0.1, 0.5, 3.0]),
    st.sampled_from([0.6, 0.8, 0.9]),
)
def test_prediction_sets_cover_what_they_promise(
    seed: int, n: int, categories: int, sharpness: float, coverage: float
) -> None:
    """Each prompt in turn is the new one: for exchangeable prompts that is what coverage means, exactly."""
    probabilities, labels = drawn(seed, n, categories, sharpness)
    needed = mass_before(probabilities)[np.arange(n), labels]
    covered = 0
    for row in range(n):
        others = np.arange(n) != row
        covered += needed[row] <= conformal_mass(probabilities[others], labels[others], coverage)
    assert covered >= coverage * n - 1e-9


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 6), st.floats(0, 1))
def test_the_set_is_what_little_mass_lies_before(seed: int, categories: int, mass: float) -> None:
    probabilities, _ = drawn(seed, 5, categories, 0.5)
    rule = Abstention(uncertainty_limit=1.0, coverage=0.9, set_mass=mass)
    np.testing.assert_array_equal(
        rule.set_sizes(probabilities), (mass_before(probabilities) <= mass).sum(axis=1)
    )


def test_too_few_prompts_promise_nothing() -> None:
    probabilities, labels = drawn(0, 8, 3, 0.5)
    assert conformal_mass(probabilities, labels, 0.9) == 1.0
    rule = Abstention(uncertainty_limit=1.0, coverage=0.9, set_mass=1.0)
    assert rule.set_sizes(probabilities).tolist() == [3] * 8


@pytest.mark.parametrize(
    ("row", "uncertainty", "distance", "why"),
    [
        ([0.9, 0.06, 0.04], 0.2, 0.3, None),
        ([0.9, 0.06, 0.04], 0.2, None, None),
        ([0.9, 0.06, 0.04], 0.2, 0.6, Reason.FAR),
        ([0.4, 0.35, 0.25], 0.2, 0.3, Reason.AMBIGUOUS),
        ([0.9, 0.06, 0.04], 0.7, 0.3, Reason.UNCERTAIN),
        ([0.4, 0.35, 0.25], 0.7, 0.6, Reason.FAR),
        ([0.4, 0.35, 0.25], 0.7, 0.3, Reason.AMBIGUOUS),
    ],
)
def test_the_first_limit_that_is_exceeded_names_the_reason(
    row: list[float], uncertainty: float, distance: float | None, why: Reason | None
) -> None:
    rule = Abstention(uncertainty_limit=0.5, coverage=0.9, set_mass=0.75, set_limit=2, distance_limit=0.5)
    assert rule.why(row, uncertainty, distance) is why
    far = None if distance is None else np.array([distance], np.float32)
    found = Classification(np.array([row[::-1]], np.float32), np.array([uncertainty], np.float32), far)
    assert rule.reasons(found) == [why]
    assert rule.general(found).tolist() == [why is not None]


@pytest.mark.parametrize("keep", [0.9, 0.95])
def test_the_calibrated_rule_keeps_the_share_asked_for(keep: float) -> None:
    random = np.random.default_rng(1)
    probabilities, labels = drawn(1, 4000, 5, 0.3)
    uncertainty = random.random(4000).astype(np.float32)
    found = Classification(probabilities, uncertainty, random.random(4000).astype(np.float32))
    rule = calibrate(found, labels, keep=keep, coverage=0.8, apart=np.arange(4000) % 2 == 0)
    assert (~rule.general(found)).mean() == pytest.approx(keep, abs=0.002)
    assert rule.distance_limit == pytest.approx(0.99, abs=0.01)
    sets = mass_before(probabilities) <= rule.set_mass
    assert sets[np.arange(4000), labels].mean() == pytest.approx(0.8, abs=0.02)


def test_distances_are_to_the_nearest_region() -> None:
    vectors = np.array([[1, 0], [0, 1], [0.6, 0.8], [0, 0]], np.float32)
    found = distances(vectors, np.array([[1, 0], [0, -1]], np.float32))
    np.testing.assert_allclose(found, [0, 1, 0.4, 0], atol=1e-6)
