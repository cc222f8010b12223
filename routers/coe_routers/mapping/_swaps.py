"""Sets of experts that are likely good: filled greedily, then improved by swaps."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from coe_routers.mapping._program import ROUNDING, Floats

_CANDIDATES = 40
_PAIRS_UP_TO = 8
"""Swaps look at so many experts, and take two out at once only of sets so small."""
_GAIN = 1e-9


def fits(sizes: Floats, experts: list[int]) -> bool:
    """Whether a set keeps every pooled limit; sizes float64[p, m] in parts of the limits."""
    return bool((sizes[:, experts].sum(axis=1) <= 1.0 + ROUNDING).all())


def filled(sizes: Floats, worth: Floats) -> list[int]:
    """The experts of most worth float64[m] that fit together: those above 0, at least one."""
    inside: list[int] = []
    for expert in np.argsort(-worth, kind="stable").tolist():
        if worth[expert] <= 0 and inside:
            break
        if fits(sizes, [*inside, expert]):
            inside.append(expert)
    return inside


def swapped(priced: Floats, sizes: Floats, inside: list[int], worth: Floats) -> list[int]:
    """Take up to two experts out and up to two in while that helps.

    Args:
        priced: float64[c, m], cost of each cell with averaged limits at their price, infinite where unusable.
        sizes: float64[p, m], in parts of the limits.
        inside: the set to start from.
        worth: float64[m]; the experts of most worth are tried.
    """
    likely = np.argsort(-worth, kind="stable")[:_CANDIDATES]
    one, other = (likely[each] for each in np.triu_indices(len(likely)))
    cost = np.minimum(priced[:, one], priced[:, other])
    size = sizes[:, one] + np.where(one == other, 0.0, sizes[:, other])
    experts = inside
    best = float(priced[:, experts].min(axis=1).sum()) if experts else np.inf
    while True:
        outs: list[tuple[int, ...]] = [(), *((e,) for e in experts)]
        if len(experts) <= _PAIRS_UP_TO:
            outs.extend(combinations(experts, 2))
        found: list[int] | None = None
        for out in outs:
            rest = [e for e in experts if e not in out]
            used = sizes[:, rest].sum(axis=1)
            fit = np.flatnonzero((size + used[:, None] <= 1.0 + ROUNDING).all(axis=0))
            if not len(fit):
                continue
            base = priced[:, rest].min(axis=1, initial=np.inf)
            totals = np.minimum(base[:, None], cost[:, fit]).sum(axis=0)
            at = int(totals.argmin())
            if totals[at] < best - _GAIN:
                best = float(totals[at])
                found = list(dict.fromkeys([*rest, int(one[fit[at]]), int(other[fit[at]])]))
        if found is None:
            return experts
        experts = found
