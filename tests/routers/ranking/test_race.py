from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coe_routers.ranking import Race, largest_log_capital


def play(race: Race, scores: np.ndarray, batch: int = 10) -> int:
    """Feed every unbeaten expert until the race is settled or the prompts end; returns how many scores."""
    spent = 0
    for start in range(0, len(scores), batch):
        rows = np.arange(start, min(start + batch, len(scores)))
        for expert in np.flatnonzero(race.contenders).tolist():
            race.observe(expert, rows, scores[rows, expert])
            spent += len(rows)
            if race.winner is not None:
                return spent
    return spent


def test_an_honest_game_rarely_reaches_the_limit() -> None:
    """Ville's inequality: at most alpha of fair games ever reach 1/alpha, watched after every prompt."""
    rng = np.random.default_rng(0)
    alpha, games = 0.05, 4000
    fair = rng.choice([-1.0, 0.0, 1.0], p=[0.2, 0.6, 0.2], size=(400, games))
    skewed = np.where(rng.random((400, games)) < 0.1, 0.9, -0.1)
    for gains in (fair, skewed):
        reached = (largest_log_capital(gains, 1.0) >= np.log(1 / alpha)).mean()
        # Three standard errors of 4,000 games above alpha would still be an honest test.
        assert reached <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / games)


def test_a_favourable_game_is_noticed() -> None:
    rng = np.random.default_rng(0)
    gains = rng.choice([-1.0, 0.0, 1.0], p=[0.1, 0.6, 0.3], size=(400, 200))
    assert (largest_log_capital(gains, 1.0) >= np.log(1 / 0.001)).mean() > 0.95


@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), max_size=50), st.integers(0, 50))
def test_the_highest_capital_never_falls(gains: list[float], cut: int) -> None:
    game = np.array(gains, dtype=np.float64)[:, None]
    assert largest_log_capital(game[:cut], 1.0)[0] <= largest_log_capital(game, 1.0)[0] + 1e-12


def test_prompts_that_one_expert_lacks_do_not_count() -> None:
    gains = np.array([[1.0], [np.nan], [-1.0], [np.nan], [1.0]])
    played = gains[np.isfinite(gains[:, 0])]
    assert largest_log_capital(gains, 1.0) == largest_log_capital(played, 1.0)


@pytest.mark.parametrize("means", [(0.7, 0.5, 0.5), (0.6, 0.6, 0.4), (0.5, 0.5, 0.5)])
def test_the_error_is_at_most_delta(means: tuple[float, ...]) -> None:
    """Over fixed seeds: winners that are not within the tolerance of the best are rarer than delta."""
    delta, tolerance, runs = 0.1, 0.15, 60
    wrong = settled = 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        scores = (rng.random((1500, 3)) < np.array(means)).astype(np.float64)
        race = Race(1500, 3, alpha=delta / 4, tolerance=tolerance)
        play(race, scores)
        if (winner := race.winner) is not None:
            settled += 1
            wrong += means[winner] <= max(means) - tolerance
    assert settled == runs
    # With a true error rate of delta, more than 13 of 60 have a chance below 0.005.
    assert wrong <= 13


def test_correlated_experts_settle_sooner() -> None:
    """Comparisons are paired: difficulty that all experts share costs nothing."""

    def spent(shared: bool) -> int:
        rng = np.random.default_rng(3)
        difficulty = rng.random((3000, 1)) if shared else rng.random((3000, 2))
        race = Race(3000, 2, alpha=0.01, tolerance=0.02)
        return play(race, (difficulty < np.array([0.6, 0.5])).astype(np.float64))

    assert spent(True) < 0.6 * spent(False)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5))
def test_somebody_always_remains(seed: int, experts: int) -> None:
    rng = np.random.default_rng(seed)
    race = Race(60, experts, alpha=0.4, tolerance=0.1)
    for _ in range(12):
        expert = int(rng.integers(experts))
        done = int(race.count[expert])
        rows = np.arange(done, min(done + 5, 60))
        race.observe(expert, rows, rng.integers(0, 2, len(rows)).astype(np.float64))
        assert race.contenders.any()
        assert not race.beaten.all()
