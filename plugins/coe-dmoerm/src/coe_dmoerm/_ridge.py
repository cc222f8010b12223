"""Ridge regression of ratings with an intercept for each prompt.

Some prompts are rated higher than others whatever is answered. A reward is only compared within a prompt, so
that part is fitted as a random effect and left out of what is predicted (best linear unbiased prediction).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coe_dmoerm._libraries import library
from coe_dmoerm._reader import BLOCKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_ROWS = 5000
"""The system is solved over items: beyond this many, a random part of the prompts is used."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What cross-validation chooses.

    Attributes:
        shares: weight of each of `BLOCKS`; 0 leaves it out.
        noise: variance of a rating's noise, relative to the features'.
        prompt: variance of the prompts' intercepts, relative to the features'.
    """

    shares: tuple[float, ...]
    noise: float
    prompt: float = 2.0


def kernels(blocks: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
    """Inner products of all items, float64[n, n] for each block."""
    found: dict[str, NDArray[np.float64]] = {}
    for name in BLOCKS:
        product: Any = blocks[name] @ blocks[name].T
        found[name] = np.asarray(
            product if isinstance(product, np.ndarray) else product.toarray(), np.float64
        )
    return found


def mixed(products: Mapping[str, NDArray[np.float64]], choice: Choice) -> NDArray[np.float64]:
    """The blocks' inner products in the choice's shares, float64[n, n]."""
    return sum(
        (share * products[name] for name, share in zip(BLOCKS, choice.shares, strict=True) if share),
        np.zeros_like(products[BLOCKS[0]]),
    )


def solve(
    kernel: NDArray[np.float64], prompts: NDArray[np.int64], targets: NDArray[np.float64], choice: Choice
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Dual weights float64[n, a] and means float64[a].

    Args:
        kernel: float64[n, n].
        prompts: int64[n], equal for answers to the same prompt.
        targets: float64[n, a].
        choice: noise and variance of intercepts.
    """
    matrix = kernel + choice.prompt * (prompts[:, None] == prompts) + choice.noise * np.eye(len(kernel))
    linalg = library("scipy.linalg")
    both = np.hstack([targets, np.ones((len(targets), 1))])
    solved: NDArray[np.float64] = linalg.cho_solve(linalg.cho_factor(matrix), both)
    means = solved[:, :-1].sum(axis=0) / solved[:, -1].sum()
    return solved[:, :-1] - solved[:, -1:] * means, means


def primal(
    blocks: Mapping[str, Any], dual: NDArray[np.float64], choice: Choice
) -> dict[str, NDArray[np.float32]]:
    """Weights float32[d, a] of each block."""
    return {
        name: np.asarray(share * (blocks[name].T @ dual), np.float32)
        for name, share in zip(BLOCKS, choice.shares, strict=True)
    }
