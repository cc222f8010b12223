"""Reward models on pairs that people compared: PandaLM, HHH and LLMBar.

    python benchmarks/rewards_preferences.py [--splits 2]

Answers of small models to tasks of users (PandaLM, majority of three people); helpful, honest and harmless
answers (HHH); pairs made to mislead judges who look at form (LLMBar). 30 % of all prompts are held back.
Compared on held-back pairs: the longer answer, one scorer for all sets, a scorer for each (both layers).

Data: the folder named by COE_DATA, else ../shared/data. One process, no network.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coe.testing import create, load
from coe_dmoerm._evaluate import pair_outcomes, pair_prompts, prompt_interval
from coe_dmoerm._items import Data, read_data
from coe_dmoerm._model import TrainSettings, train
from coe_dmoerm._reader import read_raw

DATA = Path(os.environ.get("COE_DATA", Path(__file__).parents[2] / "shared" / "data"))
LAYOUTS = {"one scorer": TrainSettings(outer=False), "a scorer for each": TrainSettings()}


def rows() -> list[dict[str, Any]]:
    """Pairs of all sets; the set is the category."""
    found: list[dict[str, Any]] = []
    for name in ("pandalm", "hhh_alignment"):
        with gzip.open(DATA / "preferences" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            found += [{**json.loads(line), "category": name, "aspect": None} for line in lines]
    with gzip.open(DATA / "llmbar_judges" / "outcomes.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            found.append(
                {
                    "prompt": row["prompt"],
                    "response_a": row["output_1"],
                    "response_b": row["output_2"],
                    "label": "a" if int(row["reference"]) == 1 else "b",
                    "category": "llmbar",
                }
            )
    return found


def pairs() -> Data:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows()))
        return read_data([path])


def split(data: Data, seed: int) -> tuple[list[int], list[int]]:
    """Rows to train on, and rows of the 30 % of prompts that are held back."""
    prompts = sorted({item.prompt for item in data.items})
    order = np.random.default_rng(seed).permutation(len(prompts))
    held = {prompts[at] for at in order[: round(0.3 * len(prompts))]}
    inside = [row for row, item in enumerate(data.items) if item.prompt not in held]
    return inside, [row for row, item in enumerate(data.items) if item.prompt in held]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--splits", type=int, default=2)
    given = options.parse_args()
    embedder = create(load("coe.embedders", "static"))
    data = pairs()
    raw = read_raw(data.items, embedder)
    right: dict[tuple[str, str], list[NDArray[np.float64]]] = defaultdict(list)
    prompts: dict[str, list[object]] = defaultdict(list)
    for seed in range(given.splits):
        inside, outside = split(data, seed)
        lesson, held = data.take(inside), data.take(outside)
        said = {"the longer one": np.array([len(item.response) for item in held.items], float)}
        for name, settings in LAYOUTS.items():
            model = train(lesson, embedder, settings, raw=raw.take(np.array(inside)))
            found = model.score_raw(held.items, raw.take(np.array(outside)))
            said[name] = np.array([each.reward for each in found])
            print(f"split {seed}: {name} trained", flush=True)
        for task in held.tasks:
            mine = [row for row, item in enumerate(held.items) if item.task == task]
            part = held.take(mine)
            prompts[task].extend((seed, each) for each in pair_prompts(part))
            for name, rewards in said.items():
                right[task, name].append(pair_outcomes(part, rewards[mine]))
    print(f"\nheld-back pair accuracy, {given.splits} splits")
    for (task, name), parts in right.items():
        values = np.concatenate(parts)
        low, high = prompt_interval(values, prompts[task], 0)
        print(f"{task:14} {name:18} {values.mean():.3f} ({low:.3f} to {high:.3f}), {len(values)} pairs")


if __name__ == "__main__":
    main()
