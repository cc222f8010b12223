"""Mixture-of-Prompts beside its baselines on real tasks, with a real model of the configuration.

    python benchmarks/mop_tasks.py --base smollm --out FOLDER [--config coe.yaml] [--tasks 22] [--budget 70]

For each task: `--examples` examples to build from, `--test` other ones to judge by, one seed. Prints the mean
over tasks with intervals, and the share of tasks that the mixture wins. Resumable: calls are kept in FOLDER.
Data: the folder named by COE_DATA, else ../shared/data.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import os
import random
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from coe.cli._host import CommandHost
from coe_mop._build import BuildSettings, build, scorer
from coe_mop._caller import Caller
from coe_mop._examples import Example
from coe_mop._ledger import Ledger
from coe_mop._policies import Policies, compare

DATA = Path(os.environ.get("COE_DATA", Path(__file__).parents[2] / "shared" / "data"))
METRICS = {"taxonomy_animal": "set", "orthography_starts_with": "f1"}
TASKS = [
    "antonyms",
    "diff",
    "first_word_letter",
    "larger_animal",
    "letters_list",
    "rhymes",
    "second_word_letter",
    "sentiment",
    "sum",
    "taxonomy_animal",
    "translation_en-de",
    "translation_en-es",
    "translation_en-fr",
    "active_to_passive",
    "negation",
    "orthography_starts_with",
    "word_in_context",
    "boolean_expressions",
    "multistep_arithmetic_two",
    "object_counting",
    "sports_understanding",
    "dyck_languages",
    "hyperbaton",
    "web_of_lies",
    "navigate",
]


def tasks(examples: int, test: int) -> dict[str, tuple[list[Example], list[Example]]]:
    """Examples to build from and to judge by: the source's own split where it has one."""
    rows: dict[tuple[str, str], list[Example]] = defaultdict(list)
    with gzip.open(DATA / "mop_tasks" / "tasks.jsonl.gz", "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            if row["task"] in TASKS:
                example = Example(row["input"], (str(row["output"]),), row["task"])
                rows[row["task"], row["split"] or "all"].append(example)
    made: dict[str, tuple[list[Example], list[Example]]] = {}
    for task in TASKS:
        rng = random.Random(0)
        if (task, "all") in rows:
            shuffled = rng.sample(rows[task, "all"], len(rows[task, "all"]))
            made[task] = shuffled[:examples], shuffled[examples : examples + test]
        else:
            demos, held = rows[task, "demos"], rows[task, "test"]
            made[task] = rng.sample(demos, min(examples, len(demos))), rng.sample(held, min(test, len(held)))
    return made


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", required=True)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tasks", type=int, default=22)
    parser.add_argument("--examples", type=int, default=80)
    parser.add_argument("--test", type=int, default=15)
    parser.add_argument("--budget", type=int, default=70)
    parser.add_argument("--demos", type=int, default=6)
    parser.add_argument("--max-tokens", type=int, default=20)
    parser.add_argument("--no-instructions", action="store_true", help="regions and demonstrations only")
    options = parser.parse_args()
    results: dict[str, Policies] = {}
    async with CommandHost().open(options.config) as host:
        embedder = host.embedder("static", {})
        for task, (examples, test) in list(tasks(options.examples, options.test).items())[: options.tasks]:
            settings = BuildSettings(
                budget=options.budget,
                demos=options.demos,
                max_tokens=options.max_tokens,
                concurrency=4,
                metrics=METRICS,
            )
            started = time.monotonic()
            with Ledger(options.out / f"{task}.jsonl", options.base, 100_000) as ledger:
                caller = Caller(host.expert(options.base), ledger, concurrency=4)
                asks = None if options.no_instructions else caller
                made = await build(examples, embedder, settings, caller=asks, base=options.base)
                results[task] = await compare(
                    made.bundle, embedder, test, caller, scorer("normalised", METRICS), options.max_tokens, 0
                )
            told = {name: round(float(scores.mean()), 3) for name, scores in results[task].scores.items()}
            print(
                f"{task:26} k={len(made.bundle.prompts)} {ledger.spent} calls "
                f"{time.monotonic() - started:.0f} s {json.dumps(told)}",
                flush=True,
            )
    show(results)


def show(results: dict[str, Policies]) -> None:
    """Print each policy's mean over tasks, the mixture's lead with a bootstrap over tasks, its win rate."""
    names = list(next(iter(results.values())).scores)
    means = {name: np.array([each.scores[name].mean() for each in results.values()]) for name in names}
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(results), size=(5000, len(results)))
    print(f"{len(results)} tasks, {sum(len(each.tasks) for each in results.values())} test items")
    for name in names:
        lead = means["mop"] - means[name]
        low, high = np.quantile(lead[drawn].mean(axis=1), [0.025, 0.975])
        won, tied = int((lead > 1e-9).sum()), int((abs(lead) <= 1e-9).sum())
        rate = (won + tied / 2) / len(lead)
        print(
            f"{name:24} {means[name].mean():.3f}  mop leads {100 * lead.mean():+.1f} points "
            f"({100 * low:+.1f} to {100 * high:+.1f}), wins {won}, ties {tied}, rate {rate:.2f}"
        )


if __name__ == "__main__":
    asyncio.run(main())
