"""The integer program in the terms of scipy's HiGHS: its relaxation and its solution."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from coe_routers._extras import library
from coe_routers.mapping._program import Floats, Index, Program, first_of_rows

_SCALE = 1e3
"""HiGHS stops at an absolute gap of 1e-6: scaled, that is a value of 1e-9."""


class Found(NamedTuple):
    """What a search found.

    Attributes:
        chosen: int64[c], the cell variable of each category, None when no map was found.
        bound: what no map that was looked for costs less than; infinite when there is none.
    """

    chosen: Index | None
    bound: float


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


def milp(
    made: Program, objective: Floats, opening: Floats | None = None, *, nodes: int, near: float = 0.0
) -> Found:
    """Minimise `sum(objective * z) + sum(opening * u)` with every limit and a link for every cell.

    Limits are met up to HiGHS' tolerance, one millionth of each.

    Args:
        objective: float64[k].
        opening: float64[m], what each expert in use costs.
        nodes: branches after which to give up and report the best map so far.
        near: relative distance from the best map that is good enough.

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
    with quiet():
        found = optimize.milp(
            price,
            integrality=np.ones(width),
            bounds=optimize.Bounds(0, 1),
            constraints=constraints,
            options={"mip_rel_gap": near, "node_limit": nodes},
        )
    chosen = None
    if found.x is not None:
        chosen = first_of_rows(made.row, -np.asarray(found.x[:k], dtype=np.float64))
    stopped = found.status == 1
    if chosen is None:
        return Found(None, float(found.mip_dual_bound) / _SCALE if stopped else np.inf)
    if stopped or near:
        return Found(chosen, float(found.mip_dual_bound) / _SCALE)
    return Found(chosen, float(found.fun) / _SCALE)


@contextmanager
def quiet() -> Generator[None]:
    """Keep away from stdout what HiGHS prints there while debugging: it would spoil a command's JSON."""
    libc = ctypes.CDLL(None)
    libc.fflush(None)
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    try:
        yield
    finally:
        libc.fflush(None)
        os.dup2(kept, 1)
        os.close(kept)


def _answered_once(made: Program, width: int) -> Any:
    _, sparse = _scipy()
    k = len(made.row)
    return sparse.csr_array((np.ones(k), (made.row, np.arange(k))), shape=(made.c, width))


def _scipy() -> tuple[Any, Any]:
    """scipy.optimize and scipy.sparse: imported here because only solving needs them."""
    return library("scipy.optimize", "train"), library("scipy.sparse", "train")
