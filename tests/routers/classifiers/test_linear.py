import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from coe_routers.classifiers import LinearHead, quantise_rows
from coe_routers.features import BUCKETS, Encoded, SparseRow


@given(
    arrays.arrays(
        np.float32, st.tuples(st.integers(1, 9), st.integers(1, 5)), elements=st.floats(-1e3, 1e3, width=32)
    )
)
def test_eight_bits_keep_each_row_within_half_a_step(weights: np.ndarray) -> None:
    quantised, scales = quantise_rows(weights)
    step = np.abs(weights).max(axis=1, keepdims=True) / 127
    assert (np.abs(quantised * scales[:, None] - weights) <= 0.501 * step + 1e-6).all()


def test_logits_are_the_sum_of_both_parts() -> None:
    random = np.random.default_rng(0)
    weights = random.normal(size=(BUCKETS, 3)).astype(np.float32)
    lexical, scales = quantise_rows(weights)
    dense = random.normal(size=(4, 3)).astype(np.float32)
    bias = np.array([0.1, 0.2, 0.3], np.float32)
    head = LinearHead(lexical=lexical, lexical_scales=scales, dense=dense, bias=bias)
    row = SparseRow(np.array([5, 70_000], np.int64), np.array([0.6, 0.8], np.float32))
    vector = random.normal(size=(1, 4)).astype(np.float32)
    expected = 0.6 * weights[5] + 0.8 * weights[70_000] + vector[0] @ dense + bias
    np.testing.assert_allclose(head.logits(Encoded((row,), vector))[0], expected, atol=0.03)


def test_saving_and_loading_gives_the_same_head() -> None:
    head = LinearHead(
        lexical=None, lexical_scales=None, dense=np.eye(2, dtype=np.float32), bias=np.ones(2, np.float32)
    )
    again = LinearHead.from_tensors(head.tensors())
    encoded = Encoded(None, np.array([[0.5, 0.25]], np.float32))
    np.testing.assert_array_equal(again.logits(encoded), head.logits(encoded))
    assert set(head.tensors()) == {"dense", "bias"}
