"""What an uncached decision of the built-in two-step router costs, and where the time goes.

    OMP_NUM_THREADS=1 python benchmarks/decision_latency.py [--prompts 300]

One thread, one prompt at a time, hundreds of different ones in turn. The first table shows whole decisions;
the second the parts of one, at 200 tokens. Loading is measured in a new process.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from coe.contracts import Features
from coe.testing import create, load, pool_view
from coe_routers.classifiers import classification, evidence
from coe_routers.features import Encoder, StaticEmbedder, count_ngrams, read, weigh

TOKENS = (20, 200, 1000, 100_000)
ROUNDS = 7
LOADING = """
import time
from coe.testing import create, load
plugin = load("coe.routers", "two-step")
start = time.perf_counter()
create(plugin)
print((time.perf_counter() - start) * 1e3)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Latency of an uncached decision.")
    parser.add_argument("--prompts", type=int, default=300)
    prompts = parser.parse_args().prompts
    router: Any = create(load("coe.routers", "two-step"))
    view = pool_view("a", "b", "c")
    words = StaticEmbedder.load().vocabulary
    print("| tokens | p50 µs | p99 µs |\n|---|---|---|")
    for tokens in TOKENS:
        texts = [Features(text=text) for text in prose(words, tokens, min(prompts, 5_000_000 // tokens))]
        times = measured(lambda features: router.route(features, view), texts)
        print(f"| {tokens:,} | {statistics.median(times):.0f} | {times[int(0.99 * len(times))]:.0f} |")
    print("\n| part, 200 tokens | p50 µs |\n|---|---|")
    for name, part, inputs in parts(router.classifier, prose(words, 200, prompts)):
        print(f"| {name} | {statistics.median(measured(part, inputs)):.0f} |")
    loads = [float(subprocess.check_output([sys.executable, "-c", LOADING])) for _ in range(5)]
    print(f"\nloading and verifying the artifacts: {statistics.median(loads):.0f} ms")


def prose(words: Sequence[str], tokens: int, count: int) -> list[str]:
    """Texts of about so many tokens: words by Zipf's law, a comma or full stop now and then."""
    choose = random.Random(tokens)
    whole = [word for word in words if word.isascii() and word.isalpha() and len(word) > 1]
    weights = [1 / (rank + 20) for rank in range(len(whole))]
    texts: list[str] = []
    for _ in range(count):
        drawn = choose.choices(whole, weights, k=int(tokens * 0.9))
        texts.append(" ".join(word + ("." if choose.random() < 0.1 else "") for word in drawn))
    return texts


def parts(classifier: Any, texts: Sequence[str]) -> list[tuple[str, Callable[[Any], object], Sequence[Any]]]:
    """Each part of a decision with the inputs that it gets."""
    encoder: Encoder = classifier.encoder
    assert encoder.idf is not None
    assert encoder.embedder is not None
    idf, embedder, head = encoder.idf, encoder.embedder, classifier.head
    readings = [read(text) for text in texts]
    counted = [count_ngrams(reading) for reading in readings]
    encoded = [encoder.encode([Features(text=text)]) for text in texts]
    logits = [(head.logits(each), evidence(each)) for each in encoded]
    categories = len(classifier.categories)
    return [
        ("read", read, texts),
        ("count n-grams", count_ngrams, readings),
        ("TF-IDF", lambda each: weigh(*each, idf), counted),
        ("static embedding", lambda text: embedder.embed([text]), texts),
        ("linear head", head.logits, encoded),
        ("probabilities", lambda each: classification(each[0], categories, 1.0, each[1]), logits),
    ]


def measured(work: Callable[[Any], object], inputs: Sequence[Any]) -> list[float]:
    """Microseconds of each call, sorted.

    All inputs in turn, `ROUNDS` times, and for each the shortest: other programs on the machine only add. CPU
    time of the thread: a decision waits for nothing, so on an idle machine that is its latency.
    """
    shortest = [float("inf")] * len(inputs)
    for _ in range(ROUNDS):
        for place, each in enumerate(inputs):
            start = time.thread_time_ns()
            work(each)
            shortest[place] = min(shortest[place], (time.thread_time_ns() - start) / 1e3)
    return sorted(shortest)


if __name__ == "__main__":
    main()
