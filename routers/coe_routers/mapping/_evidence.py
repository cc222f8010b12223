"""Outcomes as a map is solved from them: rows that can be split, resampled and turned into problems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coe.contracts import Card
from coe_routers.mapping._problem import Budget, Latency, Problem
from coe_routers.mapping._solver import best_single_map
from coe_routers.outcomes import Outcomes, by_expert, cost_usd
from coe_routers.scores import ScoreTable, cautious, score_table

Floats = NDArray[np.float64]
Rows = NDArray[np.integer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Recorded outcomes of m experts on n prompts, each with the category that the router puts it in.

    Attributes:
        categories, experts: names.
        category: int32[n], index into `categories`.
        scores: float32[n, m], NaN where not tried.
        usd: float64[n, m], cost of each answer, NaN where unknown.
        latency_s: float32[n, m], NaN where not recorded; None when none is.
        active_params_b, total_params_b: float64[m], NaN where unknown.
        cost: float64[n, m], what ties are broken by and what reports call the cost, NaN where unknown.
        cost_unit: what `cost` counts: `usd_per_1k`, `active_params_b`, `output_tokens`, `response_chars` or
            `none`.
    """

    categories: tuple[str, ...]
    experts: tuple[str, ...]
    category: NDArray[np.int32]
    scores: NDArray[np.float32]
    usd: Floats
    latency_s: NDArray[np.float32] | None
    active_params_b: Floats
    total_params_b: Floats
    cost: Floats
    cost_unit: str

    def __len__(self) -> int:
        return len(self.category)

    def table(self, rows: Rows | None = None) -> ScoreTable:
        """Score table of the rows (of all rows)."""
        picked = slice(None) if rows is None else rows
        return score_table(
            self.scores[picked], self.category[picked], categories=self.categories, experts=self.experts
        )

    def problem(
        self, budget: Budget, *, caution: float = 0.0, rows: Rows | None = None
    ) -> tuple[Problem, int | None]:
        """The instance that the rows (all rows) give, and the best single expert within the budget.

        With `caution` other experts lose that many standard deviations of their gap to the best single one,
        so that a category leaves it only for good reason.
        """
        picked = slice(None) if rows is None else rows
        table, category = self.table(rows), self.category[picked]
        c = len(self.categories)
        problem = Problem(
            categories=self.categories,
            experts=self.experts,
            share=table.share,
            value=table.value,
            # A category nobody asks for may go to anyone; one with prompts needs evidence.
            allowed=(table.count > 0) | (table.share == 0)[:, None],
            active_params_b=self.active_params_b,
            total_params_b=self.total_params_b,
            usd_per_1k=_cell_means(self.usd[picked] * 1000.0, category, c),
            latency=None if self.latency_s is None else Latency(self.latency_s[picked], category),
            tie_cost=_cell_means(self.cost[picked], category, c),
        )
        single = best_single_map(problem, budget)
        if single is None or caution == 0.0:
            return problem, single
        return problem.valued(cautious(table, single, caution)), single


def evidence(
    outcomes: Outcomes,
    cards: Mapping[str, Card],
    category: NDArray[np.int32] | None = None,
    categories: tuple[str, ...] | None = None,
) -> Evidence:
    """Evidence from outcomes.

    Args:
        category: int32[n], where the router puts each prompt, when that is not the recorded label: a map
            solved over predicted categories allows for the classifier's mistakes.
        categories: names that go with `category`.
    """
    usd = cost_usd(outcomes, cards).usd
    active = by_expert(cards, outcomes.experts, "active_params_b")
    cost, unit = _cost(outcomes, usd, active)
    return Evidence(
        categories=outcomes.categories if categories is None else categories,
        experts=outcomes.experts,
        category=outcomes.category if category is None else category,
        scores=outcomes.scores,
        usd=usd,
        latency_s=outcomes.latency_s,
        active_params_b=active,
        total_params_b=by_expert(cards, outcomes.experts, "params_b"),
        cost=cost,
        cost_unit=unit,
    )


def _cost(outcomes: Outcomes, usd: Floats, active: Floats) -> tuple[Floats, str]:
    """The first kind of cost that is known of every expert; else the best known one."""
    n = len(outcomes)
    candidates: list[tuple[Floats, str]] = [
        (usd * 1000.0, "usd_per_1k"),
        (np.tile(active, (n, 1)), "active_params_b"),
    ]
    for name in ("output_tokens", "response_chars"):
        column: NDArray[np.float32] | None = getattr(outcomes, name)
        if column is not None:
            candidates.append((column.astype(np.float64), name))
    known = [np.isfinite(values).any(axis=0).mean() for values, _ in candidates]
    best = int(np.argmax(known))
    if known[best] == 0:
        return np.zeros((n, len(outcomes.experts))), "none"
    return candidates[best]


def _cell_means(values: Floats, category: Rows, c: int) -> Floats:
    """Means float64[c, m] over the known rows; an expert's overall mean where its cell has none."""
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    sums, counts = (
        np.stack([np.bincount(category, weights=column, minlength=c) for column in flags.T], axis=1)
        for flags in (filled, known)
    )
    total = counts.sum(axis=0)
    overall = np.where(total > 0, sums.sum(axis=0) / np.maximum(total, 1), np.nan)
    return np.where(counts > 0, sums / np.maximum(counts, 1), overall)
