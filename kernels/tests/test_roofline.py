"""Floors by hand, and the expected number of distinct experts against drawing."""

import numpy as np
import pytest

from coe_kernels.reference import drawn, uniform, zipf
from coe_kernels.roofline import Device, Shape, distinct_experts, floor

QWEN = Shape(hidden=2048, intermediate=768, experts=128, top_k=8)
H100 = Device(bytes_per_us=3.35e6, flops_per_us=989e6)


def test_one_token_reads_its_experts_once() -> None:
    least = floor(QWEN, 1, H100)
    assert least.bytes_moved == 8 * 3 * 2048 * 768 * 2 + 2 * 2048 * 2
    assert least.flops == 2 * 8 * 3 * 2048 * 768
    assert least.bound == "memory"
    assert least.us == pytest.approx(22.5, abs=0.1), "75.5 MB at 3.35 TB/s"


def test_a_large_batch_is_bound_by_arithmetic() -> None:
    least = floor(QWEN, 65536, H100)
    assert least.bound == "arithmetic"
    assert least.us == pytest.approx(65536 * 2 * 8 * 3 * 2048 * 768 / 989e6)


def test_what_is_known_of_the_batch_replaces_the_expectation() -> None:
    assert floor(QWEN, 8, H100, distinct=8.0).us < floor(QWEN, 8, H100).us


@pytest.mark.parametrize("tokens", [1, 7, 40])
def test_distinct_experts_are_what_drawing_gives(tokens: int) -> None:
    rng = np.random.default_rng(5)
    shape = Shape(hidden=1, intermediate=1, experts=16, top_k=3)
    seen = [len(set(uniform(tokens, 16, 3, rng).ids.ravel().tolist())) for _ in range(400)]
    assert distinct_experts(shape, tokens) == pytest.approx(np.mean(seen), abs=0.15)


def test_skewed_traffic_uses_fewer_experts() -> None:
    rng = np.random.default_rng(6)
    shape = Shape(hidden=1, intermediate=1, experts=32, top_k=4)
    histogram = np.bincount(zipf(20000, 32, 4, rng).ids.ravel(), minlength=32)
    expected = distinct_experts(shape, 16, histogram.tolist())
    probabilities = 1.0 / np.arange(1, 33) ** 1.1
    seen = [len(set(drawn(probabilities, 16, 4, rng).ids.ravel().tolist())) for _ in range(300)]
    assert expected == pytest.approx(np.mean(seen), rel=0.03)
    assert expected < distinct_experts(shape, 16) - 2


def test_a_flat_histogram_is_uniform() -> None:
    assert distinct_experts(QWEN, 9, [2.0] * 128) == pytest.approx(distinct_experts(QWEN, 9))


@pytest.mark.parametrize("histogram", [[1.0] * 3, [0.0] * 4, [2.0, -1.0, 0.0, 0.0]])
def test_a_histogram_that_says_nothing_is_refused(histogram: list[float]) -> None:
    with pytest.raises(ValueError, match="histogram of 4 experts"):
        distinct_experts(Shape(hidden=1, intermediate=1, experts=4, top_k=1), 2, histogram)


def test_impossible_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="top_k is 5"):
        Shape(hidden=1, intermediate=1, experts=4, top_k=5)
    with pytest.raises(ValueError, match="positive"):
        Shape(hidden=0, intermediate=1, experts=4, top_k=1)
