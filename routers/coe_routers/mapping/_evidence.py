"""Outcomes as a map is solved from them: rows that can be split, resampled and turned into problems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coe.contracts import GENERAL, Card
from coe_routers.mapping._problem import Budget, Latency, Problem
from coe_routers.mapping._solver import best_single_map
from coe_routers.outcomes import Outcomes, by_expert, cost_usd
from coe_routers.scores import ScoreTable, cautious, score_table

Floats = NDArray[np.float64]
Rows = NDArray[np.integer]

ENOUGH = 10
"""An expert counts as tried in a category from this many prompts on, or a tenth of them if that is fewer."""
COVERED = 0.9
"""Where prompts of several labels end up in one category, this part of them must be of labels tried."""


@dataclass(frozen=True, slots=True)
class Instance:
    """A problem, the score table under it, and the best single expert within the budget, if any."""

    problem: Problem
    table: ScoreTable
    single: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Recorded outcomes of m experts on n prompts, and what the classifier makes of each prompt.

    Attributes:
        categories: c names, without `general`.
        experts: m names.
        label: int32[n], the prompt's own category, -1 where it has none.
        probabilities: float32[n, c], by a classifier that did not see the prompt.
        uncertain: bool[n], whether the router sends the prompt to `general`.
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
    label: NDArray[np.int32]
    probabilities: NDArray[np.float32]
    uncertain: NDArray[np.bool_]
    scores: NDArray[np.float32]
    usd: Floats
    latency_s: NDArray[np.float32] | None
    active_params_b: Floats
    total_params_b: Floats
    cost: Floats
    cost_unit: str

    def __len__(self) -> int:
        return len(self.label)

    @property
    def routed(self) -> NDArray[np.int32]:
        """int32[n], the category that the router acts on; c stands for `general`."""
        top = self.probabilities.argmax(axis=1)
        return np.where(self.uncertain, len(self.categories), top).astype(np.int32)

    def table(self, rows: Rows | None = None, *, routed: bool = False) -> ScoreTable:
        """Score table of the rows (of all rows), by label or by the category that they are routed as."""
        picked = slice(None) if rows is None else rows
        if not routed:
            return score_table(
                self.scores[picked], self.label[picked], categories=self.categories, experts=self.experts
            )
        return score_table(
            self.scores[picked],
            self.routed[picked],
            categories=(*self.categories, GENERAL),
            experts=self.experts,
        )

    def instance(
        self, budget: Budget, *, caution: float = 0.0, rows: Rows | None = None, routed: bool = False
    ) -> Instance:
        """What the rows (all rows) give to solve.

        Args:
            caution: standard deviations of its gap to the best single expert that every other loses, so that
                a category leaves the best single one only for good reason.
            routed: whether categories are those that prompts are routed as, mistakes included, with
                `general` last; else the prompts' own.
        """
        picked = slice(None) if rows is None else rows
        table = self.table(rows, routed=routed)
        category = (self.routed if routed else self.label)[picked]
        known = category >= 0
        c = len(table.categories)
        problem = Problem(
            categories=table.categories,
            experts=self.experts,
            share=table.share,
            value=table.value,
            # A category nobody asks for may go to anyone; one with prompts needs evidence.
            allowed=((table.count > 0) & self._covered(category, picked, c)) | (table.share == 0)[:, None],
            active_params_b=self.active_params_b,
            total_params_b=self.total_params_b,
            usd_per_1k=cell_means(self.usd[picked] * 1000.0, category, c),
            latency=None
            if self.latency_s is None
            else Latency(self.latency_s[picked][known], category[known]),
            tie_cost=cell_means(self.cost[picked], category, c),
        )
        single = best_single_map(problem, budget)
        if single is not None and caution > 0.0:
            problem = problem.valued(cautious(table, single, caution))
        return Instance(problem, table, single)

    def _covered(self, category: Rows, picked: slice | Rows, c: int) -> NDArray[np.bool_]:
        """bool[c, m]: cells whose prompts are of labels that the expert was really tried on.

        An expert that never ran a benchmark still has outcomes on the few of its own prompts that are
        mistaken for that benchmark's; those must not speak for it.
        """
        c_labels = len(self.categories)
        seen = np.isfinite(self.scores)
        tried = counted(seen.astype(np.float64), self.label, c_labels)
        of_label = np.bincount(self.label[self.label >= 0], minlength=c_labels)[:, None]
        enough = tried >= np.minimum(ENOUGH, np.ceil(of_label / 10))
        label = self.label[picked]
        both = (label >= 0) & (category >= 0)
        mix = np.zeros((c, c_labels))
        np.add.at(mix, (category[both], label[both]), 1.0)
        of_category = np.maximum(mix.sum(axis=1, keepdims=True), 1.0)
        return (mix @ enough) / of_category >= COVERED


def evidence(
    outcomes: Outcomes,
    cards: Mapping[str, Card],
    *,
    categories: tuple[str, ...] | None = None,
    label: NDArray[np.int32] | None = None,
    probabilities: NDArray[np.float32] | None = None,
    uncertain: NDArray[np.bool_] | None = None,
) -> Evidence:
    """Evidence from outcomes.

    Args:
        categories, label: c names and int32[n], when not those that the outcomes record.
        probabilities: float32[n, c] out of fold; by default the labels are taken as known.
        uncertain: bool[n]; by default no prompt is.
    """
    names = outcomes.categories if categories is None else categories
    labels = outcomes.category if label is None else label
    known = (labels[:, None] == np.arange(len(names))).astype(np.float32)
    usd = cost_usd(outcomes, cards).usd
    active = by_expert(cards, outcomes.experts, "active_params_b")
    cost, unit = _cost(outcomes, cards)
    return Evidence(
        categories=names,
        experts=outcomes.experts,
        label=labels,
        probabilities=known if probabilities is None else probabilities,
        uncertain=np.zeros(len(outcomes), dtype=bool) if uncertain is None else uncertain,
        scores=outcomes.scores,
        usd=usd,
        latency_s=outcomes.latency_s,
        active_params_b=active,
        total_params_b=by_expert(cards, outcomes.experts, "params_b"),
        cost=cost,
        cost_unit=unit,
    )


COST_UNITS = ("usd_per_1k", "active_params_b", "output_tokens", "response_chars")
"""What a cost may count, the first choice first."""


def cost_of(outcomes: Outcomes, cards: Mapping[str, Card], unit: str) -> Floats:
    """Costs float64[n, m] in a unit of `COST_UNITS`, NaN where unknown; all NaN for `none`."""
    shape = outcomes.scores.shape
    if unit == "usd_per_1k":
        return cost_usd(outcomes, cards).usd * 1000.0
    if unit == "active_params_b":
        return np.broadcast_to(by_expert(cards, outcomes.experts, "active_params_b"), shape).copy()
    column: NDArray[np.float32] | None = getattr(outcomes, unit, None)
    return np.full(shape, np.nan) if column is None else column.astype(np.float64)


def _cost(outcomes: Outcomes, cards: Mapping[str, Card]) -> tuple[Floats, str]:
    """The first kind of cost that is known of most experts."""
    kinds = [cost_of(outcomes, cards, unit) for unit in COST_UNITS]
    known = [float(np.isfinite(values).any(axis=0).mean()) for values in kinds]
    best = int(np.argmax(known))
    if known[best] == 0:
        return np.zeros(outcomes.scores.shape), "none"
    return kinds[best], COST_UNITS[best]


def counted(values: Floats, category: Rows, c: int) -> Floats:
    """Sums float64[c, m] of float64[n, m] over the rows of each category; negative ones are left out."""
    known = category >= 0
    sums = [np.bincount(category[known], weights=column[known], minlength=c) for column in values.T]
    return np.stack(sums, axis=1).astype(np.float64)


def cell_means(values: Floats, category: Rows, c: int) -> Floats:
    """Means float64[c, m] over the known rows; an expert's overall mean where its cell has none."""
    known = np.isfinite(values)
    sums = counted(np.where(known, values, 0.0), category, c)
    counts = counted(known.astype(np.float64), category, c)
    total = counts.sum(axis=0)
    overall = np.where(total > 0, sums.sum(axis=0) / np.maximum(total, 1), np.nan)
    return np.where(counts > 0, sums / np.maximum(counts, 1), overall)
