"""What a mixture-of-experts layer must compute, in float64, and routings to try it with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Routing:
    """Which experts each token uses.

    Attributes:
        ids: int32[tokens, top_k], experts by number; below zero stands for none.
        weights: float32[tokens, top_k], what each expert's answer counts.
    """

    ids: NDArray[np.int32]
    weights: NDArray[np.float32]


def silu(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """x · sigmoid(x), without overflow."""
    small = np.exp(-np.abs(values))
    return values * np.where(values >= 0, 1.0, small) / (1.0 + small)


def fused_moe(x: NDArray[Any], w13: NDArray[Any], w2: NDArray[Any], routing: Routing) -> NDArray[np.float64]:
    """Σ weight · w2 · (silu(gate · x) * (up · x)) over each token's experts, all in float64.

    Args:
        x: float[tokens, hidden].
        w13: float[experts, 2 · intermediate, hidden], gate rows first, then up rows, as vLLM stores them.
        w2: float[experts, hidden, intermediate].
        routing: of the tokens. An expert named twice counts twice.

    Returns:
        float64[tokens, hidden].
    """
    out = np.zeros((x.shape[0], w2.shape[1]))
    intermediate = w2.shape[2]
    for expert in range(w13.shape[0]):
        tokens, slots = np.nonzero(routing.ids == expert)
        if not tokens.size:
            continue
        both = x[tokens].astype(np.float64) @ w13[expert].astype(np.float64).T
        inner = silu(both[:, :intermediate]) * both[:, intermediate:]
        answer = inner @ w2[expert].astype(np.float64).T
        np.add.at(out, tokens, answer * routing.weights[tokens, slots].astype(np.float64)[:, None])
    return out


def drawn(probabilities: NDArray[np.float64], tokens: int, top_k: int, rng: np.random.Generator) -> Routing:
    """Distinct experts for each token, drawn without replacement by `probabilities`, float64[experts].

    Gumbel-top-k; the weights are random and sum to one.
    """
    experts = probabilities.size
    with np.errstate(divide="ignore"):
        noisy = np.log(probabilities) + rng.gumbel(size=(tokens, experts))
    ids = np.argsort(-noisy, axis=1)[:, :top_k].astype(np.int32)
    return Routing(ids, _weights(tokens, top_k, rng))


def uniform(tokens: int, experts: int, top_k: int, rng: np.random.Generator) -> Routing:
    """Every expert as likely as any other."""
    return drawn(np.ones(experts), tokens, top_k, rng)


def zipf(tokens: int, experts: int, top_k: int, rng: np.random.Generator, exponent: float = 1.1) -> Routing:
    """Skewed, as the traffic of one category is: the n-th expert has a probability of 1 / n^exponent."""
    return drawn(
        1.0 / np.arange(1, experts + 1, dtype=np.float64) ** np.float64(exponent), tokens, top_k, rng
    )


def hot(tokens: int, experts: int, top_k: int, rng: np.random.Generator) -> Routing:
    """Every token to the same experts, which are drawn once; all others are empty."""
    chosen = rng.permutation(experts)[:top_k].astype(np.int32)
    return Routing(np.tile(chosen, (tokens, 1)), _weights(tokens, top_k, rng))


def sparse(tokens: int, experts: int, top_k: int, rng: np.random.Generator) -> Routing:
    """Only every other expert is ever used, and a quarter of all slots name none."""
    routing = drawn(
        (np.arange(experts) % 2 == 0).astype(np.float64), tokens, min(top_k, -(-experts // 2)), rng
    )
    ids = np.where(rng.random(routing.ids.shape) < 0.25, -1, routing.ids).astype(np.int32)
    return Routing(ids, routing.weights)


def duplicates(tokens: int, experts: int, top_k: int, rng: np.random.Generator) -> Routing:
    """Experts drawn with replacement: a token may name one several times."""
    ids = rng.integers(0, experts, size=(tokens, top_k)).astype(np.int32)
    return Routing(ids, _weights(tokens, top_k, rng))


ROUTINGS = {"uniform": uniform, "zipf": zipf, "hot": hot, "sparse": sparse, "duplicates": duplicates}
"""The routings by name."""


def _weights(tokens: int, top_k: int, rng: np.random.Generator) -> NDArray[np.float32]:
    raw = rng.random((tokens, top_k)) + 0.05
    return (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)
