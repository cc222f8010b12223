"""Best of n, ensemble and cascade over real recorded answers.

    python benchmarks/rewards_recorded.py [--splits 3]

Answers of eight open models to the same GSM8K, CRUXEval and MATH level 5 questions (recorded_answers), graded
0 or 1. A reward model is trained on a part of the questions (a right answer is preferred to a wrong one) and
judged on the 30 % that are held back. Costs are estimates: characters / 4 tokens at list prices; the reward
model runs on this machine and is counted as free.

Best of n takes the reward's favourite among the n cheapest models. The ensemble lets their final answers
vote: plain, weighed by the reward, by each model's record on the training questions, or by both. The cascade
goes up a list of models until the reward passes a threshold: the cheapest that loses at most .01 of the best
single model's score on training questions that the reward has not seen.

Data: the folder named by COE_DATA, else ../shared/data. One process, no network.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coe.contracts import Embedder
from coe.testing import create, load
from coe_dmoerm._evaluate import prompt_interval
from coe_dmoerm._items import Data, Item, rated_pairs
from coe_dmoerm._model import RewardModel, TrainSettings, train
from coe_dmoerm._reader import read_raw
from coe_dmoerm.strategies._asking import Tried
from coe_dmoerm.strategies._ensemble import heaviest

DATA = Path(os.environ.get("COE_DATA", Path(__file__).parents[2] / "shared" / "data"))
LADDER = ("Qwen2-7B-Instruct", "gemma-2-9b-it", "Meta-Llama-3.1-70B-Instruct")


def rows(path: str) -> list[dict[str, Any]]:
    with gzip.open(DATA / path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def prices() -> dict[str, tuple[float, float]]:
    cards = json.loads((DATA / "zeroeval" / "models.json").read_text())
    return {card["model"]: (card["input_usd_per_mtok"], card["output_usd_per_mtok"]) for card in cards}


def interval(values: NDArray[np.float64]) -> str:
    low, high = prompt_interval(values, range(len(values)), 0)
    return f"{values.mean():.3f} ({low:.3f} to {high:.3f})"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--splits", type=int, default=1)
    options.add_argument("--questions", type=int, default=150, help="to train on, of each benchmark")
    given = options.parse_args()
    sent = {row["prompt_id"]: row["sent"] for row in rows("recorded_answers/prompts.jsonl.gz")}
    answers: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in rows("recorded_answers/answers.jsonl.gz"):
        answers[row["prompt_id"]][row["model"]] = row
    price = prices()
    first = next(iter(answers.values()))
    models = sorted(first, key=lambda name: (sum(price[name]), name))
    questions = sorted(key for key, found in answers.items() if len(found) == len(models))
    usd = np.array(
        [
            [
                (len(sent[key]) * price[name][0] + len(answers[key][name]["answer"]) * price[name][1]) / 4e6
                for name in models
            ]
            for key in questions
        ]
    )
    score = np.array([[float(answers[key][name]["score"]) for name in models] for key in questions])
    benchmark = [answers[key][models[0]]["benchmark"] for key in questions]
    embedder = create(load("coe.embedders", "static"))
    found: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    cost: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    for seed in range(given.splits):
        order = np.random.default_rng(seed).permutation(len(questions)).tolist()
        cut = round(0.7 * len(order))
        taken: dict[str, list[int]] = defaultdict(list)
        for at in order[:cut]:
            if len(taken[benchmark[at]]) < given.questions and 0 < score[at].sum() < len(models):
                taken[benchmark[at]].append(at)
        inside = [at for each in taken.values() for at in each]
        half = set(inside[::5])  # for the threshold: the reward has not seen them

        def items(places: list[int]) -> list[Item]:
            return [
                Item(
                    f"{questions[at]}/{name}",
                    benchmark[at],
                    sent[questions[at]],
                    "",
                    answers[questions[at]][name]["answer"],
                    {"correct": float(answers[questions[at]][name]["score"])},
                )
                for at in places
                for name in models
            ]

        lessons = items([at for at in inside if at not in half])
        model = train(Data(tuple(lessons), tuple(rated_pairs(lessons))), embedder, TrainSettings())
        tuning, held = sorted(half), order[cut:]

        said, tuned = (
            rewards_of(model, items(places), embedder).reshape(len(places), len(models))
            for places in (held, tuning)
        )
        best_single = int(score[inside].mean(axis=0).argmax())

        # The log odds of a model's being right, and next to nothing for one that is mostly wrong.
        known = (score[inside].sum(axis=0) + 1) / (len(inside) + 2)
        trust = dict(zip(models, np.maximum(np.log(known / (1 - known)), 0.01).tolist(), strict=True))

        def note(name: str, scores: NDArray[np.float64], spent: NDArray[np.float64]) -> None:
            found[name].append(scores)
            cost[name].append(spent)

        note("best single", score[held, best_single], usd[held, best_single])
        for n in range(1, len(models) + 1):
            spent = usd[held, :n].sum(axis=1)
            note(f"best of {n}", score[held, said[:, :n].argmax(axis=1)], spent)
            note(f"oracle of {n}", score[held, :n].max(axis=1), spent)
            for label, weights, weight in (
                ("vote", {}, 0.0),
                ("vote by reward", {}, 1.0),
                ("vote by record", trust, 0.0),
                ("vote by both", trust, 1.0),
            ):
                picked: list[int] = []
                for row, at in enumerate(held):
                    tried = [
                        Tried(name, {}, answers[questions[at]][name]["answer"], float(said[row, place]))
                        for place, name in enumerate(models[:n])
                    ]
                    chosen = heaviest(tried, weights, weight)
                    picked.append(models.index(chosen.expert) if chosen else 0)
                note(f"{label} of {n}", score[held, picked], spent)
        ladder = [models.index(name) for name in LADDER]
        least = score[tuning, best_single].mean() - 0.01
        choices: list[tuple[float, float]] = []
        for threshold in np.quantile(tuned[:, ladder], np.linspace(0, 1, 41)):
            right, spent = climb(tuned, score[tuning], usd[tuning], ladder, threshold)
            if right.mean() >= least:
                choices.append((float(spent.mean()), float(threshold)))
        threshold = min(choices)[1] if choices else float("inf")
        note("cascade", *climb(said, score[held], usd[held], ladder, threshold))
        top = ladder[-1]
        note("last of the ladder", score[held, top], usd[held, top])
        print(f"split {seed}: trained on {len(lessons)} answers, threshold {threshold:.2f}", flush=True)
    base = np.concatenate(found["best single"])
    print(f"\n{len(base)} held-back questions in {given.splits} splits; models by price: {', '.join(models)}")
    for name, parts in found.items():
        scores, spent = np.concatenate(parts), np.concatenate(cost[name])
        lead = interval(scores - base)
        print(f"{name:20} {interval(scores)}  less best single {lead}  ${1000 * spent.mean():.3f}/1k")


def rewards_of(model: RewardModel, items: list[Item], embedder: Embedder) -> NDArray[np.float64]:
    return np.array([each.reward for each in model.score_raw(items, read_raw(items, embedder))])


def climb(
    rewards: NDArray[np.float64],
    score: NDArray[np.float64],
    usd: NDArray[np.float64],
    ladder: list[int],
    threshold: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Score and cost of each question when the ladder is climbed until the reward passes the threshold."""
    right, spent = np.zeros(len(rewards)), np.zeros(len(rewards))
    open_rows = np.ones(len(rewards), np.bool_)
    for step in ladder:
        spent[open_rows] += usd[open_rows, step]
        right[open_rows] = score[open_rows, step]
        open_rows &= rewards[:, step] < threshold
    return right, spent


if __name__ == "__main__":
    main()
