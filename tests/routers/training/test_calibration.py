import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coe_routers.training import fit_temperature, stratified_folds, uncertainty_limit


@pytest.mark.parametrize("true_temperature", [0.2, 1.0, 5.0])
def test_the_temperature_that_made_the_labels_is_found(true_temperature: float) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(scale=2 * true_temperature, size=(20_000, 4)).astype(np.float32)
    noisy = logits / true_temperature + random.gumbel(size=logits.shape)
    found = fit_temperature(logits, noisy.argmax(axis=1))
    assert found == pytest.approx(true_temperature, rel=0.05)


def test_the_limit_keeps_the_share_asked_for() -> None:
    uncertainty = np.random.default_rng(0).random(10_000).astype(np.float32)
    limit = uncertainty_limit(uncertainty, 0.9)
    assert (uncertainty <= limit).mean() == pytest.approx(0.9, abs=1e-3)


ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12)), min_size=1, max_size=80)


@settings(max_examples=50)
@given(ROWS, st.integers(2, 5), st.integers(0, 3))
def test_folds_keep_groups_together_and_labels_spread(
    rows: list[tuple[str, int]], folds: int, seed: int
) -> None:
    groups = [f"{label}{group}" for label, group in rows]
    labels = [label for label, _ in rows]
    assigned = stratified_folds(labels, groups, folds, seed)
    assert assigned.tolist() == stratified_folds(labels, groups, folds, seed).tolist()
    assert set(assigned.tolist()) <= set(range(folds))
    for group in set(groups):
        assert len({assigned[row] for row, each in enumerate(groups) if each == group}) == 1
    for label in set(labels):
        sizes = [
            len({groups[row] for row in range(len(rows)) if labels[row] == label and assigned[row] == fold})
            for fold in range(folds)
        ]
        assert max(sizes) - min(sizes) <= 1
