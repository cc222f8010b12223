"""A little world in which it is known what makes an answer good: no network, no real data."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

THINGS = ["bridge", "garden", "engine", "letter", "market", "window", "river", "teacher"]


def ratings(prompts: int = 10, seed: int = 0) -> list[dict[str, Any]]:
    """Two tasks: in `explain` long answers are clear, in `greet` short ones; questions are rude in both."""
    draw = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for number in range(prompts):
        for task in ("explain", "greet"):
            thing = draw.choice(THINGS)
            asked = f"Explain how the {thing} works." if task == "explain" else f"Say hello to the {thing}."
            for answer in range(4):
                words = draw.randint(2, 30)
                rude = draw.random() < 0.5
                text = " ".join(draw.choice(THINGS) for _ in range(words)) + (" or what?" if rude else ".")
                clear = words / 30 if task == "explain" else 1 - words / 30
                rows.append(
                    {
                        "item_id": f"{task}/{seed}/{number}/{answer}",
                        "task": task,
                        "prompt": f"{asked} ({seed}.{number})",
                        "response": text,
                        "aspects": {"clear": round(clear, 3), "polite": 0.2 if rude else 0.8},
                    }
                )
    return rows


def pairs(prompts: int = 30, seed: int = 0) -> list[dict[str, Any]]:
    """Pairs of answers of which the one without a question is preferred."""
    draw = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for number in range(prompts):
        good = " ".join(draw.choice(THINGS) for _ in range(draw.randint(4, 12))) + "."
        bad = " ".join(draw.choice(THINGS) for _ in range(draw.randint(4, 12))) + " or what?"
        label = draw.choice("ab")
        first, second = (good, bad) if label == "a" else (bad, good)
        rows.append(
            {
                "prompt": f"Write about number {number}.",
                "response_a": first,
                "response_b": second,
                "label": label,
                "category": "writing",
            }
        )
    return rows


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
