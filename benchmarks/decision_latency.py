"""What an uncached decision of the built-in two-step router costs, and where the time goes.

    OMP_NUM_THREADS=1 python benchmarks/decision_latency.py [--prompts 300]

One thread, one prompt at a time, hundreds of different ones in turn. The first table shows whole decisions,
the first time that a prompt is seen and again; the second the parts of one, at 300 tokens. Loading is
measured in new processes.
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
from coe_routers.classifiers import classification, evidence, scorer
from coe_routers.features import Encoder, StaticEmbedder, count_ngrams, read, weigh

TOKENS = (20, 200, 300, 1000, 100_000)
ROUNDS = 7
LOADING = """
import time
from pathlib import Path
from coe.contracts import Features
from coe.testing import create, load, pool_view

def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

plugin = load("coe.routers", "two-step")
before, start = resident_mb(), time.process_time()
router = create(plugin)
loaded_ms = (time.process_time() - start) * 1e3
router.route(Features(text="Write a function that sorts numbers."), pool_view("a", "b"))
print(loaded_ms, resident_mb() - before)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Latency of an uncached decision.")
    parser.add_argument("--prompts", type=int, default=300)
    prompts = parser.parse_args().prompts
    router: Any = create(load("coe.routers", "two-step"))
    view = pool_view("a", "b", "c")
    words = StaticEmbedder.load().vocabulary
    print("| tokens | first time, p50 µs | again, p50 | p99 |\n|---|---|---|---|")
    for tokens in TOKENS:
        texts = [Features(text=text) for text in prose(words, tokens, min(prompts, 5_000_000 // tokens))]
        first = statistics.median(measured(lambda features: router.route(features, view), texts, rounds=1))
        times = measured(lambda features: router.route(features, view), texts)
        p99 = times[int(0.99 * len(times))]
        print(f"| {tokens:,} | {first:.0f} | {statistics.median(times):.0f} | {p99:.0f} |")
    print("\n| part, 300 tokens | p50 µs |\n|---|---|")
    for name, part, inputs in parts(router.classifier, prose(words, 300, prompts)):
        print(f"| {name} | {statistics.median(measured(part, inputs)):.0f} |")
    loads = [subprocess.check_output([sys.executable, "-c", LOADING], text=True).split() for _ in range(5)]
    loaded_ms, grown_mb = (statistics.median(map(float, each)) for each in zip(*loads, strict=True))
    print(f"\nloading and verifying the artifacts: {loaded_ms:.0f} ms of CPU time")
    print(f"resident memory after the first decision: {grown_mb:.1f} MB more")


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
    assert isinstance(encoder.embedder, StaticEmbedder)
    idf, embedder, head = encoder.idf, encoder.embedder, classifier.head
    readings = [read(text) for text in texts]
    counted = [count_ngrams(reading) for reading in readings]
    encoded = [encoder.encode([Features(text=text)]) for text in texts]
    logits = [(head.logits(each), evidence(each)) for each in encoded]
    categories = len(classifier.categories)
    compiled = scorer(encoder, head)
    found: list[tuple[str, Callable[[Any], object], Sequence[Any]]] = [
        ("read", read, texts),
        ("count n-grams, numpy", count_ngrams, readings),
        ("TF-IDF, numpy", lambda each: weigh(each[0], each[1], idf), counted),
        ("static embedding", lambda reading: embedder.embed_readings([reading]), readings),
        ("linear head, numpy", head.logits, encoded),
        ("probabilities", lambda each: classification(each[0], categories, 1.0, each[1]), logits),
    ]
    if compiled is not None:
        prompts = [[Features(text=text)] for text in texts]
        found.append(("all but probabilities, compiled", compiled.score, prompts))
    return found


def measured(work: Callable[[Any], object], inputs: Sequence[Any], rounds: int = ROUNDS) -> list[float]:
    """Microseconds of each call, sorted.

    All inputs in turn, `rounds` times, and for each the shortest: other programs on the machine only add. CPU
    time of the thread: a decision waits for nothing, so on an idle machine that is its latency.
    """
    shortest = [float("inf")] * len(inputs)
    for _ in range(rounds):
        for place, each in enumerate(inputs):
            start = time.thread_time_ns()
            work(each)
            shortest[place] = min(shortest[place], (time.thread_time_ns() - start) / 1e3)
    return sorted(shortest)


if __name__ == "__main__":
    main()
