"""The best map of a program, exactly: bounds decide most of it, HiGHS the rest."""

from __future__ import annotations

import heapq
from dataclasses import replace
from itertools import combinations, count, pairwise

import numpy as np

from coe_routers.mapping._bound import Bools, Bound, Dense, Prices, lower_bound
from coe_routers.mapping._milp import milp, relaxation
from coe_routers.mapping._program import ROUNDING, Floats, Index, Program, first_of_rows

GAP = 1e-9
"""Maps closer than this in value are equal: the search proves that no map is better by more."""
_CORE = 2000
"""HiGHS takes over once this many cells are undecided; with more of them bounds are quicker."""
_SMALL = 300
"""So few cells go to HiGHS at once."""
_FIRST_STEPS, _STEPS = 600, 120
"""Steps of the first bound and of those after it, which start from its prices."""
_AVERAGES_TAKE = 0.03
_CANDIDATES = 40
_PAIRS_UP_TO = 8
"""Swaps look at so many experts, and take two out at once only of sets so small."""


def optimum(made: Program, objective: Floats) -> Index | None:
    """Minimise `sum(objective * z)`, objective float64[k].

    Returns:
        int64[c], the cell variable chosen in each category, or None when nothing is feasible. No feasible map
        is better by more than `GAP`; averaged limits are met up to one millionth.

    Raises:
        PluginError: scipy is not installed.
    """
    if not made.every_category():
        return None
    if made.pooled and len(made.row) > _SMALL:
        return _Search(made, objective).run()
    if made.pooled:
        return milp(made, objective)
    return _averaged(made, objective)


def cheapest_pool(made: Program, size: Floats) -> Index | None:
    """Minimise `sum(size * u)` over the experts in use, size float64[m]; as `optimum` otherwise."""
    if not made.every_category():
        return None
    return milp(made, np.zeros(len(made.row)), size / max(float(size.max(initial=0.0)), 1e-12))


def _averaged(made: Program, objective: Floats, cutoff: float = np.inf) -> Index | None:
    """The best map where nothing limits the set of experts; None also when it is no better than `cutoff`.

    The relaxation leaves most categories decided. A map that takes a cell of reduced cost r is worse than the
    relaxation by r at least; so the best map over the cells below some r is the best of all once it is within
    r of the relaxation. r starts small and grows until that holds.
    """
    if not made.average:
        return first_of_rows(made.row, objective)
    kept = _undominated(made, objective)
    made, objective = made.of(kept), objective[kept]
    relaxed = relaxation(made, objective)
    if relaxed is None:
        return None
    bound, reduced = relaxed
    if bound >= cutoff:
        return None
    widest = min(float(reduced.max()), cutoff - bound)
    radius = float(np.sort(reduced)[min(made.c + 60, len(reduced) - 1)])
    while True:
        cells = np.flatnonzero(reduced <= radius + GAP)
        chosen = milp(made.of(cells), objective[cells])
        gap = np.inf if chosen is None else float(objective[cells[chosen]].sum()) - bound
        if gap <= radius or radius >= widest:
            return None if chosen is None else kept[cells[chosen]]
        radius = min(max(3 * radius, 1e-7), gap, widest)


def _undominated(made: Program, objective: Floats) -> Index:
    """Cells that no other cell of their category beats in objective and every limit at once.

    Leaving the others out changes no optimum while experts are not tied to each other by a pooled limit.
    """
    points = np.stack([objective, *(cost for cost, _ in made.average.values())], axis=1)
    kept: list[Index] = []
    starts: list[int] = np.searchsorted(made.row, np.arange(made.c + 1)).tolist()
    for first, last in pairwise(starts):
        cells = np.arange(first, last)
        mine = points[cells]
        no_worse = (mine[:, None, :] <= mine[None, :, :]).all(axis=2)
        earlier = np.arange(len(cells))[:, None] < np.arange(len(cells))[None, :]
        beaten = (no_worse & (~no_worse.T | earlier)).any(axis=0)
        kept.append(cells[~beaten])
    return np.concatenate(kept)


class _Search:
    """Branch and bound over the set of experts.

    A node holds experts that are in, experts that are out and free ones. Its bound prices everything; what is
    worth more than the gap to the best known map is decided without branching. Nodes with few undecided cells
    go to HiGHS.
    """

    def __init__(self, made: Program, objective: Floats) -> None:
        self._made, self._objective = made, objective
        cost = made.table(objective, np.inf)
        usage = [made.table(each, 0.0) for each in made.usage()]
        self._dense = Dense(cost, np.array(usage).reshape(len(usage), *cost.shape), made.sizes())
        self._best: Index | None = None
        # Above whatever a feasible map may cost, until one is known.
        self._cost = float(np.where(np.isfinite(cost), cost, -np.inf).max(axis=1).sum()) + 1.0

    def run(self) -> Index | None:
        """The best map, or None when nothing is feasible."""
        made, dense = self._made, self._dense
        prices = dense.start()
        free, fixed = np.ones(made.m, dtype=bool), np.zeros(made.m, dtype=bool)
        root = lower_bound(dense, free, fixed, prices, self._likely(), _FIRST_STEPS)
        self._improve(root.prices, root.worth)
        number = count()
        open_: list[tuple[float, int, Bools, Bools, Bound]] = []

        def add(free: Bools, fixed: Bools, prices: Prices) -> None:
            room = 1.0 + ROUNDING - dense.sizes[:, fixed].sum(axis=1)
            if (room < 0).any():
                return
            free = free & (dense.sizes <= room[:, None]).all(axis=0)
            if not np.isfinite(dense.cost[:, free | fixed].min(axis=1, initial=np.inf)).all():
                return
            bound = lower_bound(dense, free, fixed, prices, self._cost - GAP, _STEPS)
            gap = self._cost - GAP - bound.value
            if gap <= 0:
                return
            sure = free & (np.abs(bound.worth) >= gap)
            fixed = fixed | (sure & (bound.worth > 0))
            heapq.heappush(open_, (bound.value, next(number), free & ~sure, fixed, bound))

        add(free, fixed, root.prices)
        while open_:
            value, _, free, fixed, bound = heapq.heappop(open_)
            if value >= self._cost - GAP:
                break
            cells = self._undecided(free, fixed, bound)
            all_fit = (dense.sizes[:, free | fixed].sum(axis=1) <= 1.0 + ROUNDING).all()
            if all_fit or len(cells) <= _CORE:
                self._finish(cells, pooled=not all_fit)
                continue
            branch = self._branch(free, bound)
            free = free.copy()
            free[branch] = False
            with_it = fixed.copy()
            with_it[branch] = True
            add(free, with_it, bound.prices)
            add(free, fixed, bound.prices)
        return self._best

    def _branch(self, free: Bools, bound: Bound) -> int:
        """The expert that the bound decides least for its size: the rest depends most on it."""
        size = np.maximum(self._dense.sizes.max(axis=0), 1e-12)
        return int(np.where(free, np.abs(bound.worth) / size, np.inf).argmin())

    def _undecided(self, free: Bools, fixed: Bools, bound: Bound) -> Index:
        """Cells that a better map below this node may take: their reduced cost is within the gap."""
        over = np.maximum(self._dense.priced(bound.prices) - bound.prices.category[:, None], 0.0)
        over += np.where(fixed, 0.0, np.maximum(-bound.worth, 0.0))
        keep = (bound.value + over < self._cost - GAP) & (free | fixed)
        return np.flatnonzero(keep[self._made.row, self._made.column])

    def _finish(self, cells: Index, *, pooled: bool) -> None:
        left = self._made.of(cells)
        if not left.every_category():
            return
        objective = self._objective[cells]
        if pooled:
            chosen = milp(left, objective)
        else:
            chosen = _averaged(replace(left, pooled={}), objective, self._cost)
        if chosen is not None:
            self._keep(cells[chosen])

    def _keep(self, chosen: Index) -> None:
        cost = float(self._objective[chosen].sum())
        if cost < self._cost:
            self._best, self._cost = chosen, cost

    def _likely(self) -> float:
        """About what the best map costs, for the first steps to aim at."""
        cost = self._dense.cost
        worth = -np.where(np.isfinite(cost), cost, self._cost).sum(axis=0)
        experts = self._swapped(cost, self._filled(worth), worth)
        without_averages = float(cost[:, experts].min(axis=1, initial=np.inf).sum())
        if not np.isfinite(without_averages):
            return self._cost
        return without_averages + (_AVERAGES_TAKE * abs(without_averages) if len(self._dense.usage) else 0.0)

    def _filled(self, worth: Floats) -> list[int]:
        """The experts of most worth that fit, at least one."""
        inside: list[int] = []
        for expert in np.argsort(-worth, kind="stable").tolist():
            if (worth[expert] > 0 or not inside) and self._fits([*inside, expert]):
                inside.append(expert)
        return inside

    def _improve(self, prices: Prices, worth: Floats) -> None:
        """Look for a better map: the experts of most worth that fit, then those after swaps."""
        priced = self._dense.priced(prices)
        inside = self._filled(worth)
        for experts in (inside, self._swapped(priced, inside, worth)):
            cells = self._made.within(experts)
            left = self._made.of(cells)
            if left.every_category():
                chosen = _averaged(replace(left, pooled={}), self._objective[cells], self._cost)
                if chosen is not None:
                    self._keep(cells[chosen])

    def _swapped(self, priced: Floats, inside: list[int], worth: Floats) -> list[int]:
        """Take up to two experts out and up to two in while that helps, averaged limits at their price."""
        likely = np.argsort(-worth, kind="stable")[:_CANDIDATES]
        one, other = (likely[each] for each in np.triu_indices(len(likely)))
        cost = np.minimum(priced[:, one], priced[:, other])
        size = self._dense.sizes[:, one] + np.where(one == other, 0.0, self._dense.sizes[:, other])
        experts = inside
        best = float(priced[:, experts].min(axis=1).sum()) if experts else np.inf
        while True:
            outs: list[tuple[int, ...]] = [(), *((e,) for e in experts)]
            if len(experts) <= _PAIRS_UP_TO:
                outs.extend(combinations(experts, 2))
            found: list[int] | None = None
            for out in outs:
                rest = [e for e in experts if e not in out]
                used = self._dense.sizes[:, rest].sum(axis=1)
                fit = np.flatnonzero((size + used[:, None] <= 1.0 + ROUNDING).all(axis=0))
                if not len(fit):
                    continue
                base = priced[:, rest].min(axis=1, initial=np.inf)
                totals = np.minimum(base[:, None], cost[:, fit]).sum(axis=0)
                at = int(totals.argmin())
                if totals[at] < best - GAP:
                    best = float(totals[at])
                    found = list(dict.fromkeys([*rest, int(one[fit[at]]), int(other[fit[at]])]))
            if found is None:
                return experts
            experts = found

    def _fits(self, experts: list[int]) -> bool:
        return bool((self._dense.sizes[:, experts].sum(axis=1) <= 1.0 + ROUNDING).all())
