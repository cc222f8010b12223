"""What is settled of a map, and which cells to evaluate next."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coe.errors import ConfigError, DataError
from coe_routers.outcomes import Outcomes
from coe_routers.ranking._race import Race
from coe_routers.scores import ScoreTable, score_table

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to rank.

    Attributes:
        delta: chance that any settled category is settled wrongly.
        tolerance: difference in mean score (0..1) that does not matter.
        first: prompts that every expert is tried on in every category before anything is compared.
        batch: prompts of one proposal.
    """

    delta: float = 0.05
    tolerance: float = 0.05
    first: int = 5
    batch: int = 10

    def __post_init__(self) -> None:
        for name, value in (("delta", self.delta), ("tolerance", self.tolerance)):
            if not 0.0 < value < 1.0:
                raise ConfigError(f"`{name}` is {value:g}; expected a number between 0 and 1.")
        for name, value in (("first", self.first), ("batch", self.batch)):
            if value < 1:
                raise ConfigError(f"`{name}` is {value}; expected 1 or more.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is known of one category.

    Attributes:
        category: its name.
        settled: whether `expert` is within the tolerance of the best one, at the plan's confidence.
        expert: the winner, or the best guess while it is not settled.
        score: its shrunken expected score.
        contenders: experts that may still win, best guess first.
        evaluated: scores recorded in the category.
        exhausted: open, and nothing left to compare on these prompts: more of them would be needed.
    """

    category: str
    settled: bool
    expert: str
    score: float
    contenders: tuple[str, ...]
    evaluated: int
    exhausted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A cell to evaluate next.

    Attributes:
        category, expert: the cell.
        prompt_ids: which prompts, in this order.
        expected_gain: mean score that the map is expected to be short of by settling for the present leader
            instead of the better of this pair; what proposals are sorted by.
    """

    category: str
    expert: str
    prompt_ids: tuple[str, ...]
    expected_gain: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Verdicts on all categories, and proposals, most useful first; none when nothing is left to do."""

    verdicts: tuple[Verdict, ...]
    proposals: tuple[Proposal, ...]


class Ranking:
    """Races of all categories over outcomes that fill up.

    Args:
        outcomes: prompts in the order in which they are to be evaluated, all with a category, and the scores
            that exist already; NaN is what can be evaluated.
        plan: how to rank.

    Raises:
        DataError: a prompt has no category, or there are fewer than two experts.
    """

    def __init__(self, outcomes: Outcomes, plan: Plan) -> None:
        if not outcomes.labelled:
            raise DataError(
                "Ranking needs a category for every prompt.",
                hint="Add `category` to each row of the outcomes.",
            )
        if len(outcomes.experts) < 2:
            raise DataError(f"Ranking needs two experts, the outcomes hold {len(outcomes.experts)}.")
        self.plan = plan
        self._ids = outcomes.prompt_ids
        self._experts, self._categories = outcomes.experts, outcomes.categories
        self._category = outcomes.category
        self._scores = outcomes.scores.astype(np.float32).copy()
        self._rows = [np.flatnonzero(outcomes.category == c) for c in range(len(outcomes.categories))]
        used = sum(len(rows) > 0 for rows in self._rows)
        m = len(outcomes.experts)
        alpha = plan.delta / (2 * (m - 1) * used)
        self._races = [Race(len(rows), m, alpha=alpha, tolerance=plan.tolerance) for rows in self._rows]
        for c, rows in enumerate(self._rows):
            for e in range(m):
                scored = np.flatnonzero(np.isfinite(self._scores[rows, e]))
                if len(scored):
                    self._races[c].observe(e, scored, self._scores[rows[scored], e])

    @property
    def scores(self) -> NDArray[np.float32]:
        """Scores known by now, float32[n, m]."""
        return self._scores

    @property
    def races(self) -> tuple[Race, ...]:
        """One race for each category."""
        return tuple(self._races)

    def observe(
        self, category: int, expert: int, rows: NDArray[np.integer], scores: NDArray[np.floating]
    ) -> None:
        """Take in scores float[k] of an expert on rows int[k] of the outcomes, all of one category."""
        self._scores[rows, expert] = scores
        self._races[category].observe(expert, np.searchsorted(self._rows[category], rows), scores)

    def table(self) -> ScoreTable:
        """Score table of what is known by now."""
        return score_table(self._scores, self._category, categories=self._categories, experts=self._experts)

    def cells(self, limit: int | None = None) -> list[tuple[int, int, NDArray[np.int64], float]]:
        """Cells to evaluate next: category, expert, rows, expected gain; most useful first.

        First every expert is tried everywhere. Then, for each open category, the leader and each contender
        are compared by the expected gain of taking the better one; of the two, the one with fewer scores is
        evaluated. Where prompts run out nothing is proposed.

        Args:
            limit: how many at most.
        """
        start = self._first_cells()
        if start:
            return start[:limit]
        table = self.table()
        found: list[tuple[int, int, NDArray[np.int64], float]] = []
        for c, race in enumerate(self._races):
            if not len(self._rows[c]) or race.winner is not None:
                continue
            best: dict[int, float] = {}
            for expert, gain in self._pairs(c, table):
                best[expert] = max(gain, best.get(expert, -math.inf))
            for expert, gain in best.items():
                found.append((c, expert, self._next(c, expert, self.plan.batch), gain))
        count = [race.count for race in self._races]
        found.sort(key=lambda cell: (-cell[3], int(count[cell[0]][cell[1]]), cell[0], cell[1]))
        return found[:limit]

    def _first_cells(self) -> list[tuple[int, int, NDArray[np.int64], float]]:
        cells: list[tuple[int, int, NDArray[np.int64], float]] = []
        for c, race in enumerate(self._races):
            missing = np.minimum(self.plan.first, len(self._rows[c])) - race.count
            tried: list[int] = np.flatnonzero(missing > 0).tolist()
            cells.extend((c, e, self._next(c, e, int(missing[e])), math.inf) for e in tried)
        return cells

    def _pairs(self, c: int, table: ScoreTable) -> list[tuple[int, float]]:
        """For each open pair of leader and contender the one to evaluate, and the expected gain.

        The leader is the best by the table; the next best where its pairs have no prompts left.
        """
        race, value = self._races[c], table.value[c]
        alive: list[int] = np.flatnonzero(race.contenders).tolist()
        count = race.count
        for leader in sorted(alive, key=lambda e: -value[e]):
            harmless = race.harmless(leader)
            pairs: list[tuple[int, float]] = []
            for e in alive:
                open_ = [each for each in (leader, e) if count[each] < len(self._rows[c])]
                if open_ and not harmless[e]:
                    gap = float(value[leader] - value[e])
                    error = math.hypot(float(table.error[c, leader]), float(table.error[c, e]))
                    gain = float(table.share[c]) * expected_excess(-gap, error)
                    pairs.append((min(open_, key=lambda each: int(count[each])), gain))
            if pairs:
                return pairs
        return []

    def _next(self, c: int, expert: int, count: int) -> NDArray[np.int64]:
        rows = self._rows[c]
        return rows[np.isnan(self._scores[rows, expert])][:count]

    def standing(self, limit: int | None = None) -> Standing:
        """Verdicts, and at most `limit` proposals."""
        table = self.table()
        return Standing(
            verdicts=tuple(
                self._verdict(c, table) for c in range(len(self._categories)) if len(self._rows[c])
            ),
            proposals=tuple(
                Proposal(
                    category=self._categories[c],
                    expert=self._experts[e],
                    prompt_ids=tuple(self._ids[int(row)] for row in rows),
                    expected_gain=gain,
                )
                for c, e, rows, gain in self.cells(limit)
            ),
        )

    def _verdict(self, c: int, table: ScoreTable) -> Verdict:
        race = self._races[c]
        alive: list[int] = np.flatnonzero(race.contenders).tolist()
        alive.sort(key=lambda e: -table.value[c, e])
        settled = race.winner is not None
        return Verdict(
            category=self._categories[c],
            settled=settled,
            expert=self._experts[alive[0]],
            score=float(table.value[c, alive[0]]),
            contenders=tuple(self._experts[e] for e in alive),
            evaluated=int(race.count.sum()),
            exhausted=not settled and not self._pairs(c, table),
        )


def rank(outcomes: Outcomes, plan: Plan | None = None, *, limit: int | None = None) -> Standing:
    """Say which categories are settled and which cells to evaluate next.

    Raises:
        DataError: a prompt has no category, or there are fewer than two experts.
    """
    return Ranking(outcomes, plan or Plan()).standing(limit)


def expected_excess(mean: float, deviation: float) -> float:
    """Expected positive part of a normal variable: what a chance to switch is worth."""
    if deviation < 1e-9:
        return max(mean, 0.0)
    z = mean / deviation
    density = math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    return deviation * (density + z * 0.5 * math.erfc(-z / math.sqrt(2.0)))
