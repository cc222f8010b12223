"""The integer program in the terms of scipy's HiGHS: its relaxation and its solution."""

from __future__ import annotations

from typing import Any

import numpy as np

from coe_routers._extras import library
from coe_routers.mapping._program import Floats, Index, Program, first_of_rows

_SCALE = 1e3
"""HiGHS stops at an absolute gap of 1e-6: scaled, that is a value of 1e-9."""


def relaxation(made: Program, objective: Floats) -> tuple[float, Floats] | None:
    """Bound and reduced costs float64[k] of the linear relaxation without pooled limits, None if infeasible.

    Raises:
        PluginError: scipy is not installed.
    """
    optimize, _ = _scipy()
    found = optimize.linprog(
        objective * _SCALE,
        A_ub=made.usage(),
        b_ub=np.ones(len(made.average)),
        A_eq=_answered_once(made, len(made.row)),
        b_eq=np.ones(made.c),
        bounds=(0, None),
        method="highs",
    )
    if found.x is None:
        return None
    return float(found.fun) / _SCALE, np.asarray(found.lower.marginals, dtype=np.float64) / _SCALE


def milp(made: Program, objective: Floats, opening: Floats | None = None) -> Index | None:
    """Minimise `sum(objective * z) + sum(opening * u)` with every limit and a link for every cell.

    Limits are met up to HiGHS' tolerance, one millionth of each.

    Args:
        objective: float64[k].
        opening: float64[m], what each expert in use costs.

    Returns:
        int64[c], the cell variable chosen in each category, or None when infeasible.

    Raises:
        PluginError: scipy is not installed.
    """
    optimize, sparse = _scipy()
    k = len(made.row)
    # Experts without cells need no variable.
    experts, at = np.unique(made.column, return_inverse=True)
    tied = bool(made.pooled) or opening is not None
    width = k + len(experts) if tied else k
    price = np.zeros(width)
    price[:k] = objective * _SCALE
    constraints = [optimize.LinearConstraint(_answered_once(made, width), 1.0, 1.0)]
    if made.average:
        usage = np.zeros((len(made.average), width))
        usage[:, :k] = made.usage()
        constraints.append(optimize.LinearConstraint(usage, -np.inf, 1.0))
    if made.pooled:
        sizes = np.zeros((len(made.pooled), width))
        sizes[:, k:] = made.sizes()[:, experts]
        constraints.append(optimize.LinearConstraint(sizes, -np.inf, 1.0))
    if tied:
        here = np.arange(k)
        data = np.concatenate([np.ones(k), -np.ones(k)])
        place = (np.concatenate([here, here]), np.concatenate([here, k + at]))
        constraints.append(
            optimize.LinearConstraint(sparse.csr_array((data, place), shape=(k, width)), -np.inf, 0.0)
        )
    if opening is not None:
        price[k:] = opening[experts] * _SCALE
    found = optimize.milp(
        price,
        integrality=np.ones(width),
        bounds=optimize.Bounds(0, 1),
        constraints=constraints,
        options={"mip_rel_gap": 0.0},
    )
    if found.x is None:
        return None
    return first_of_rows(made.row, -np.asarray(found.x[:k], dtype=np.float64))


def _answered_once(made: Program, width: int) -> Any:
    _, sparse = _scipy()
    k = len(made.row)
    return sparse.csr_array((np.ones(k), (made.row, np.arange(k))), shape=(made.c, width))


def _scipy() -> tuple[Any, Any]:
    """scipy.optimize and scipy.sparse: imported here because only solving needs them."""
    return library("scipy.optimize", "train"), library("scipy.sparse", "train")
