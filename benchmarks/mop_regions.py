"""What regions are worth, without any call.

    python benchmarks/mop_regions.py [recovery] [commands] [prompts] [--mixtures 20] [--folds 3]

1. Region recovery: six tasks of mop_tasks shuffled together, 60 examples each; purity of 40 held-back inputs
   per task, the number of regions chosen automatically; parts of the feature space alone; fixed numbers.
   `commands` does the first of these through `coe mop build --no-instructions` and `coe mop route`.
2. Choosing a prompt per region: bbh_prompts, direct or chain of thought, against the better single prompt.

Data: the folder named by COE_DATA, else ../shared/data. One process, no network.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coe.testing import create, load
from coe_mop import _space
from coe_mop._regions import choose_regions, route
from coe_mop._space import fit_space
from coe_mop._statistics import paired_interval
from coe_mop.choice import choose_per_region

DATA = Path(os.environ.get("COE_DATA", Path(__file__).parents[2] / "shared" / "data"))
EMBEDDER = create(load("coe.embedders", "static"))
SPACES = {
    "all three": (0.7, 0.7, 1.0),
    "spelling only": (1.0, 0.0, 0.0),
    "meaning only": (0.0, 1.0, 0.0),
    "shape only": (0.0, 0.0, 1.0),
    "spelling and shape": (0.7, 0.0, 1.0),
}


def rows(path: str) -> list[dict[str, Any]]:
    with gzip.open(DATA / path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def purity(known: Sequence[int], tasks: Sequence[str], new: Sequence[int], truth: Sequence[str]) -> float:
    """Share of new inputs whose region's commonest known task is their own."""
    seen: dict[int, Counter[str]] = defaultdict(Counter)
    for region, task in zip(known, tasks, strict=True):
        seen[region][task] += 1
    return float(np.mean([seen[at].most_common(1)[0][0] == own for at, own in zip(new, truth, strict=True)]))


Labelled = list[tuple[str, str]]


def mixture(seed: int) -> tuple[Labelled, Labelled]:
    """(input, task) of six tasks: 360 to build from, shuffled, and 240 to judge by."""
    inputs: dict[str, dict[str, None]] = defaultdict(dict)
    for row in rows("mop_tasks/tasks.jsonl.gz"):
        if isinstance(row["input"], str):
            inputs[row["task"]][row["input"]] = None
    rng = random.Random(seed)
    known: Labelled = []
    new: Labelled = []
    for task in rng.sample(sorted(task for task, own in inputs.items() if len(own) >= 100), 6):
        drawn = rng.sample(list(inputs[task]), 100)
        known += [(text, task) for text in drawn[:60]]
        new += [(text, task) for text in drawn[60:]]
    rng.shuffle(known)
    return known, new


def commands(mixtures: int) -> None:
    """Region recovery as a user's script has it, the build's seed differing from the mixture's."""
    found: list[tuple[float, int]] = []
    for seed in range(mixtures):
        known, new = mixture(1000 + seed)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            given = [{"input": text, "output": task} for text, task in known]
            (folder / "known.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given))
            asked = [{"id": str(at), "input": text} for at, (text, _) in enumerate([*known, *new])]
            (folder / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
            coe = [str(Path(sys.executable).with_name("coe")), "mop"]
            build = [*coe, "build", "known.jsonl", "--base", "local", "--out", "mop", "--budget", "10"]
            for command in (
                [*build, "--seed", str(seed % 3), "--no-instructions", "--json"],
                [*coe, "route", "mop", "--input", "asked.jsonl", "--output", "regions.jsonl"],
            ):
                subprocess.run(command, cwd=folder, check=True, capture_output=True)
            told = [
                json.loads(line)["region"] for line in (folder / "regions.jsonl").read_text().splitlines()
            ]
        labels, regions = told[: len(known)], told[len(known) :]
        value = purity(labels, [task for _, task in known], regions, [task for _, task in new])
        found.append((value, len(set(labels))))
        print(
            f"  mixture {seed}: purity {value:.3f}, k {len(set(labels))}: "
            f"{', '.join(sorted({task for _, task in known}))}",
            flush=True,
        )
    purities = np.array([value for value, _ in found])
    low, high = paired_interval(purities, 0)
    print(
        f"Through the commands, {mixtures} mixtures: purity {purities.mean():.3f} ({low:.3f} to {high:.3f}), "
        f"least {purities.min():.3f}, {(purities >= 0.9).mean():.0%} at .90 or more"
    )


def recovery(mixtures: int) -> None:
    found: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for seed in range(mixtures):
        known, new = mixture(seed)
        for name, weights in SPACES.items():
            _space._WEIGHTS = weights
            for fixed in (None, 3, 6, 10) if name == "all three" else (None,):
                space = fit_space([text for text, _ in known], EMBEDDER, np.random.default_rng(0))
                points = space.place([text for text, _ in known], EMBEDDER)
                clusters = choose_regions(points, np.random.default_rng(0), fixed=fixed).clusters
                places = space.place([text for text, _ in new], EMBEDDER)
                regions = route(places, clusters.centroids).region.tolist()
                labels = clusters.labels.tolist()
                value = purity(labels, [task for _, task in known], regions, [task for _, task in new])
                found[f"{name}, k {'chosen' if fixed is None else fixed}"].append((value, clusters.k))
    _space._WEIGHTS = SPACES["all three"]
    print(f"Region recovery, {mixtures} mixtures of 6 tasks")
    for name, values in found.items():
        purities = np.array([value for value, _ in values])
        low, high = paired_interval(purities, 0)
        sizes = np.mean([k for _, k in values])
        print(
            f"  {name:30} purity {purities.mean():.3f} ({low:.3f} to {high:.3f}), k {sizes:.1f}", flush=True
        )


def prompts(folds: int) -> None:
    told = rows("bbh_prompts/outcomes.jsonl.gz")
    random.Random(0).shuffle(told)
    names = ("direct", "cot")
    scores = np.array([[row["scores"][name] for name in names] for row in told], float)
    chars = np.array([[row["response_chars"][name] for name in names] for row in told], float)
    texts = [row["prompt"] for row in told]
    fold = np.arange(len(told)) % folds
    single = int(scores.mean(axis=0).argmax())
    chosen = {tolerance: np.full(len(told), single) for tolerance in (0.0, 0.02, 0.03)}
    for held in range(folds):
        known, new = np.flatnonzero(fold != held), np.flatnonzero(fold == held)
        space = fit_space([texts[at] for at in known], EMBEDDER, np.random.default_rng(0))
        points = space.place([texts[at] for at in known], EMBEDDER)
        clusters = choose_regions(points, np.random.default_rng(0)).clusters
        labels = route(points, clusters.centroids).region
        regions = route(space.place([texts[at] for at in new], EMBEDDER), clusters.centroids).region
        for tolerance, own in chosen.items():
            best = choose_per_region(
                scores[known], labels, clusters.k, cost=chars[known].mean(axis=0), tolerance=tolerance
            )
            own[new] = best[regions]
        print(f"  fold {held}: {clusters.k} regions", flush=True)
    every = np.arange(len(told))
    print(
        f"bbh_prompts, {folds} folds, {len(told)} questions; `{names[single]}` {scores[:, single].mean():.3f}"
    )
    for tolerance, own in chosen.items():
        gain = scores[every, own] - scores[:, single]
        low, high = paired_interval(gain, 0)
        share = chars[every, own].mean() / chars[:, single].mean()
        print(
            f"  prompt per region, tolerance {tolerance}: {100 * gain.mean():+.2f} points "
            f"({100 * low:+.2f} to {100 * high:+.2f}) at {share:.1%} of the characters"
        )


PARTS = {"recovery": recovery, "commands": commands}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", choices=[*PARTS, "prompts"], default=[*PARTS, "prompts"])
    parser.add_argument("--mixtures", type=int, default=20)
    parser.add_argument("--folds", type=int, default=3)
    options = parser.parse_args()
    for part in options.parts:
        if part == "prompts":
            prompts(options.folds)
        else:
            PARTS[part](options.mixtures)
