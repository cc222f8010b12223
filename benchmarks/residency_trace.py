"""A journal of bursty traffic to twenty experts, as a gateway wrote it: a trace for benchmarks/residency.py.

    python benchmarks/residency_trace.py journal.jsonl [--requests 3000] [--per-second 40]
    python benchmarks/residency.py --journal journal.jsonl

Prompts are recorded ones of twenty categories (COE_DATA: 14 subjects of mmlu_pro, 6 tasks of llmrouter); a
router is trained on 150 of each with one expert that is best at each category, and serves twenty echo experts
behind `coe serve`. Six callers at a time hold conversations: each asks about eight held-out questions of one
category in one session, then begins another; popular categories as Zipf(1). Load changes between busy and
quiet every 100 requests, by a factor of six. The trace is what the router decided, not what was meant.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
from recorded import data_folder
from served import Served

TASKS = ("mbpp", "natural_qa", "commonsense_qa", "commongen", "agentverse-logicgrid", "agentverse-mgsm")
FIT = 150
"""Prompts of each category to train the router on, half where there are fewer; the others are asked."""
CALLERS = 6
TURNS = 8
"""Questions of a conversation, in the mean."""
BUSY, QUIET, PHASE = 3.0, 0.5, 100


def prompts() -> dict[str, list[str]]:
    """Recorded prompts by category, twenty categories, in the files' order."""
    found: dict[str, list[str]] = {}
    for name in ("mmlu_pro", "llmrouter"):
        with gzip.open(data_folder() / name / "outcomes.jsonl.gz", "rt", encoding="utf-8") as file:
            for row in map(json.loads, file):
                if name == "mmlu_pro" or row["category"] in TASKS:
                    found.setdefault(row["category"], []).append(row["prompt"])
    assert len(found) == 20, sorted(found)
    return found


def expert(category: str) -> str:
    """Of a category."""
    return category.replace(" ", "-").replace("_", "-")


def train(folder: Path, asked: dict[str, list[str]]) -> None:
    """A router into `folder`/router: each category has one expert that is best at it."""
    experts = [expert(category) for category in asked]
    rows = [
        {
            "prompt_id": f"{category}/{at}",
            "prompt": text,
            "category": category,
            "scores": {name: 1.0 if name == expert(category) else 0.3 for name in experts},
        }
        for category, texts in asked.items()
        for at, text in enumerate(texts)
    ]
    (folder / "outcomes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    coe = Path(sys.executable).with_name("coe")
    command = [coe, "train", folder / "outcomes.jsonl", "--out", folder / "router"]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)


async def talk(
    url: str, fresh: dict[str, list[str]], count: int, per_s: float, numbers: random.Random
) -> None:
    """Ask `count` questions."""
    categories = list(fresh)
    weights = [1 / rank for rank in range(1, len(categories) + 1)]
    talks: list[tuple[str, str]] = []
    limits = httpx.Limits(max_connections=64)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits, trust_env=False) as client:

        async def ask(category: str, session: str, text: str) -> None:
            body = {"model": "auto", "messages": [{"role": "user", "content": text}]}
            answer = await client.post("/v1/chat/completions", json=body, headers={"x-coe-session": session})
            assert answer.status_code == 200, answer.text

        async with asyncio.TaskGroup() as group:
            for number in range(count):
                if len(talks) < CALLERS:
                    talks.append((numbers.choices(categories, weights)[0], f"talk-{number}"))
                at = numbers.randrange(len(talks))
                category, session = talks[at]
                group.create_task(ask(category, session, numbers.choice(fresh[category])))
                if numbers.random() < 1 / TURNS:
                    del talks[at]
                rate = per_s * (BUSY if number // PHASE % 2 else QUIET)
                await asyncio.sleep(numbers.expovariate(rate))


def main() -> None:
    """Train, serve, talk, write the journal down."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--per-second", type=float, default=40.0)
    options = parser.parse_args()
    found = prompts()
    fit = {category: texts[: min(FIT, len(texts) // 2)] for category, texts in found.items()}
    fresh = {category: texts[len(fit[category]) :] for category, texts in found.items()}
    numbers = random.Random(0)
    numbers.shuffle(order := list(fresh))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        train(folder, fit)
        experts = "".join(f"  {expert(category)}: {{kind: echo}}\n" for category in fresh)
        config = f"experts:\n{experts}routers:\n  auto: {{kind: two-step, artifact: router}}\n"
        serving = Served(folder, config + "journal: {dir: journal}\n")
        try:
            shuffled = {category: fresh[category] for category in order}
            asyncio.run(talk(serving.url, shuffled, options.requests, options.per_second, numbers))
        finally:
            serving.stop()
        records = serving.records()
    with options.out.open("w") as file:
        for record in records:
            file.write(json.dumps({"time": record.time, "chosen": record.chosen}) + "\n")
    print(f"{options.out}: {len(records)} requests to {len({record.chosen for record in records})} experts")


if __name__ == "__main__":
    main()
