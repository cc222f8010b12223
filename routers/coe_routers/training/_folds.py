"""Splitting rows for held-out predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def stratified_folds(
    labels: Sequence[str], groups: Sequence[str], folds: int, seed: int
) -> NDArray[np.int64]:
    """A fold, 0 .. folds - 1, for each row: int64[n].

    Rows of one group (the same text, say) share a fold; every label is spread evenly over the folds.
    """
    members: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    random = np.random.default_rng(seed)
    keys = list(members)
    by_label: dict[str, list[str]] = {}
    order: list[int] = random.permutation(len(keys)).tolist()
    for key in (keys[place] for place in order):
        by_label.setdefault(labels[members[key][0]], []).append(key)
    assigned = np.zeros(len(labels), np.int64)
    turn = 0
    for label in sorted(by_label):
        for key in by_label[label]:
            assigned[members[key]] = turn % folds
            turn += 1
    return assigned
