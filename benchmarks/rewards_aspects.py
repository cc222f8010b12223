"""What each layer of a reward model is worth, on answers that people rated.

    python benchmarks/rewards_aspects.py [--splits 3] [--flips 0 0.2 0.4] [--ensemble 3]

Human ratings on several aspects over four tasks (aspects/ratings.jsonl.gz). 30 % of the prompts are held
back; a pair is two answers to one prompt whose mean ratings differ by at least .05. The factuality task
has one answer per prompt, so rank correlation over all of its answers stands in its place.

Compared: a plain ridge on surface features and n-grams per task; one scorer for all tasks; outer layer
only (a scorer per task); inner only (a head per capability, one aggregator for all tasks); both;
ensembles of single scorers trained on resampled prompts (mean, worst case, mean less variance). Labels
are flipped within prompts: the ratings of two answers change places. The last lines are the curve of
overoptimisation: what people say of the best of n summaries as a reward picks them, against KL.

Data: the folder named by COE_DATA, else ../shared/data. One process, no network.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coe.testing import create, load
from coe_dmoerm._evaluate import pair_outcomes, pair_prompts, prompt_interval, rank_correlation
from coe_dmoerm._heads import Choice
from coe_dmoerm._items import Data, Item, rated_pairs, read_data
from coe_dmoerm._model import RewardModel, TrainSettings, lesson_of, train
from coe_dmoerm._reader import Raw, Read, fit_reader, read_raw
from coe_dmoerm._ridge import solve

DATA = Path(os.environ.get("COE_DATA", Path(__file__).parents[2] / "shared" / "data"))
SIZES = (1, 2, 4, 8, 16)
LAYOUTS = {
    "single": TrainSettings(outer=False, inner=False),
    "outer only": TrainSettings(inner=False),
    "inner only": TrainSettings(outer=False),
    "both": TrainSettings(),
    "both, linear": TrainSettings(aggregator="linear"),
}


def split(data: Data, seed: int) -> tuple[list[int], list[int]]:
    """Rows to train on, and rows of the 30 % of prompts that are held back."""
    prompts = sorted({item.prompt for item in data.items})
    draw = np.random.default_rng(seed)
    held = {prompts[at] for at in draw.permutation(len(prompts))[: round(0.3 * len(prompts))]}
    rows: tuple[list[int], list[int]] = ([], [])
    for row, item in enumerate(data.items):
        rows[item.prompt in held].append(row)
    return rows


def flipped(data: Data, share: float, seed: int) -> Data:
    """The same with the ratings of pairs of answers swapped, until that share of answers is concerned."""
    draw = np.random.default_rng(seed)
    items = list(data.items)
    by_prompt: dict[tuple[str | None, str], list[int]] = {}
    for row, item in enumerate(items):
        by_prompt.setdefault((item.task, item.prompt), []).append(row)
    for rows in by_prompt.values():
        order = draw.permutation(rows).tolist()
        for one, other in zip(order[::2], order[1::2], strict=False):
            if draw.random() < share:
                items[one], items[other] = (
                    dataclasses.replace(items[one], aspects=items[other].aspects),
                    dataclasses.replace(items[other], aspects=items[one].aspects),
                )
    return Data(tuple(items), tuple(rated_pairs(items)))


def resampled(data: Data, seed: int) -> list[int]:
    """Rows of prompts drawn with replacement, each prompt's rows once."""
    prompts = sorted({item.prompt for item in data.items})
    drawn = np.random.default_rng(seed).integers(len(prompts), size=len(prompts))
    kept = {prompts[at] for at in drawn.tolist()}
    return [row for row, item in enumerate(data.items) if item.prompt in kept]


def plain(read: Read, raw: Raw) -> tuple[NDArray[np.float32], Any]:
    """Surface facts without those that a corpus gives, and TF-IDF of words."""
    surface = read.standard[:, : raw.facts.shape[1]]
    return surface / np.sqrt(np.float32(surface.shape[1])), read.blocks["words"]


def plain_ridge(
    data: Data, raw: Raw, held: Raw, tasks: Sequence[str], own: Sequence[str]
) -> NDArray[np.float64]:
    """One ridge per task on facts and n-grams, of the mean rating: what there is to beat."""
    found = np.zeros(len(held))
    for task in tasks:
        rows = [row for row, item in enumerate(data.items) if item.task == task]
        there = np.array([row for row, name in enumerate(own) if name == task])
        lesson = lesson_of(data.take(rows), raw.take(np.array(rows)), task)
        reader, read = fit_reader(lesson.raw, lesson.prompts, np.random.default_rng(0))
        mine, others = (plain(each, lesson.raw) for each in (read, reader.read(held.take(there))))
        mean = np.nanmean(lesson.ratings, axis=1, keepdims=True)
        kernel = sum((block @ block.T for block in mine), np.zeros((len(rows), len(rows))))
        dual, _ = solve(np.asarray(kernel), lesson.prompts, mean, Choice((), 1.0, 0.0))
        found[there] = sum(
            (other @ (block.T @ dual))[:, 0] for other, block in zip(others, mine, strict=True)
        )
    return found


def rewards_of(model: RewardModel, items: Sequence[Item], raw: Raw) -> NDArray[np.float64]:
    return np.array([each.reward for each in model.score_raw(items, raw)])


def kl(n: int) -> float:
    """How far best of n moves from sampling once, in nats: log n − (n − 1)/n."""
    return math.log(n) - (n - 1) / n


def curve(data: Data, rewards: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean rating of the best of n of the 16 summaries of an article, by the reward, for each of `SIZES`.

    Exact over all choices of n: the i-th of N is the best of n with probability C(N−i, n−1)/C(N, n).
    """
    by_prompt: dict[str, list[int]] = {}
    for row, item in enumerate(data.items):
        if item.task == "summarization":
            by_prompt.setdefault(item.prompt, []).append(row)
    total = np.zeros(len(SIZES))
    for rows in by_prompt.values():
        order = sorted(rows, key=lambda row: -rewards[row])
        gold = np.array([data.items[row].rating for row in order])
        for place, n in enumerate(SIZES):
            every = math.comb(len(rows), n)
            weights = [math.comb(len(rows) - 1 - at, n - 1) / every for at in range(len(rows))]
            total[place] += gold @ np.array(weights)
    return total / len(by_prompt)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--splits", type=int, default=3)
    options.add_argument("--flips", type=float, nargs="*", default=[0.0, 0.2, 0.4])
    options.add_argument("--ensemble", type=int, default=3)
    options.add_argument("--layouts", nargs="*", choices=tuple(LAYOUTS), default=list(LAYOUTS))
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    embedder = create(load("coe.embedders", "static"))
    data = read_data([DATA / "aspects" / "ratings.jsonl.gz"])
    raw = read_raw(data.items, embedder)
    results: dict[str, dict[str, list[float]]] = {}
    for flip in given.flips:
        right: dict[tuple[str, str], list[NDArray[np.float64]]] = {}
        prompts: dict[str, list[object]] = {}
        ranks: dict[tuple[str, str], list[float]] = {}
        curves: dict[str, list[NDArray[np.float64]]] = {}
        for seed in range(given.splits):
            inside, outside = split(data, seed)
            lesson, held = flipped(data.take(inside), flip, seed), data.take(outside)
            learnt, seen = raw.take(np.array(inside)), raw.take(np.array(outside))
            own = [item.task or "" for item in held.items]
            said = {"plain ridge": plain_ridge(lesson, learnt, seen, held.tasks, own)}
            for name in given.layouts:
                model = train(lesson, embedder, LAYOUTS[name], raw=learnt)
                said[name] = rewards_of(model, held.items, seen)
                print(f"flipped {flip:.0%}, split {seed}: {name} trained", flush=True)
            members: list[NDArray[np.float64]] = []
            for member in range(given.ensemble):
                rows = resampled(lesson, 100 * seed + member)
                settings = TrainSettings(outer=False, inner=False, seed=member)
                model = train(lesson.take(rows), embedder, settings, raw=learnt.take(np.array(rows)))
                members.append(rewards_of(model, held.items, seen))
            if members:
                together = np.array(members)
                said["ensemble, mean"] = together.mean(axis=0)
                said["ensemble, worst case"] = together.min(axis=0)
                said["ensemble, uncertainty"] = together.mean(axis=0) - together.var(axis=0)
            for name, rewards in said.items():
                curves.setdefault(name, []).append(curve(held, rewards))
            for task in held.tasks:
                mine = [row for row, name in enumerate(own) if name == task]
                part = held.take(mine)
                prompts.setdefault(task, []).extend((seed, each) for each in pair_prompts(part))
                ratings = np.array([item.rating for item in part.items])
                for name, rewards in said.items():
                    ranks.setdefault((task, name), []).append(rank_correlation(rewards[mine], ratings))
                    if part.pairs:
                        right.setdefault((task, name), []).append(pair_outcomes(part, rewards[mine]))
        print(f"\n{flip:.0%} of labels flipped, {given.splits} splits")
        for (task, name), correlations in ranks.items():
            line = f"{task:14} {name:22}"
            if (task, name) in right:
                own_right = np.concatenate(right[task, name])
                single = own_right - np.concatenate(right[task, given.layouts[0]])
                low, high = prompt_interval(own_right, prompts[task], 0)
                less, more = prompt_interval(single, prompts[task], 0)
                line += f" accuracy {own_right.mean():.3f} ({low:.3f} to {high:.3f})"
                line += f", less {given.layouts[0]} {single.mean():+.3f} ({less:+.3f} to {more:+.3f})"
                results.setdefault(f"{flip}", {})[f"{task}/{name}"] = [float(own_right.mean()), low, high]
            print(f"{line} rank {np.mean(correlations):.3f}", flush=True)
        sizes = ", ".join(f"{n} ({kl(n):.2f})" for n in SIZES)
        print(f"mean human rating of the best of n, n (KL): {sizes}")
        for name, parts in curves.items():
            print(f"{name:22} {' '.join(f'{each:.3f}' for each in np.mean(parts, axis=0))}", flush=True)
    if given.json is not None:
        given.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
