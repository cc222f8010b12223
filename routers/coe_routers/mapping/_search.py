"""The best map of a program, exactly: bounds decide most of it, HiGHS the rest."""

from __future__ import annotations

import heapq
from itertools import count

import numpy as np

from coe_routers.mapping._averaged import GAP, averaged
from coe_routers.mapping._bound import Bools, Bound, Cells, Prices, lower_bound
from coe_routers.mapping._milp import Found, milp
from coe_routers.mapping._program import ROUNDING, Floats, Index, Program
from coe_routers.mapping._swaps import filled, swapped

_SMALL = 300
"""So few cells go to HiGHS at once."""
_CORE, _CORE_AVERAGED = 2000, 300
"""HiGHS takes over once this many cells are undecided; with more of them bounds are quicker. Averaged limits
make it slow."""
_FIRST_STEPS, _STEPS = 1000, 120
"""Steps of the first bound and of those after it, which start from its prices."""
_AVERAGES_TAKE = 0.03
_NEAR = 1e-5
"""A map this close, relatively, to the best of a set of experts will do while looking for good sets."""


def optimum(made: Program, objective: Floats, *, nodes: int) -> Found:
    """Minimise `sum(objective * z)`, objective float64[k].

    Args:
        nodes: branches after which to give up, of the search and of each integer program within it.

    Returns:
        The best map; averaged limits are met up to one millionth. No feasible map costs less than `bound`.
        It is proven best when that is within `GAP` of its cost, as it always is but where `nodes` ran out.

    Raises:
        PluginError: scipy is not installed.
    """
    if not made.every_category():
        return Found(None, np.inf)
    if not made.pooled:
        return averaged(made, objective, nodes=nodes)
    if len(made.row) <= _SMALL:
        return milp(made, objective, nodes=nodes)
    return _Search(made, objective, nodes).run()


def cheapest_pool(made: Program, size: Floats, *, nodes: int) -> Index | None:
    """Minimise `sum(size * u)` over the experts in use, size float64[m]; as `optimum` otherwise."""
    if not made.every_category():
        return None
    opening = size / max(float(size.max(initial=0.0)), 1e-12)
    return milp(made, np.zeros(len(made.row)), opening, nodes=nodes).chosen


class _Search:
    """Branch and bound over the set of experts.

    A node holds the experts that are in, those that are free, and the cells that a better map may take. Its
    bound prices everything; what is worth more than the gap to the best known map is decided without
    branching. Nodes with few cells, or whose experts all fit together, go to HiGHS.
    """

    def __init__(self, made: Program, objective: Floats, nodes: int) -> None:
        self._made, self._objective, self._nodes = made, objective, nodes
        self._core = _CORE_AVERAGED if made.average else _CORE
        self._cells = Cells.all_of(made, objective)
        self._cost_table = made.table(objective, np.inf)
        self._best: Index | None = None
        # Above whatever a feasible map may cost, until one is known.
        top = np.where(np.isfinite(self._cost_table), self._cost_table, -np.inf).max(axis=1)
        self._cost = float(top.sum()) + 1.0
        self._unproven = np.inf
        self._looked_at: set[frozenset[int]] = set()
        self._open: list[tuple[float, int, Index, Bools, Bools, Bound]] = []
        self._number = count()

    def run(self) -> Found:
        """The best map and a bound, or none when nothing is feasible."""
        made = self._made
        free, fixed = np.ones(made.m, dtype=bool), np.zeros(made.m, dtype=bool)
        root = lower_bound(self._cells, free, fixed, self._start(), self._likely(), _FIRST_STEPS)
        self._look_around(root)
        self._add(np.arange(len(made.row)), free, fixed, root.prices, _FIRST_STEPS)
        left = self._nodes
        while self._open and left > 0:
            value, _, cells, free, fixed, bound = heapq.heappop(self._open)
            if value >= self._cost - GAP:
                self._open.clear()
                break
            all_fit = (self._cells.sizes[:, free | fixed].sum(axis=1) <= 1.0 + ROUNDING).all()
            if all_fit or len(cells) <= self._core:
                self._finish(cells, pooled=not all_fit)
                continue
            left -= 1
            branch = self._branch(free, bound)
            free = free.copy()
            free[branch] = False
            with_it = fixed.copy()
            with_it[branch] = True
            self._add(cells, free, with_it, bound.prices, _STEPS)
            self._add(cells, free, fixed, bound.prices, _STEPS)
        if self._open:
            self._unproven = min(self._unproven, self._open[0][0])
        if self._best is None:
            return Found(None, self._unproven)
        return Found(self._best, min(self._cost, self._unproven))

    def _add(self, cells: Index, free: Bools, fixed: Bools, prices: Prices, steps: int) -> None:
        """Bound a node, and keep what may hold a better map."""
        sizes = self._cells.sizes
        room = 1.0 + ROUNDING - sizes[:, fixed].sum(axis=1)
        if (room < 0).any():
            return
        free = free & (sizes <= room[:, None]).all(axis=0)
        cells = cells[(free | fixed)[self._made.column[cells]]]
        if not self._every_category(cells):
            return
        here = self._cells.of(cells)
        bound = lower_bound(here, free, fixed, prices, self._cost - GAP, steps)
        if bound.value >= self._cost - GAP:
            return
        self._look_at(filled(sizes, np.where(fixed, 2.0, np.where(free, bound.part, 0.0))), bound.prices)
        gap = self._cost - GAP - bound.value
        if gap <= 0:
            return
        sure = free & (np.abs(bound.worth) >= gap)
        cells = cells[here.excess(bound, fixed) < gap]
        fixed = fixed | (sure & (bound.worth > 0))
        free = free & ~sure
        cells = cells[(free | fixed)[self._made.column[cells]]]
        if self._every_category(cells):
            heapq.heappush(self._open, (bound.value, next(self._number), cells, free, fixed, bound))

    def _branch(self, free: Bools, bound: Bound) -> int:
        """The expert that the relaxation can least decide on, large ones first: most depends on them."""
        doubt = bound.part * (1.0 - bound.part) * self._cells.sizes.max(axis=0)
        return int(np.where(free, doubt, -np.inf).argmax())

    def _every_category(self, cells: Index) -> bool:
        return bool(np.bincount(self._made.row[cells], minlength=self._made.c).all())

    def _finish(self, cells: Index, *, pooled: bool) -> None:
        left, objective = self._made.of(cells), self._objective[cells]
        if pooled:
            found = milp(left, objective, nodes=self._nodes)
        else:
            found = averaged(left, objective, self._cost, nodes=self._nodes)
        self._keep(cells, found)
        self._unproven = min(self._unproven, found.bound)

    def _keep(self, cells: Index, found: Found) -> None:
        if found.chosen is not None:
            chosen = cells[found.chosen]
            cost = float(self._objective[chosen].sum())
            if cost < self._cost:
                self._best, self._cost = chosen, cost

    def _start(self) -> Prices:
        """Prices to begin with: each category pays for its second best expert."""
        two = np.sort(self._cost_table, axis=1)[:, :2]
        return Prices(
            np.where(np.isfinite(two[:, -1]), two[:, -1], two[:, 0]),
            np.zeros(len(self._cells.usage)),
            np.zeros(len(self._cells.sizes)),
        )

    def _likely(self) -> float:
        """About what the best map costs, for the first steps to aim at."""
        cost, sizes = self._cost_table, self._cells.sizes
        worth = -np.where(np.isfinite(cost), cost, self._cost).sum(axis=0)
        experts = swapped(cost, sizes, filled(sizes, worth), worth)
        without_averages = float(cost[:, experts].min(axis=1, initial=np.inf).sum())
        if not np.isfinite(without_averages):
            return self._cost
        return without_averages + (_AVERAGES_TAKE * abs(without_averages) if len(self._cells.usage) else 0.0)

    def _look_around(self, bound: Bound) -> None:
        """Look for a first map: the experts of most worth that fit, then those after swaps."""
        sizes = self._cells.sizes
        inside = filled(sizes, bound.worth)
        priced = self._made.table(self._cells.priced(bound.prices.averaged), np.inf)
        self._look_at(swapped(priced, sizes, inside, bound.worth), bound.prices)
        self._look_at(inside, bound.prices)

    def _look_at(self, experts: list[int], prices: Prices) -> None:
        """Keep a good map over this set of experts where it is better than the best one."""
        if frozenset(experts) in self._looked_at:
            return
        self._looked_at.add(frozenset(experts))
        cells = self._made.within(experts)
        if not self._every_category(cells):
            return
        priced = self._made.table(self._cells.priced(prices.averaged), np.inf)[:, experts]
        if float(priced.min(axis=1).sum() - prices.averaged.sum()) < self._cost - GAP:
            left, objective = self._made.of(cells), self._objective[cells]
            self._keep(cells, averaged(left, objective, self._cost, nodes=self._nodes, near=_NEAR))
