"""The oracle against a token-by-token loop, and what the routings promise."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coe_kernels.reference import ROUTINGS, Routing, drawn, fused_moe, silu, uniform


def by_hand(x: np.ndarray, w13: np.ndarray, w2: np.ndarray, routing: Routing) -> np.ndarray:
    out = np.zeros((x.shape[0], w2.shape[1]))
    for token, (ids, weights) in enumerate(zip(routing.ids, routing.weights, strict=True)):
        for expert, weight in zip(ids, weights, strict=True):
            if expert < 0:
                continue
            gate, up = np.split(w13[expert] @ x[token], 2)
            inner = np.array([g / (1 + math.exp(-g)) * u for g, u in zip(gate, up, strict=True)])
            out[token] += weight * (w2[expert] @ inner)
    return out


@pytest.mark.parametrize("name", sorted(ROUTINGS))
def test_the_oracle_is_the_definition(name: str) -> None:
    rng = np.random.default_rng(3)
    x, w13, w2 = rng.normal(size=(9, 6)), rng.normal(size=(5, 8, 6)), rng.normal(size=(5, 6, 4))
    routing = ROUTINGS[name](9, 5, 3, rng)
    np.testing.assert_allclose(
        fused_moe(x, w13, w2, routing), by_hand(x, w13, w2, routing), rtol=1e-12, atol=1e-12
    )


def test_an_expert_named_twice_counts_twice() -> None:
    rng = np.random.default_rng(0)
    x, w13, w2 = rng.normal(size=(1, 4)), rng.normal(size=(2, 6, 4)), rng.normal(size=(2, 4, 3))
    once = fused_moe(x, w13, w2, Routing(np.int32([[1, -1]]), np.float32([[0.5, 0.5]])))
    twice = fused_moe(x, w13, w2, Routing(np.int32([[1, 1]]), np.float32([[0.5, 0.5]])))
    np.testing.assert_allclose(twice, 2 * once)


def test_silu_has_no_overflow() -> None:
    with np.errstate(all="raise", under="ignore"):
        values = silu(np.array([-1e4, -1.0, 0.0, 1.0, 1e4]))
    np.testing.assert_allclose(values, [0, -0.26894142, 0, 0.73105858, 1e4], atol=1e-8)


@given(st.integers(0, 9), st.integers(1, 12), st.data(), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_routings_name_experts_that_exist(tokens: int, experts: int, data: st.DataObject, seed: int) -> None:
    top_k = data.draw(st.integers(1, experts))
    for name, make in ROUTINGS.items():
        routing = make(tokens, experts, top_k, np.random.default_rng(seed))
        assert routing.ids.dtype == np.int32
        assert routing.ids.shape == routing.weights.shape
        assert routing.ids.shape[0] == tokens
        assert ((routing.ids >= -1) & (routing.ids < experts)).all()
        np.testing.assert_allclose(routing.weights.sum(axis=1), 1, rtol=1e-5)
        if name in {"uniform", "zipf", "hot"}:
            assert all(len(set(row)) == top_k for row in routing.ids.tolist())
        if name == "hot":
            assert len(set(routing.ids.ravel().tolist())) in {0, top_k}
        if name == "sparse":
            assert not set(routing.ids.ravel().tolist()) & set(range(1, experts, 2))


def test_drawing_follows_the_probabilities() -> None:
    routing = drawn(np.array([8.0, 1.0, 1.0]), 4000, 1, np.random.default_rng(1))
    share = np.bincount(routing.ids.ravel(), minlength=3) / 4000
    np.testing.assert_allclose(share, [0.8, 0.1, 0.1], atol=0.03)


def test_the_seed_decides() -> None:
    one, other = (uniform(5, 8, 2, np.random.default_rng(seed)) for seed in (4, 4))
    np.testing.assert_array_equal(one.ids, other.ids)
