"""Randomised trees as plain arrays, saved without pickle and read without scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coe_dmoerm._libraries import library

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TREES = 80
_LEAF = 3


@dataclass(frozen=True, slots=True)
class Trees:
    """t trees of at most m nodes in all.

    Attributes:
        roots: int32[t], the first node of each tree.
        column: int32[m], what an inner node looks at; −1 in a leaf.
        limit: float32[m]; up to it goes left.
        left, right: int32[m], children.
        value: float32[m, a], the answer of each node.
    """

    roots: NDArray[np.int32]
    column: NDArray[np.int32]
    limit: NDArray[np.float32]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    value: NDArray[np.float32]

    def predict(self, facts: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32[n, a]: mean over the trees, of facts float32[n, f]."""
        total = np.zeros((len(facts), self.value.shape[1]), np.float32)
        rows = np.arange(len(facts))
        for root in self.roots.tolist():
            node = np.full(len(facts), root)
            while True:
                column = self.column[node]
                inner = column >= 0
                if not inner.any():
                    break
                goes_left = facts[rows, np.maximum(column, 0)] <= self.limit[node]
                node = np.where(inner, np.where(goes_left, self.left[node], self.right[node]), node)
            total += self.value[node]
        return total / np.float32(len(self.roots))

    def tensors(self) -> dict[str, NDArray[Any]]:
        """What makes it up."""
        return {name: getattr(self, name) for name in self.__slots__}


def fit_trees(facts: NDArray[np.float32], targets: NDArray[np.float64], seed: int) -> Trees:
    """Extremely randomised trees (Geurts et al. 2006) for all targets float64[n, a] at once."""
    forest: Any = library("sklearn.ensemble").ExtraTreesRegressor(
        _TREES, min_samples_leaf=_LEAF, max_features=0.3, random_state=seed
    )
    forest.fit(facts, targets if targets.shape[1] > 1 else targets[:, 0])
    parts: list[dict[str, NDArray[Any]]] = []
    roots: list[int] = []
    first = 0
    for each in forest.estimators_:
        tree = each.tree_
        roots.append(first)
        leaf = tree.children_left < 0
        parts.append(
            {
                "column": np.where(leaf, -1, tree.feature),
                "limit": tree.threshold,
                "left": np.where(leaf, 0, tree.children_left + first),
                "right": np.where(leaf, 0, tree.children_right + first),
                "value": tree.value[:, :, 0],
            }
        )
        first += tree.node_count
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Trees(
        np.array(roots, np.int32),
        joined["column"].astype(np.int32),
        joined["limit"].astype(np.float32),
        joined["left"].astype(np.int32),
        joined["right"].astype(np.int32),
        joined["value"].astype(np.float32),
    )
