"""The mixed-integer program itself, in the terms of scipy's HiGHS."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from coe_routers._extras import library
from coe_routers.mapping._problem import SLOW_SHARE, Budget, Problem

Floats = NDArray[np.float64]
Index = NDArray[np.int64]

AVERAGED = ("active_params_b", "usd_per_1k", "p95_latency_s")
"""Limits on an average over the traffic."""
POOLED = ("total_params_b", "max_experts")
"""Limits on the set of experts in use."""

_SCALE = 1e3
"""HiGHS stops at an absolute gap of 1e-6: scaled, that is a value of 1e-9."""

_WORTHWHILE = 1e-4
"""Links are added to the relaxation while they raise its bound by this part; any relaxation is valid."""


@dataclass(frozen=True, slots=True)
class Program:
    """Binary z over the usable cells and, when the set of experts is limited, binary u over experts.

    Attributes:
        row, column: int64[k], category and expert of each cell variable, sorted by category.
        weight: float64[k], share of the cell's category.
        average: name to (float64[k], limit): `sum(weight * cost * z) <= limit`.
        pooled: name to (float64[m], limit): `sum(size * u) <= limit`, with `z <= u`.
        c, m: how many categories and experts.
    """

    row: Index
    column: Index
    weight: Floats
    average: dict[str, tuple[Floats, float]]
    pooled: dict[str, tuple[Floats, float]]
    c: int
    m: int

    def of(self, cells: Index) -> Program:
        """The program over these cell variables only."""
        return replace(
            self,
            row=self.row[cells],
            column=self.column[cells],
            weight=self.weight[cells],
            average={name: (cost[cells], most) for name, (cost, most) in self.average.items()},
        )


def program(problem: Problem, budget: Budget) -> tuple[Program, dict[str, tuple[str, ...]]]:
    """Build the program; the second part names experts left out because a limited fact is unknown."""
    usable = problem.restricted(budget)
    limits = budget.limits()
    costs = {name: problem.spending(name, limits[name]) for name in AVERAGED if name in limits}
    sizes: dict[str, Floats] = {}
    if "total_params_b" in limits:
        sizes["total_params_b"] = problem.total_params_b
    if "max_experts" in limits:
        sizes["max_experts"] = np.ones(len(problem.experts))
    unknown: dict[str, tuple[str, ...]] = {}
    for name, known in {**costs, **sizes}.items():
        gone = usable & ~np.isfinite(np.broadcast_to(known, usable.shape))
        unknown[name] = tuple(problem.experts[e] for e in np.flatnonzero(gone.any(axis=0)))
        usable &= ~gone
    row, column = np.nonzero(usable)
    built = Program(
        row=row,
        column=column,
        weight=problem.share[row],
        average={
            name: (cost[row, column], SLOW_SHARE if name == "p95_latency_s" else limits[name])
            for name, cost in costs.items()
        },
        pooled={name: (np.nan_to_num(size), limits[name]) for name, size in sizes.items()},
        c=len(problem.categories),
        m=len(problem.experts),
    )
    return built, {name: names for name, names in unknown.items() if names}


def optimum(made: Program, objective: Floats) -> Index | None:
    """Minimise `sum(objective * z)`, objective float64[k].

    Returns:
        int64[c], the cell variable chosen in each category, or None when nothing is feasible.

    Raises:
        PluginError: scipy is not installed.
    """
    if len(np.unique(made.row)) < made.c:
        return None
    if made.pooled:
        return _pooled(made, objective)
    if not made.average:
        return first_of_rows(made.row, objective)
    kept = _undominated(made, objective)
    return _back(kept, _milp(_matrices(made.of(kept), objective[kept])))


def cheapest_pool(made: Program, size: Floats) -> Index | None:
    """Minimise `sum(size * u)` over the experts in use, size float64[m]; as `optimum` otherwise."""
    if len(np.unique(made.row)) < made.c:
        return None
    built = _matrices(replace(made, pooled={**made.pooled, "": (size, np.inf)}), np.zeros(len(made.row)))
    built.price[len(made.row) :] = size
    built.link(np.arange(len(made.row)))
    return _milp(built)


def first_of_rows(row: Index, objective: Floats) -> Index:
    """The variable of lowest objective in each category, the first on a tie: int64[c]."""
    order = np.lexsort((objective, row))
    _, first = np.unique(row[order], return_index=True)
    return order[first]


def _undominated(made: Program, objective: Floats) -> Index:
    """Cells that no other cell of their category beats in objective and every limit at once.

    Leaving the others out changes no optimum while experts are not tied to each other by a pooled limit.
    """
    points = np.stack([objective, *(cost for cost, _ in made.average.values())], axis=1)
    kept: list[Index] = []
    for category in range(made.c):
        cells = np.flatnonzero(made.row == category)
        mine = points[cells]
        no_worse = (mine[:, None, :] <= mine[None, :, :]).all(axis=2)
        earlier = np.arange(len(cells))[:, None] < np.arange(len(cells))[None, :]
        beaten = (no_worse & (~no_worse.T | earlier)).any(axis=0)
        kept.append(cells[~beaten])
    return np.concatenate(kept)


def _pooled(made: Program, objective: Floats) -> Index | None:
    """Exact, in three steps that keep the program small where 200 categories meet 50 experts.

    1. The linear relaxation, adding a link `z <= u` only once it is violated: few ever are.
    2. A good map: experts by their part in the relaxation, improved by swaps.
    3. Experts and cells whose reduced cost exceeds the gap between the two cannot be in a better map
       (reduced-cost fixing); the rest is solved exactly.
    """
    k = len(made.row)
    built = _matrices(made, objective)
    relaxed = _relax(built, made)
    if relaxed is None:
        return None
    bound, used, penalised, reduced = relaxed
    incumbent = _incumbent(made, objective, penalised, used)
    keep = np.ones(k, dtype=bool)
    if incumbent is not None:
        gap = float(objective[incumbent].sum()) * _SCALE - bound + 1e-6
        experts = reduced[k:] <= gap
        keep = (reduced[:k] <= gap) & experts[made.column]
        keep[incumbent] = True
    cells = np.flatnonzero(keep)
    small = _matrices(made.of(cells), objective[cells])
    small.link(np.flatnonzero(np.isin(cells, built.linked)))
    found = _back(cells, _milp(small))
    return incumbent if found is None else found


class _Matrices:
    """Coefficients of one program over k cell variables and, with pooled limits, m expert variables."""

    def __init__(self, made: Program, objective: Floats) -> None:
        _, sparse = _scipy()
        self.made = made
        self.k = k = len(made.row)
        self.width = width = k + (made.m if made.pooled else 0)
        self.price = np.zeros(width)
        self.price[:k] = objective * _SCALE
        here = np.arange(k)
        self.equal: Any = sparse.csr_array((np.ones(k), (made.row, here)), shape=(made.c, width))
        rows: list[Any] = []
        limits: list[float] = []
        for cost, most in made.average.values():
            # Scaled to 1, so that the solver's tolerance means the same for USD and billions of parameters.
            scale = most or 1.0
            data = np.zeros((1, width))
            data[0, :k] = made.weight * cost / scale
            rows.append(sparse.csr_array(data))
            limits.append(most / scale)
        for size, most in made.pooled.values():
            if np.isfinite(most):
                data = np.zeros((1, width))
                data[0, k:] = size / most
                rows.append(sparse.csr_array(data))
                limits.append(1.0)
        if made.pooled:
            # All links of an expert at once; `link` adds single ones, which bind tighter.
            count = np.bincount(made.column, minlength=made.m).astype(np.float64)
            ones = sparse.csr_array((np.ones(k), (made.column, here)), shape=(made.m, width))
            many = sparse.csr_array(
                (count, (np.arange(made.m), k + np.arange(made.m))), shape=(made.m, width)
            )
            rows.append(ones - many)
            limits.extend([0.0] * made.m)
        self._rows, self._limits = rows, limits
        self.linked: Index = np.zeros(0, dtype=np.int64)

    def link(self, cells: Index) -> None:
        """Demand `z <= u` of these cell variables."""
        if not len(cells):
            return
        _, sparse = _scipy()
        at = np.arange(len(cells))
        data = np.concatenate([np.ones(len(cells)), -np.ones(len(cells))])
        columns = np.concatenate([cells, self.k + self.made.column[cells]])
        shape = (len(cells), self.width)
        self._rows.append(sparse.csr_array((data, (np.concatenate([at, at]), columns)), shape=shape))
        self._limits.extend([0.0] * len(cells))
        self.linked = np.concatenate([self.linked, cells])

    def upper(self) -> tuple[Any, Floats]:
        """Matrix and limits of all `<=` rows."""
        _, sparse = _scipy()
        return sparse.vstack(self._rows, format="csr"), np.array(self._limits)


def _matrices(made: Program, objective: Floats) -> _Matrices:
    return _Matrices(made, objective)


def _relax(built: _Matrices, made: Program) -> tuple[float, Floats, Floats, Floats] | None:
    """Solve the linear relaxation, linking as needed; None when it is infeasible.

    Returns:
        bound; float64[m] part of each expert; float64[k] objective with the averaged limits priced in;
        float64[k + m] reduced costs.
    """
    optimize, _ = _scipy()
    k, bound = built.k, -np.inf
    while True:
        matrix, limits = built.upper()
        found = optimize.linprog(
            built.price,
            A_ub=matrix,
            b_ub=limits,
            A_eq=built.equal,
            b_eq=np.ones(made.c),
            bounds=(0, 1),
            method="highs",
        )
        if found.x is None:
            return None
        x = cast("Floats", found.x)
        violated = np.flatnonzero(x[:k] > x[k:][made.column] + 1e-6)
        violated = np.setdiff1d(violated, built.linked)
        risen, bound = float(found.fun) - bound, float(found.fun)
        if not len(violated) or risen < _WORTHWHILE * abs(bound):
            break
        built.link(violated)
    prices = np.asarray(found.ineqlin.marginals, dtype=np.float64)
    averaged = len(made.average)
    penalised = built.price[:k] - np.asarray(matrix[:averaged, :k].T @ prices[:averaged])
    return bound, x[k:], penalised, np.asarray(found.lower.marginals, dtype=np.float64)


def _incumbent(made: Program, objective: Floats, penalised: Floats, used: Floats) -> Index | None:
    """A feasible map near the relaxation: over the experts it uses most, or over those after swaps."""
    inside: list[int] = []
    for expert in np.argsort(-used, kind="stable").tolist():
        if used[expert] > 1e-6 and _fits(made, [*inside, expert]):
            inside.append(expert)
    found: list[Index] = []
    for experts in (inside, _swapped(made, penalised, inside)):
        cells = np.flatnonzero(np.isin(made.column, experts))
        chosen = optimum(replace(made.of(cells), pooled={}), objective[cells])
        if chosen is not None:
            found.append(cells[chosen])
    return min(found, key=lambda chosen: float(objective[chosen].sum())) if found else None


def _swapped(made: Program, penalised: Floats, inside: list[int]) -> list[int]:
    """Exchange or add one expert at a time while that helps, averaged limits counted at their price."""
    cost = np.full((made.c, made.m), np.inf)
    cost[made.row, made.column] = penalised
    best, experts = _cost_of(cost, inside), inside
    while True:
        sets = [
            [*rest, into]
            for rest in (experts, *([e for e in experts if e != out] for out in experts))
            for into in range(made.m)
            if into not in rest
        ]
        trials = [(_cost_of(cost, trial), trial) for trial in sets if _fits(made, trial)]
        lowest, trial = min(trials, default=(best, experts))
        if not lowest < best - 1e-9:
            return experts
        best, experts = lowest, trial


def _fits(made: Program, experts: list[int]) -> bool:
    return all(float(size[experts].sum()) <= most for size, most in made.pooled.values())


def _cost_of(cost: Floats, experts: list[int]) -> float:
    return float(cost[:, experts].min(axis=1).sum()) if experts else float("inf")


def _milp(built: _Matrices) -> Index | None:
    """Solve; int64[c] cell variables chosen, or None when infeasible."""
    optimize, _ = _scipy()
    constraints = [optimize.LinearConstraint(built.equal, 1.0, 1.0)]
    matrix, limits = built.upper()
    constraints.append(optimize.LinearConstraint(matrix, -np.inf, limits))
    found = optimize.milp(
        built.price,
        integrality=np.ones(built.width),
        bounds=optimize.Bounds(0, 1),
        constraints=constraints,
        options={"mip_rel_gap": 0.0},
    )
    if found.x is None:
        return None
    return first_of_rows(built.made.row, -np.asarray(found.x[: built.k], dtype=np.float64))


def _back(cells: Index, chosen: Index | None) -> Index | None:
    return None if chosen is None else cells[chosen]


def _scipy() -> tuple[Any, Any]:
    """scipy.optimize and scipy.sparse: imported here because only solving needs them."""
    return library("scipy.optimize", "train"), library("scipy.sparse", "train")
