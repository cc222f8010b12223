"""One million stored prompts for the k-NN router: recall and time of its searches.

    OMP_NUM_THREADS=1 python benchmarks/knn_million.py [--prompts 1000000] [--queries 100]

Prompts are made of recorded ones (COE_DATA names the folder): of the first 24 words of a recorded
prompt each is kept with a chance of .7, left out with .15, and else replaced by a word of another
prompt of its category. The built-in static embedder embeds them, so the vectors are about as clustered
as real ones. Queries are recorded prompts that no stored one is made of. Recall is the part of the 50
exact nearest that a search finds. Times are CPU times of one query after the other.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
from numpy.typing import NDArray
from recorded import load

from coe_routers.alternatives import Search, neighbour_index
from coe_routers.features import StaticEmbedder

NEIGHBOURS = 50
WORDS = 24
_BLOCK = 20_000


def made(
    count: int, queries: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Stored vectors float32[count, dim] and query vectors float32[queries, dim]."""
    embedder = StaticEmbedder.load()
    groups: dict[str, list[list[str]]] = {}
    for name in ("llmrouter", "mmlu_pro", "routellm"):
        outcomes, _ = load(name)
        labels = (*outcomes.categories, "none")
        for prompt, category in zip(outcomes.prompts, outcomes.category.tolist(), strict=True):
            if words := prompt.split()[:WORDS]:
                groups.setdefault(f"{name}/{labels[category]}", []).append(words)
    prompts = [(group, words) for group, each in groups.items() for words in each]
    order = rng.permutation(len(prompts))
    asked = [" ".join(prompts[at][1]) for at in order[:queries].tolist()]
    sources = [prompts[at] for at in order[queries:].tolist()]
    pools = {group: [word for words in each[:500] for word in words] for group, each in groups.items()}
    stored = np.empty((count, embedder.dim), np.float32)
    for start in range(0, count, _BLOCK):
        texts: list[str] = []
        for at in rng.integers(0, len(sources), min(_BLOCK, count - start)).tolist():
            group, words = sources[at]
            pool = pools[group]
            draws = rng.random(len(words))
            others = rng.integers(0, len(pool), len(words))
            texts.append(
                " ".join(
                    pool[other] if draw < 0.15 else word
                    for word, draw, other in zip(words, draws.tolist(), others.tolist(), strict=True)
                    if draw < 0.85
                )
                or words[0]
            )
        stored[start : start + len(texts)] = embedder.embed(texts)
    print(f"{len(sources)} recorded prompts, {len(groups)} categories, {len(asked)} queries")
    return stored, embedder.embed(asked)


def exact(stored: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.int64]:
    similarity = stored @ query
    places = np.argpartition(-similarity, NEIGHBOURS)[:NEIGHBOURS]
    return places[np.argsort(-similarity[places], kind="stable")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--prompts", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=100)
    arguments = parser.parse_args()
    started = time.process_time()
    stored, queries = made(arguments.prompts, arguments.queries, np.random.default_rng(0))
    print(
        f"{len(stored)} prompts embedded in {time.process_time() - started:.0f} CPU s, "
        f"{stored.nbytes / 1e9:.2f} GB"
    )
    truth: list[set[int]] = []
    taken: list[float] = []
    for query in queries:
        before = time.process_time()
        truth.append(set(exact(stored, query).tolist()))
        taken.append(time.process_time() - before)
    show("numpy", 0.0, 1.0, taken)
    searches: tuple[Search, ...] = ("ivf", "faiss")
    for search in searches:
        before = time.process_time()
        index = neighbour_index(stored, search)
        build = time.process_time() - before
        probes = [index.nprobe // 4, index.nprobe, index.nprobe * 4] if search == "ivf" else [0]
        for probe in probes:
            if probe:
                index.nprobe = probe
            taken, right = [], []
            for query, nearest in zip(queries, truth, strict=True):
                before = time.process_time()
                _, places = index.search(query[None], NEIGHBOURS)
                taken.append(time.process_time() - before)
                right.append(len(nearest & set(places[0].tolist())) / NEIGHBOURS)
            name = f"{search}, {probe} of {index.nlist} lists" if probe else search
            show(name, build, float(np.mean(right)), taken)
        del index


def show(name: str, build: float, recall: float, taken: list[float]) -> None:
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    p50, p99 = np.quantile(taken, [0.5, 0.99]) * 1e3
    print(
        f"{name:<24} build {build:6.1f} CPU s  recall@{NEIGHBOURS} {recall:.3f}  p50 {p50:7.2f} ms  "
        f"p99 {p99:7.2f} ms  peak memory of the process {memory:.1f} GB",
        flush=True,
    )


if __name__ == "__main__":
    main()
