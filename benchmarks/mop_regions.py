"""What regions are worth, without any call.

    python benchmarks/mop_regions.py [recovery] [commands] [prompts] [--mixtures 40] [--splits 6] [--model M]

1. Region recovery: six tasks of mop_tasks shuffled together, 60 examples each; purity of 40 held-back inputs
   per task, the number of regions chosen automatically; parts of the feature space alone; fixed numbers.
   Beside it what a classifier reaches that is told the tasks (ridge regression on the same features): tasks
   with the same inputs cannot be told apart. `commands` does the first of these through `coe mop build
   --no-instructions` and `coe mop route`.
2. Choosing a prompt per region: bbh_prompts, direct or chain of thought, against the better single prompt,
   on random splits and between two far halves of the input space (balanced 2-means).

`--model` takes the meaning of inputs from a sentence-transformers model instead of coe's own vectors.
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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from coe.testing import create, load
from coe_mop import _space
from coe_mop._kmeans import Clusters, clusterings, halves
from coe_mop._regions import choose_regions, route
from coe_mop._space import fit_space
from coe_mop._statistics import paired_interval
from coe_mop.choice import choose_per_region

if TYPE_CHECKING:
    from numpy.typing import NDArray

DATA = Path(os.environ.get("COE_DATA", Path(__file__).parents[2] / "shared" / "data"))
EMBEDDER = create(load("coe.embedders", "static"))
FIRST = 3000  # seed of the first mixture; none of these was looked at while the space was chosen
MOST_FIXED = 48
FIXED = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
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


@dataclass(frozen=True)
class Mixture:
    """(input, output, task) of six tasks: 360 rows to build from, 240 to judge by; do any share a third?"""

    known: list[tuple[str, str, str]]
    new: list[tuple[str, str, str]]
    same: bool

    def texts(self) -> tuple[list[str], list[str]]:
        return [row[0] for row in self.known], [row[0] for row in self.new]

    def purity(self, known: Sequence[int], new: Sequence[int]) -> float:
        """Share of new inputs whose region's commonest known task is their own."""
        seen: dict[int, Counter[str]] = defaultdict(Counter)
        for region, (_, _, task) in zip(known, self.known, strict=True):
            seen[region][task] += 1
        own = [seen[at].most_common(1)[0][0] if at in seen else "" for at in new]
        return float(np.mean([told == task for told, (_, _, task) in zip(own, self.new, strict=True)]))


def mixtures(count: int) -> Iterator[Mixture]:
    outputs: dict[str, dict[str, str]] = defaultdict(dict)
    for row in rows("mop_tasks/tasks.jsonl.gz"):
        if isinstance(row["input"], str):
            outputs[row["task"]].setdefault(row["input"], str(row["output"]))
    names = sorted(task for task, own in outputs.items() if len(own) >= 100)
    for seed in range(FIRST, FIRST + count):
        rng = random.Random(seed)
        known: list[tuple[str, str, str]] = []
        new: list[tuple[str, str, str]] = []
        tasks = rng.sample(names, 6)
        for task in tasks:
            drawn = [(text, outputs[task][text], task) for text in rng.sample(list(outputs[task]), 100)]
            known += drawn[:60]
            new += drawn[60:]
        rng.shuffle(known)
        pairs = [(outputs[one].keys(), outputs[two].keys()) for one, two in combinations(tasks, 2)]
        same = any(3 * len(one & two) > min(len(one), len(two)) for one, two in pairs)
        yield Mixture(known, new, same)


def summary(name: str, found: Sequence[tuple[float, int]]) -> str:
    purities = np.array([value for value, _ in found])
    low, high = paired_interval(purities, 0)
    return (
        f"  {name:36} {len(found):3} mixtures, purity {purities.mean():.3f} ({low:.3f} to {high:.3f}), "
        f"least {purities.min():.3f}, {(purities >= 0.9).mean():.0%} at .90 or more, "
        f"k {np.mean([k for _, k in found]):.1f}"
    )


def commands(count: int) -> None:
    """Region recovery as a user's script has it, the build's seed differing from the mixture's."""
    found: list[tuple[float, int]] = []
    apart: list[tuple[float, int]] = []
    for number, mixture in enumerate(mixtures(count)):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            given = [{"input": text, "output": output} for text, output, _ in mixture.known]
            (folder / "known.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given))
            asked = [{"id": str(at), "input": text} for at, text in enumerate(chain(*mixture.texts()))]
            (folder / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
            coe = [str(Path(sys.executable).with_name("coe")), "mop"]
            build = [*coe, "build", "known.jsonl", "--base", "local", "--out", "mop", "--budget", "10"]
            for command in (
                [*build, "--seed", str(number % 3), "--no-instructions", "--json"],
                [*coe, "route", "mop", "--input", "asked.jsonl", "--output", "regions.jsonl"],
            ):
                subprocess.run(command, cwd=folder, check=True, capture_output=True)
            told = [
                json.loads(line)["region"] for line in (folder / "regions.jsonl").read_text().splitlines()
            ]
        labels, regions = told[: len(mixture.known)], told[len(mixture.known) :]
        found.append((mixture.purity(labels, regions), len(set(labels))))
        apart += [] if mixture.same else found[-1:]
    print(summary("through the commands", found))
    print(summary("  of these, no two tasks share inputs", apart), flush=True)


def told_the_tasks(space: _space.Space, mixture: Mixture) -> float:
    """Accuracy on the new inputs of ridge regression from all features to the known tasks."""
    known, new = (
        _space._side_by_side(texts, EMBEDDER, space.idf, space.shape_mean, space.shape_scale) - space.mean
        for texts in mixture.texts()
    )
    names, truth = np.unique([task for _, _, task in mixture.known], return_inverse=True)
    targets = np.eye(len(names))[truth]
    weights = np.linalg.solve(known @ known.T + 0.1 * np.eye(len(known)), targets - targets.mean(axis=0))
    guess = names[(new @ known.T @ weights + targets.mean(axis=0)).argmax(axis=1)]
    return float((guess == [task for _, _, task in mixture.new]).mean())


def _recovered(mixture: Mixture, places: NDArray[np.float32], clusters: Clusters) -> tuple[float, int]:
    regions = route(places, clusters.centroids).region.tolist()
    return mixture.purity(clusters.labels.tolist(), regions), clusters.k


def recovery(count: int) -> None:
    found: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for mixture in mixtures(count):
        texts, new = mixture.texts()
        for name, weights in SPACES.items():
            _space._WEIGHTS = weights
            space = fit_space(texts, EMBEDDER, np.random.default_rng(0))
            points, places = space.place(texts, EMBEDDER), space.place(new, EMBEDDER)
            judged = partial(_recovered, mixture, places)
            chosen = choose_regions(points, np.random.default_rng(0)).clusters
            found[name].append(judged(chosen))
            if name != "all three":
                continue
            kind = "some tasks share inputs" if mixture.same else "no two tasks share inputs"
            found[f"  of these, {kind}"].append(found[name][-1])
            for fixed in FIXED:
                choice = choose_regions(points, np.random.default_rng(0), fixed=fixed)
                found[f"  {fixed} regions"].append(judged(choice.clusters))
            drawn = points[np.random.default_rng(0).permutation(len(points))[: chosen.k]]
            found["  as many around random inputs"].append(
                judged(Clusters(drawn, route(points, drawn).region, 0))
            )
            found["  a classifier told the tasks"].append((told_the_tasks(space, mixture), 6))
    _space._WEIGHTS = SPACES["all three"]
    print(f"Region recovery, {count} mixtures of 6 tasks")
    for name, values in found.items():
        print(summary(name, values), flush=True)


def prompts(splits: int) -> None:
    """Recorded answers with two prompts: what is chosen on 70 % of the questions is judged on the others."""
    told = rows("bbh_prompts/outcomes.jsonl.gz")
    names = ("direct", "cot")
    scores = np.array([[row["scores"][name] for name in names] for row in told], float)
    chars = np.array([[row["response_chars"][name] for name in names] for row in told], float)
    tasks = np.unique([row["category"] for row in told], return_inverse=True)[1]
    texts = [row["prompt"] for row in told]
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for split in range(splits):
        order = np.random.default_rng(100 + split).permutation(len(told))
        known, new = np.split(order, [int(0.7 * len(told))])
        single = int(scores[known].mean(axis=0).argmax())
        space = fit_space([texts[at] for at in known], EMBEDDER, np.random.default_rng(0))
        points = space.place([texts[at] for at in known], EMBEDDER)
        places = space.place([texts[at] for at in new], EMBEDDER)

        judge = partial(_judge, found, scores, chars, known, new, single)
        placed = partial(_placed, points, places)
        for clusters in clusterings(points, MOST_FIXED, np.random.default_rng(0)):
            if clusters.k <= max(FIXED) or clusters.k % 12 == 0:
                judge(f"{clusters.k} regions", *placed(clusters.centroids))
        choice = choose_regions(points, np.random.default_rng(0))
        centroids = choice.clusters.centroids
        labels, regions = placed(centroids)
        how = _cross_validated(scores[known], chars[known], labels, single)
        judge("number chosen", labels, regions)
        judge("  tolerance .02", labels, regions, tolerance=0.02)
        judge("  tolerance and shrinkage chosen", labels, regions, **how)
        random_centres = points[np.random.default_rng(split).permutation(len(points))[: len(centroids)]]
        judge("  around random questions instead", *placed(random_centres))
        drawn = np.random.default_rng(split).integers(len(centroids), size=len(told))
        judge("  at random instead", drawn[known], drawn[new])
        print(f"  split {split}: {len(centroids)} regions ({choice.split} by cutting), {how}", flush=True)
        judge("the 27 true tasks", tasks[known], tasks[new])
    for known, new in _far_apart(texts):
        single = int(scores[known].mean(axis=0).argmax())
        space = fit_space([texts[at] for at in known], EMBEDDER, np.random.default_rng(0))
        points = space.place([texts[at] for at in known], EMBEDDER)
        choice = choose_regions(points, np.random.default_rng(0))
        placed = partial(_placed, points, space.place([texts[at] for at in new], EMBEDDER))
        judge = partial(_judge, found, scores, chars, known, new, single)
        judge("out of distribution, number chosen", *placed(choice.clusters.centroids))
    print(f"bbh_prompts, {splits} splits, {len(told)} questions, against `{names[single]}` everywhere")
    for name, values in found.items():
        gain, share = np.array(values).T
        low, high = paired_interval(gain, 0)
        print(
            f"  {name:34} {gain.mean():+.2f} points ({low:+.2f} to {high:+.2f}; sd {gain.std(ddof=1):.2f}), "
            f"{share.mean():.1f} % of the characters"
        )


def _far_apart(texts: Sequence[str]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Either of two equally large halves of the input space to choose on, the other one to judge by."""
    everywhere = fit_space(texts, EMBEDDER, np.random.default_rng(0)).place(texts, EMBEDDER)
    second = halves(everywhere, np.random.default_rng(0))
    parts = np.flatnonzero(~second), np.flatnonzero(second)
    yield parts
    yield parts[::-1]


def _placed(
    points: NDArray[np.float32], places: NDArray[np.float32], centroids: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return route(points, centroids).region, route(places, centroids).region


def _judge(
    found: dict[str, list[tuple[float, float]]],
    scores: NDArray[np.float64],
    chars: NDArray[np.float64],
    known: NDArray[np.int64],
    new: NDArray[np.int64],
    single: int,
    name: str,
    labels: NDArray[np.int64],
    regions: NDArray[np.int64],
    **how: float,
) -> None:
    """Note the gain in points and the share of characters on the new questions."""
    best = choose_per_region(
        scores[known], labels, int(labels.max()) + 1, cost=chars[known].mean(axis=0), **how
    )
    own = best[regions]
    gain = scores[new, own] - scores[new, single]
    share = chars[new, own].mean() / chars[new, single].mean()
    found[name].append((100 * float(gain.mean()), 100 * float(share)))


def _cross_validated(
    scores: NDArray[np.float64], chars: NDArray[np.float64], labels: NDArray[np.int64], single: int
) -> dict[str, float]:
    """Tolerance and prior with the highest score over ten folds at 80 % of the single prompt's characters."""
    fold = np.random.default_rng(0).permutation(len(scores)) % 10
    every = np.arange(len(scores))
    best: tuple[float, dict[str, float]] | None = None
    for tolerance in (0.0, 0.01, 0.02, 0.03, 0.04):
        for prior in (2.0, 4.0, 8.0, 16.0):
            how = {"tolerance": tolerance, "prior": prior}
            own = np.full(len(scores), single)
            for held in range(10):
                kept = fold != held
                choice = choose_per_region(
                    scores[kept], labels[kept], int(labels.max()) + 1, cost=chars.mean(axis=0), **how
                )
                own[~kept] = choice[labels[~kept]]
            if chars[every, own].mean() > 0.8 * chars[:, single].mean():
                continue
            mean = float(scores[every, own].mean())
            if best is None or mean > best[0]:
                best = mean, how
    return {} if best is None else best[1]


PARTS = {"recovery": recovery, "commands": commands}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", choices=[*PARTS, "prompts"], default=[*PARTS, "prompts"])
    parser.add_argument("--mixtures", type=int, default=40)
    parser.add_argument("--splits", type=int, default=6)
    parser.add_argument("--model", help="folder or name of a sentence-transformers model")
    options = parser.parse_args()
    if options.model is not None:
        EMBEDDER = create(load("coe.embedders", "sentence-transformers"), settings={"model": options.model})
    for part in options.parts:
        if part == "prompts":
            prompts(options.splits)
        else:
            PARTS[part](options.mixtures)
