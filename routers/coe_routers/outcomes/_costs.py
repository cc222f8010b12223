"""What each answer cost: measured where recorded, else estimated from characters and list prices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from coe.contracts import Card
from coe_routers.outcomes._outcomes import Outcomes

CHARS_PER_TOKEN = 4.0
"""The usual rule of thumb for English text; why an estimate is called one."""

Basis = Literal["measured", "estimated", "estimated without output", "unknown"]


@dataclass(frozen=True, slots=True)
class Costs:
    """What the answers cost.

    Attributes:
        usd: float64[n, m], NaN where unknown. An expert's cell without a record holds its mean over the
            others, since what a prompt would have cost is wanted even where nobody asked.
        basis: how each of the m experts' costs are known; `estimated` when any cell is.
    """

    usd: NDArray[np.float64]
    basis: tuple[Basis, ...]


def cost_usd(outcomes: Outcomes, cards: Mapping[str, Card]) -> Costs:
    """USD of every (prompt, expert) pair.

    Measured costs win. Otherwise tokens times list price, where tokens not recorded are characters / 4; an
    expert without recorded output counts its input only, and its basis says so.
    """
    prompt_tokens = np.array([len(text) for text in outcomes.prompts]) / CHARS_PER_TOKEN
    columns: list[NDArray[np.float64]] = []
    basis: list[Basis] = []
    for number, name in enumerate(outcomes.experts):
        usd, how = _column(outcomes, number, cards.get(name), prompt_tokens)
        columns.append(usd)
        basis.append(how)
    return Costs(np.stack(columns, axis=1), tuple(basis))


def _column(
    outcomes: Outcomes, expert: int, card: Card | None, prompt_tokens: NDArray[np.float64]
) -> tuple[NDArray[np.float64], Basis]:
    n = len(outcomes)
    measured = _of(outcomes.cost_usd, expert, n)
    if np.isfinite(measured).any():
        return _filled(measured), "measured"
    if card is None or card.input_usd_per_mtok is None or card.output_usd_per_mtok is None:
        return np.full(n, np.nan), "unknown"
    tokens = _of(outcomes.output_tokens, expert, n)
    chars = _of(outcomes.response_chars, expert, n) / CHARS_PER_TOKEN
    tokens = np.where(np.isfinite(tokens), tokens, chars)
    how: Basis = "estimated"
    if not np.isfinite(tokens).any():
        tokens, how = np.zeros(n), "estimated without output"
    usd = (prompt_tokens * card.input_usd_per_mtok + _filled(tokens) * card.output_usd_per_mtok) / 1e6
    return usd, how


def _of(matrix: NDArray[np.float32] | None, expert: int, n: int) -> NDArray[np.float64]:
    return np.full(n, np.nan) if matrix is None else matrix[:, expert].astype(np.float64)


def _filled(column: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isfinite(column), column, np.nanmean(column))


def by_expert(cards: Mapping[str, Card], experts: Sequence[str], field: str) -> NDArray[np.float64]:
    """A number of every expert's card, float64[m]; NaN where the card or the number is missing."""
    found = [getattr(cards[name], field) if name in cards else None for name in experts]
    return np.array([np.nan if value is None else value for value in found], dtype=np.float64)
