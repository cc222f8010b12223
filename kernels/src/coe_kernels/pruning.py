"""Which experts of a sparse layer to keep for a task, from how the router used them on the task's texts.

`mass` keeps those with the largest sum of router weights. `uncurl` first joins experts whose router logits go
up and down together, until as many groups are left as are to be kept, and keeps the one of most mass of each:
two experts that the router takes for each other cost two places by mass, and one here. Source: Sarkar et al.,
"Revisiting SMoE Language Models by Evaluating Inefficiencies with Task Specific Expert Pruning", arXiv
2409.01483: the idea of grouping by router logits; nothing is merged or trained here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class RouterUse:
    """How a layer's router used its experts on some tokens.

    Attributes:
        mass: float64[experts], sums of the weights that they got.
        correlation: float64[experts, experts], of their logits.
    """

    mass: NDArray[np.float64]
    correlation: NDArray[np.float64]


def router_use(logits: NDArray[np.float64], top_k: int) -> RouterUse:
    """From the router's logits, float[tokens, experts]; weights are softmax over all, of the top_k chosen."""
    if logits.ndim != 2 or not 1 <= top_k <= logits.shape[1] or logits.shape[0] < 1:
        raise ValueError(f"logits {logits.shape} are not those of a router that chooses {top_k}")
    exact = logits.astype(np.float64)
    shifted = np.exp(exact - exact.max(1, keepdims=True))
    weights = shifted / shifted.sum(1, keepdims=True)
    chosen = np.argsort(-exact, axis=1, kind="stable")[:, :top_k]
    kept = np.zeros_like(weights)
    np.put_along_axis(kept, chosen, np.take_along_axis(weights, chosen, 1), 1)
    centred = exact - exact.mean(0)
    scale = np.linalg.norm(centred, axis=0)
    scale[scale == 0] = 1.0
    correlation = (centred / scale).T @ (centred / scale)
    return RouterUse(kept.sum(0), correlation)


def by_mass(use: RouterUse, keep: int) -> list[int]:
    """The experts of most mass, ascending."""
    return sorted(np.argsort(-use.mass, kind="stable")[:keep].tolist())


def by_groups(use: RouterUse, keep: int) -> list[int]:
    """The expert of most mass of each of `keep` groups, ascending; groups join by mean correlation."""
    groups = [[expert] for expert in range(use.mass.size)]
    while len(groups) > keep:
        mean = np.array([[use.correlation[np.ix_(a, b)].mean() for b in groups] for a in groups])
        np.fill_diagonal(mean, -np.inf)
        first, second = sorted(int(at) for at in np.unravel_index(mean.argmax(), mean.shape))
        groups[first] += groups.pop(second)
    return sorted(max(group, key=lambda expert: float(use.mass[expert])) for group in groups)


METHODS: Mapping[str, Callable[[RouterUse, int], list[int]]] = {"mass": by_mass, "uncurl": by_groups}


def kept_share(use: RouterUse, kept: list[int]) -> float:
    """The share of the router's weights that went to the experts that are kept."""
    return float(use.mass[kept].sum() / use.mass.sum())
