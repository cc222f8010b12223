"""The best map where nothing limits the set of experts: the relaxation decides most of it, HiGHS the rest."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from coe_routers.mapping._milp import Found, milp, relaxation
from coe_routers.mapping._program import Floats, Index, Program, first_of_rows

GAP = 1e-9
"""Maps closer than this in value are equal: a search proves that no map is better by more."""
_OPEN = 60
"""Cells above one for each category that the first try leaves open."""


def averaged(
    made: Program, objective: Floats, cutoff: float = np.inf, *, nodes: int, near: float = 0.0
) -> Found:
    """The best map, leaving pooled limits aside; none also when it is no better than `cutoff`.

    The relaxation leaves most categories decided. A map that takes a cell of reduced cost r is worse than the
    relaxation by r at least; so the best map over the cells below some r is the best of all once it is within
    r of the relaxation. r starts small and grows until that holds.

    Args:
        objective: float64[k].
        nodes, near: as of `milp`.
    """
    made = replace(made, pooled={})
    if not made.average:
        chosen = first_of_rows(made.row, objective)
        return Found(chosen, float(objective[chosen].sum()))
    kept = _undominated(made, objective)
    made, objective = made.of(kept), objective[kept]
    relaxed = relaxation(made, objective)
    if relaxed is None:
        return Found(None, np.inf)
    bound, reduced = relaxed
    if bound >= cutoff:
        return Found(None, bound)
    widest = min(float(reduced.max()), cutoff - bound)
    radius = min(float(np.sort(reduced)[min(made.c + _OPEN, len(reduced) - 1)]), widest)
    while True:
        cells = np.flatnonzero(reduced <= radius + GAP)
        found = milp(made.of(cells), objective[cells], nodes=nodes, near=near)
        gap = np.inf
        if found.chosen is not None:
            gap = float(objective[cells[found.chosen]].sum()) - bound
        if gap <= radius or radius >= widest:
            # Cells left out cost more than the radius, or, when it is the widest, more than the cutoff.
            least = min(found.bound, cutoff if radius >= widest else bound + radius)
            return Found(None if found.chosen is None else kept[cells[found.chosen]], least)
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
