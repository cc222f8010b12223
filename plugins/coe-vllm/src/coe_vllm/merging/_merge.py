"""One adapter from several, and what is lost by it. Pure.

Soft merging of experts averages their parameters with the router's probabilities (SMEAR, arXiv 2306.03745);
MC-SMoE (arXiv 2310.01334) weighs experts by how often they are used, after permuting the neurons of each so
that they match those of the one that is used most. Here the experts are whole adapters, and the weights are
given: mean router probabilities, or shares of the traffic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from coe.errors import DataError
from coe_vllm.merging._lora import Delta, Lora, Matrix

Method = Literal["sum", "aligned", "parameters"]


@dataclass(frozen=True, slots=True)
class Loss:
    """What a merged adapter has lost of one of its parts, or of their sum.

    Attributes:
        distance: norm of (merged - part) over the norm of the part, all weights together; 0 is the same.
        cosine: of the angle between both, 1 is the same direction.
    """

    distance: float
    cosine: float


@dataclass(frozen=True, slots=True)
class Merged:
    """A merged adapter.

    Attributes:
        lora: the adapter.
        parts: what it has lost of each part.
        sum: what it has lost of the exact weighted sum, by its rank or by its method.
    """

    lora: Lora
    parts: Mapping[str, Loss]
    sum: Loss


def merge(
    adapters: Mapping[str, Lora], weights: Mapping[str, float], *, rank: int, method: Method = "sum"
) -> Merged:
    """Merge adapters of one base model.

    Args:
        adapters: by name, at least two.
        weights: by name, not negative; scaled to a sum of 1.
        rank: of the result; smaller than the sum of ranks, something is lost.
        method: `sum` takes the best approximation of that rank to the weighted sum of the changes (truncated
            singular values); `parameters` averages both factors as SMEAR does with its experts, which needs
            equal ranks and adds cross terms between adapters; `aligned` averages them as well, but first
            turns each adapter's factors towards those of the heaviest, which changes no adapter by itself.

    Raises:
        DataError: too few adapters, weights that do not fit them, or shapes that differ.
    """
    shares = _shares(adapters, weights)
    parts: dict[str, Mapping[str, Delta]] = {name: adapters[name].deltas for name in shares}
    deltas: dict[str, Delta] = {}
    exact: dict[str, Delta] = {}
    for stem in sorted({stem for each in parts.values() for stem in each}):
        here = [(shares[name], each[stem]) for name, each in parts.items() if stem in each]
        _check_shapes(stem, [delta for _, delta in here])
        exact[stem] = _concatenate(here)
        whole = (
            exact[stem] if method == "sum" else _average(stem, _align(here) if method == "aligned" else here)
        )
        deltas[stem] = _truncate(whole, rank) if whole.rank > rank else whole
    first = next(iter(adapters.values()))
    modules = {stem.rpartition(".")[2] for stem in deltas}
    config = {**first.config, "target_modules": sorted(modules), "layers_to_transform": None}
    return Merged(
        Lora(deltas, config),
        {name: _loss(deltas, each) for name, each in parts.items()},
        _loss(deltas, exact),
    )


def _shares(adapters: Mapping[str, Lora], weights: Mapping[str, float]) -> dict[str, float]:
    if len(adapters) < 2:
        raise DataError(f"Merging takes at least two adapters, not {len(adapters)}.")
    if unknown := sorted(set(adapters) ^ set(weights)):
        raise DataError(f"`{unknown[0]}`: every adapter needs a weight, and every weight an adapter.")
    total = sum(weights.values())
    if min(weights.values()) < 0 or not np.isfinite(total) or total <= 0:
        raise DataError(f"Weights must not be negative, and one must be above 0: {dict(weights)}.")
    return {name: weight / total for name, weight in weights.items()}


def _check_shapes(stem: str, deltas: Sequence[Delta]) -> None:
    shapes = {(delta.up.shape[0], delta.down.shape[1]) for delta in deltas}
    if len(shapes) > 1:
        raise DataError(f"`{stem}` has the shapes {sorted(shapes)}: the adapters are not of one base model.")


def _concatenate(parts: Sequence[tuple[float, Delta]]) -> Delta:
    """The weighted sum, exactly: its rank is the sum of the ranks."""
    up = np.concatenate([delta.up * np.float32(share) for share, delta in parts], axis=1)
    return Delta(up, np.concatenate([delta.down for _, delta in parts], axis=0))


def _truncate(delta: Delta, rank: int) -> Delta:
    """The best approximation of that rank, without forming the whole matrix."""
    left, inner_left = np.linalg.qr(delta.up.astype(np.float64))
    right, inner_right = np.linalg.qr(delta.down.T.astype(np.float64))
    u, values, vt = np.linalg.svd(inner_left @ inner_right.T)
    kept = min(rank, len(values))
    # Half of each singular value to either side: both factors stay of the same size.
    root = np.sqrt(values[:kept])
    up = left @ (u[:, :kept] * root)
    down = (root[:, None] * vt[:kept]) @ right.T
    return Delta(up.astype(np.float32), down.astype(np.float32))


def _align(parts: Sequence[tuple[float, Delta]]) -> list[tuple[float, Delta]]:
    """The same changes by other factors: each turned as near as can be to those of the heaviest part.

    `up @ down` is `(up @ turn.T) @ (turn @ down)` for every orthogonal `turn`, so which row of one adapter
    stands for what a row of another does is chance. MC-SMoE looks for a permutation of neurons; between the
    factors of a product any rotation is as free, and the best one has a closed form (orthogonal Procrustes).
    """
    rank = max(delta.rank for _, delta in parts)
    even = [(share, _balanced(delta, rank)) for share, delta in parts]
    _, model = max(even, key=lambda part: part[0])
    turned: list[tuple[float, Delta]] = []
    for share, delta in even:
        near = model.down @ delta.down.T + model.up.T @ delta.up
        left, _, right = np.linalg.svd(near.astype(np.float64))
        turn = (left @ right).astype(np.float32)
        turned.append((share, Delta(delta.up @ turn.T, turn @ delta.down)))
    return turned


def _balanced(delta: Delta, rank: int) -> Delta:
    """The same change by factors of equal size, with rows and columns of zeros up to that rank."""
    even = _truncate(delta, delta.rank)
    missing = rank - even.rank
    return Delta(np.pad(even.up, ((0, 0), (0, missing))), np.pad(even.down, ((0, missing), (0, 0))))


def _average(stem: str, parts: Sequence[tuple[float, Delta]]) -> Delta:
    ranks = {delta.rank for _, delta in parts}
    if len(ranks) > 1:
        raise DataError(f"`{stem}` has the ranks {sorted(ranks)}: averaging parameters needs equal ones.")

    def mean(matrices: Sequence[tuple[float, Matrix]]) -> Matrix:
        shares = np.array([share for share, _ in matrices], np.float32)
        return np.tensordot(shares, np.stack([matrix for _, matrix in matrices]), axes=1)

    return Delta(mean([(s, d.up) for s, d in parts]), mean([(s, d.down) for s, d in parts]))


def _loss(merged: Mapping[str, Delta], part: Mapping[str, Delta]) -> Loss:
    """Norms of products of low rank, by the small matrices between their factors."""
    both = sum(_inner(merged[stem], delta) for stem, delta in part.items())
    ours = sum(_inner(delta, delta) for delta in merged.values())
    theirs = sum(_inner(delta, delta) for delta in part.values())
    apart = max(0.0, ours - 2 * both + theirs)
    if theirs == 0 or ours == 0:
        return Loss(0.0 if apart == 0 else float("inf"), 1.0 if apart == 0 else 0.0)
    return Loss((apart / theirs) ** 0.5, both / (ours * theirs) ** 0.5)


def _inner(a: Delta, b: Delta) -> float:
    """Sum of the elementwise product of both changes."""
    ups = a.up.astype(np.float64).T @ b.up.astype(np.float64)
    downs = a.down.astype(np.float64) @ b.down.astype(np.float64).T
    return float(np.sum(ups * downs))
