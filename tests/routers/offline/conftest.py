"""Outcomes of three made-up experts on three made-up topics."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

TOPICS = {
    "sums": ("add", "number", "divide", "equation", "plus", "fraction", "multiply", "digits"),
    "poems": ("verse", "rhyme", "moon", "sonnet", "love", "stanza", "ode", "spring"),
    "code": ("python", "function", "loop", "class", "compile", "bug", "array", "pointer"),
}
ABLE = {
    "large": {"sums": 0.8, "poems": 0.8, "code": 0.8},
    "coder": {"sums": 0.3, "poems": 0.1, "code": 0.97},
    "small": {"sums": 0.75, "poems": 0.2, "code": 0.2},
}
CARDS = [
    {"model": "large", "params_b": 70, "input_usd_per_mtok": 3, "output_usd_per_mtok": 9},
    {"model": "coder", "params_b": 30, "input_usd_per_mtok": 1, "output_usd_per_mtok": 2},
    {"model": "small", "params_b": 3, "input_usd_per_mtok": 0.1, "output_usd_per_mtok": 0.1},
]

Write = Callable[..., Path]


def outcome_rows(n: int, seed: int, *, labelled: bool = True) -> list[dict[str, object]]:
    rng = np.random.default_rng(seed)
    rows: list[dict[str, object]] = []
    for number in range(n):
        topic = str(rng.choice(list(TOPICS)))
        words = " ".join(rng.choice(TOPICS[topic], 5))
        rows.append(
            {
                "prompt_id": f"{seed}/{number}",
                "prompt": f"Please {words} {rng.integers(1000)}",
                **({"category": topic} if labelled else {}),
                "scores": {name: int(rng.random() < able[topic]) for name, able in ABLE.items()},
                "response_chars": dict.fromkeys(ABLE, 400),
                "latency_s": {
                    name: float(card["params_b"]) / 10  # type: ignore[arg-type]
                    for name, card in zip(ABLE, CARDS, strict=True)
                },
            }
        )
    return rows


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.jsonl, test.jsonl, unlabelled.jsonl and models.json."""
    made = tmp_path_factory.mktemp("outcomes")
    for name, rows in {
        "train": outcome_rows(420, 1),
        "test": outcome_rows(300, 2),
        "unlabelled": outcome_rows(300, 3, labelled=False),
    }.items():
        (made / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (made / "models.json").write_text(json.dumps(CARDS))
    return made


@pytest.fixture(scope="session")
def trained(folder: Path) -> Path:
    """A router's folder; do not write to it."""
    from coe_routers.offline import TrainOptions, find_embedder, train
    from coe_routers.outcomes import read_cards, read_outcomes

    train(
        read_outcomes([folder / "train.jsonl"]),
        read_cards(folder / "models.json"),
        folder / "router",
        TrainOptions(),
        embedder=find_embedder("static", {}),
    )
    return folder / "router"
