"""How long training takes: CPU seconds of each part, on recorded outcomes.

    OMP_NUM_THREADS=1 python benchmarks/training_speed.py [SET]

Reads the folder named by COE_DATA (default: ../shared/data beside the repository). RouteLLM's outcomes are
10,781 prompts of 58 categories and two experts.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from pathlib import Path

from recorded import data_folder

from coe_routers.offline import TrainOptions, find_embedder, train
from coe_routers.outcomes import read_cards, read_outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("set", nargs="?", default="routellm")
    folder = data_folder() / parser.parse_args().set
    steps = [("reading", time.process_time())]
    outcomes = read_outcomes([folder / "outcomes.jsonl.gz"])
    cards = read_cards(folder / "models.json")
    steps.append(("embedding", time.process_time()))
    with tempfile.TemporaryDirectory() as out:
        trained = train(
            outcomes,
            cards,
            Path(out) / "router",
            TrainOptions(),
            embedder=find_embedder("static", {}),
            say=lambda step: steps.append((step, time.process_time())),
        )
    steps.append(("", time.process_time()))
    print(f"{len(outcomes)} prompts, {len(trained.categories)} categories, accuracy {trained.accuracy:.3f}")
    for (name, start), (_, end) in itertools.pairwise(steps):
        print(f"  {name:<40} {end - start:6.1f} s")
    print(f"  {'in all':<40} {steps[-1][1] - steps[0][1]:6.1f} s")


if __name__ == "__main__":
    main()
