"""Recorded outcomes for the benchmarks: where they lie, and how they are split."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coe.contracts import Card
from coe_routers.outcomes import Outcomes, read_cards, read_outcomes

COVERAGE = 0.95
"""Experts scored on fewer of the prompts are left out: their means are over other prompts than the rest's."""


def data_folder() -> Path:
    """The folder of recorded outcomes: COE_DATA, else ../shared/data beside the repository."""
    path = Path(os.environ.get("COE_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not path.is_dir():
        sys.exit(f"No recorded outcomes in {path}. Set COE_DATA to the folder that holds them.")
    return path


def load(name: str, *, max_active_b: float | None = None) -> tuple[Outcomes, Mapping[str, Card]]:
    """Outcomes of the well-covered experts (up to a size), and all cards."""
    folder = data_folder() / name
    outcomes = read_outcomes([folder / "outcomes.jsonl.gz"])
    cards = read_cards(folder / "models.json")
    covered = np.isfinite(outcomes.scores).mean(axis=0) >= COVERAGE
    keep = [expert for expert, enough in zip(outcomes.experts, covered.tolist(), strict=True) if enough]
    if max_active_b is not None:
        sizes = {expert: cards[expert].active_params_b for expert in keep if expert in cards}
        keep = [expert for expert in keep if (size := sizes.get(expert)) is not None and size <= max_active_b]
    return outcomes.of_experts(keep), cards


def split(
    outcomes: Outcomes, *, seed: int, held_out: float = 0.3
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to fit on and rows held out; equal prompts are on one side."""
    texts = sorted(set(outcomes.prompts))
    drawn = dict(zip(texts, np.random.default_rng(seed).random(len(texts)).tolist(), strict=True))
    out = np.array([drawn[text] < held_out for text in outcomes.prompts])
    return np.flatnonzero(~out), np.flatnonzero(out)
