"""Mixture-of-Prompts beside its baselines on real tasks, with a real model of the configuration.

    python benchmarks/mop_tasks.py --base EXPERT --config coe.yaml --out FOLDER [--together 4] [--seeds 2]

By default each task is built and judged alone, as in the paper; `--together N` shuffles N tasks into one file
of examples, which is where prompts of their own should matter. `--examples` examples per task to build from,
`--test` other ones to judge by. Prints each task, then the mean over tasks, the mixture's lead with a
bootstrap interval over tasks, and the share of tasks that it wins (a tie is half). Resumable: calls are kept
in FOLDER, with the table so far, and what was asked once is never asked again, also by other variants
(`--regions`, `--partition`, `--search`, `--ood`).
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
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from coe.cli._host import CommandHost
from coe.testing import create, load
from coe_mop._build import BuildSettings, build, scorer
from coe_mop._caller import Caller
from coe_mop._examples import Example
from coe_mop._kmeans import halves
from coe_mop._ledger import Ledger
from coe_mop._policies import compare
from coe_mop._space import fit_space
from coe_mop._statistics import wilson

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
Task = tuple[list[Example], list[Example]]


def tasks(examples: int, test: int, seed: int) -> dict[str, Task]:
    """Examples to build from and to judge by: the source's own split where it has one."""
    rows: dict[tuple[str, str], list[Example]] = defaultdict(list)
    with gzip.open(DATA / "mop_tasks" / "tasks.jsonl.gz", "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            if row["task"] in TASKS:
                example = Example(row["input"], (str(row["output"]),), row["task"])
                rows[row["task"], row["split"] or "all"].append(example)
    made: dict[str, Task] = {}
    for task in TASKS:
        rng = random.Random(seed)
        if (task, "all") in rows:
            shuffled = rng.sample(rows[task, "all"], len(rows[task, "all"]))
            made[task] = shuffled[:examples], shuffled[examples : examples + test]
        else:
            demos, held = rows[task, "demos"], rows[task, "test"]
            made[task] = rng.sample(demos, min(examples, len(demos))), rng.sample(held, min(test, len(held)))
    return made


def groups(single: dict[str, Task], together: int, seed: int) -> Iterator[tuple[str, Task]]:
    """Tasks alone, or shuffled and joined `together` by `together`; what is left over is dropped."""
    if together == 1:
        yield from single.items()
        return
    rng = random.Random(seed)
    names = rng.sample(list(single), len(single))
    for at in range(0, len(names) - together + 1, together):
        own = names[at : at + together]
        known = [example for name in own for example in single[name][0]]
        rng.shuffle(known)
        yield "+".join(own), (known, [example for name in own for example in single[name][1]])


def out_of_distribution(examples: list[Example], test: int, seed: int) -> Task:
    """One of two equally large halves of the input space to build from, some of the other to judge by."""
    texts = [each.input for each in examples]
    embedder = create(load("coe.embedders", "static"))
    points = fit_space(texts, embedder, np.random.default_rng(seed)).place(texts, embedder)
    second = halves(points, np.random.default_rng(seed))
    near = [each for each, far in zip(examples, second, strict=True) if not far]
    return near, [each for each, far in zip(examples, second, strict=True) if far][:test]


def longest(known: list[Example]) -> int:
    """Tokens that an answer may take: a longer one than all right ones is wrong anyway."""
    return max(len(each.output.encode()) for each in known) // 2 + 4


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", required=True)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tasks", type=int, default=len(TASKS))
    parser.add_argument("--together", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--examples", type=int, default=80)
    parser.add_argument("--test", type=int, default=20)
    parser.add_argument("--budget", type=int, default=150, help="calls of a build, for each task in it")
    parser.add_argument("--demos", type=int, default=6)
    parser.add_argument("--concurrency", type=int, default=4, help="calls at once")
    parser.add_argument("--regions", type=int)
    parser.add_argument("--partition", choices=["clusters", "random", "none"], default="clusters")
    parser.add_argument("--search", choices=["joint", "independent"], default="joint")
    parser.add_argument(
        "--ood", action="store_true", help="judge on the half of the inputs that is farther off"
    )
    parser.add_argument("--no-instructions", action="store_true", help="regions and demonstrations only")
    options = parser.parse_args()
    table = ""
    results: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    async with CommandHost().open(options.config) as host:
        embedder = host.embedder("static", {})
        for seed in range(options.seeds):
            single = dict(list(tasks(options.examples, options.test, seed).items())[: options.tasks])
            for name, (known, test) in groups(single, options.together, seed):
                if options.ood:
                    known, test = out_of_distribution([*known, *test], len(test), seed)
                settings = BuildSettings(
                    budget=options.budget * options.together,
                    seed=seed,
                    demos=options.demos,
                    max_tokens=longest(known),
                    metrics=METRICS,
                    regions=options.regions,
                    partition=options.partition,
                    search=options.search,
                )
                started = time.monotonic()
                with Ledger(options.out / f"{name}.jsonl", options.base, 1_000_000) as ledger:
                    caller = Caller(host.expert(options.base), ledger, concurrency=options.concurrency)
                    asks = None if options.no_instructions else caller
                    made = await build(known, embedder, settings, caller=asks, base=options.base)
                    judged = await compare(
                        made.bundle,
                        embedder,
                        test,
                        caller,
                        scorer("normalised", METRICS),
                        settings.max_tokens,
                        seed,
                    )
                print(
                    f"{name}: seed {seed}, {len(made.bundle.prompts)} regions, {len(caller.used)} calls, "
                    f"{time.monotonic() - started:.0f} s",
                    flush=True,
                )
                for task in single:
                    own = np.array([each == task for each in judged.tasks])
                    if own.any():
                        for policy, scores in judged.scores.items():
                            results[task][policy] += scores[own].tolist()
                table = show(results)
                (options.out / "table.md").write_text(table)
    print(table)


def show(scores: dict[str, dict[str, list[float]]]) -> str:
    """A table of tasks, then each policy's mean over tasks with the mixture's lead and win rate."""
    results = {task: {name: np.array(own) for name, own in each.items()} for task, each in scores.items()}
    names = list(next(iter(results.values())))
    lines: list[str] = []
    lines.append("\n| task | items | " + " | ".join(names) + " |\n|---|---|" + "---|" * len(names))
    for task, each in results.items():
        cells = [
            f"{own.mean():.2f} ({low:.2f} to {high:.2f})"
            for own in each.values()
            for low, high in [wilson(own)]
        ]
        lines.append(f"| {task} | {len(next(iter(each.values())))} | " + " | ".join(cells) + " |")
    means = {name: np.array([each[name].mean() for each in results.values()]) for name in names}
    drawn = np.random.default_rng(0).integers(len(results), size=(5000, len(results)))
    lines.append(
        f"\n{len(results)} tasks\n\n| policy | mean | lead of mop, points (95 %) | won, tied, lost | wins |"
    )
    lines.append("|---|---|---|---|---|")
    for name in names:
        lead = means["mop"] - means[name]
        low, high = np.quantile(lead[drawn].mean(axis=1), [0.025, 0.975])
        won, tied = int((lead > 1e-9).sum()), int((abs(lead) <= 1e-9).sum())
        rate, lost = (won + tied / 2) / len(lead), len(lead) - won - tied
        lines.append(
            f"| {name} | {means[name].mean():.3f} | {100 * lead.mean():+.1f} ({100 * low:+.1f} to "
            f"{100 * high:+.1f}) | {won}, {tied}, {lost} | {rate:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    asyncio.run(main())
