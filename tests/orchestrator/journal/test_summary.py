"""Figures of a journal."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from coe.journal import Record, Share, Spread, summarise

Make = Callable[..., Record]


def test_nothing_is_all_zeros() -> None:
    summary = summarise([])
    assert (summary.requests, summary.first_at, summary.cost_usd) == (0, None, 0)
    assert (summary.error_rate, summary.fallback_rate, summary.cache_hit_rate) == (0, 0, 0)
    assert (summary.total_ms, summary.by_expert) == (Spread(), {})


def test_groups_have_counts_shares_costs_and_times(record: Make) -> None:
    records = [
        *(record(n, expert="a", total_us=1000 * (n + 1)) for n in range(3)),
        record(3, expert="b", cost_usd=0.5),
    ]
    summary = summarise(records)
    assert summary.by_expert["a"] == Share(3, 0.75, pytest.approx(0.003), Spread(2.0, 3.0))
    assert summary.by_expert["b"].cost_usd == 0.5
    assert list(summary.by_expert) == ["a", "b"]
    assert summary.cost_usd == pytest.approx(0.503)
    assert (summary.prompt_tokens, summary.completion_tokens) == (40, 20)


def test_quantiles_are_nearest_ranks(record: Make) -> None:
    summary = summarise(record(n, total_us=1000 * n, route_us=n) for n in range(1, 101))
    assert summary.total_ms == Spread(50.0, 95.0)
    assert summary.route_us == Spread(50, 95)
    assert summarise([record(1, total_us=7000)]).total_ms == Spread(7.0, 7.0)


def test_outcomes(record: Make) -> None:
    records = [
        record(0),
        record(1, expert="b"),
        record(2, error="expert_unavailable", streamed=True),
        record(3, status=499, error="client_gone", expert=None),
        record(4, status=503, error="expert_unavailable", expert=None, cost_usd=None),
        record(5, cache="hit", cost_usd=None),
        record(6, cache="off"),
        Record(id="x", time=1.0, status=400, error="invalid_request", total_us=1),
    ]
    summary = summarise(records)
    assert summary.by_status == {"200": 5, "499": 1, "503": 1, "400": 1}
    assert summary.by_error == {"expert_unavailable": 2, "client_gone": 1, "invalid_request": 1}
    assert summary.gone == 1
    assert summary.error_rate == 3 / 8
    assert summary.fallback_rate == 1 / 5
    assert summary.cache_hit_rate == 1 / 6
    assert summary.unpriced == 1
    assert summary.by_category["–"].requests == 1
    assert (summary.first_at, summary.last_at) == (1.0, records[6].time)
