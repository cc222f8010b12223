from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from coe_routers.rules import Rule, prices


def rule(blend: bool, **changed: np.ndarray) -> Rule:
    value = np.array([[0.9, 0.5, 0.6], [0.1, 0.5, 0.3], [0.4, 0.45, 0.4]])
    parts = {"value": value, "price": np.zeros((3, 3)), "allowed": np.ones((3, 3), dtype=bool), **changed}
    return Rule(experts=("a", "b", "c"), blend=blend, **parts)


CERTAIN = np.array([[1.0, 0.0], [0.0, 1.0]])
SURE, UNSURE = np.zeros(2, dtype=bool), np.ones(2, dtype=bool)


@pytest.mark.parametrize("blend", [True, False])
def test_certain_prompts_take_the_best_of_their_category(blend: bool) -> None:
    assert rule(blend).choose(CERTAIN, SURE).tolist() == [0, 1]


def test_probabilities_decide_when_they_are_blended() -> None:
    between = np.array([[0.55, 0.45]])
    assert rule(True).choose(between, SURE[:1]).tolist() == [0]
    wavering = np.array([[0.51, 0.49]])
    # 0.51 * 0.9 + 0.49 * 0.1 = 0.508 against 0.5 everywhere; a dearer expert a tips it.
    dear = np.zeros((3, 3))
    dear[:, 0] = 0.02
    assert rule(True).choose(wavering, SURE[:1]).tolist() == [0]
    assert rule(True, price=dear).choose(wavering, SURE[:1]).tolist() == [1]
    assert rule(False, price=dear).choose(wavering, SURE[:1]).tolist() == [0]


@pytest.mark.parametrize("blend", [True, False])
def test_uncertain_prompts_take_the_general_row(blend: bool) -> None:
    assert rule(blend).choose(CERTAIN, UNSURE).tolist() == [1, 1]


def test_the_most_probable_category_forbids() -> None:
    allowed = np.ones((3, 3), dtype=bool)
    allowed[0, 0] = False
    score, worth = rule(True, allowed=allowed).scores(CERTAIN, SURE)
    assert worth[0].tolist() == [-np.inf, 0.5, 0.6]
    assert worth[1].tolist() == [0.1, 0.5, 0.3]
    assert score[0, 0] == 0.9


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), limits=st.integers(1, 3))
def test_prices_keep_the_limits_and_lose_little(seed: int, limits: int) -> None:
    rng = np.random.default_rng(seed)
    n, m = 150, 5
    worth = rng.random((n, m))
    spending = [rng.random((n, m)) + 0.05 for _ in range(limits)]
    most = [float(each.min(axis=1).mean() + 0.25 * limits**0.5) for each in spending]
    found = prices(worth, spending, most)
    # What a plain linear program, which may split prompts, reaches at best.
    bound = linprog(
        -worth.ravel() / n,
        A_ub=np.stack([each.ravel() / n for each in spending]),
        b_ub=most,
        A_eq=np.kron(np.eye(n), np.ones(m)),
        b_eq=np.ones(n),
    )
    assert bound.status == 0
    assert found is not None
    net = worth - sum(each * price / limit for each, price, limit in zip(spending, found, most, strict=True))
    rows, chosen = np.arange(n), net.argmax(axis=1)
    for each, limit in zip(spending, most, strict=True):
        assert each[rows, chosen].mean() <= limit + 1e-9
    assert worth[rows, chosen].mean() >= -bound.fun - 0.05


def test_no_price_is_asked_where_the_limits_hold() -> None:
    found = prices(np.array([[1.0, 0.0]]), [np.array([[2.0, 1.0]])], [2.5])
    assert found is not None
    assert found.tolist() == [0.0]


def test_no_price_helps_where_nothing_is_cheap_enough() -> None:
    assert prices(np.array([[1.0, 0.0]]), [np.array([[2.0, 1.0]])], [0.5]) is None
