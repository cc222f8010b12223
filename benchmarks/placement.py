"""How well example prompts or a description say where an expert that nobody measured is good.

    OMP_NUM_THREADS=1 python benchmarks/placement.py [SET ...] [--examples 20]

Each expert in turn is taken for the new one. Its example prompts are held-out ones that it solved and most
others did not, which is kinder than what an owner would pick by hand. The affinity to the categories is
compared with the expert's true advantage there: its mean score less that of the others and less its own mean
advantage, on the prompts that the router was trained on. `if first` is what its most alike category would
lose if it were put before the best measured expert there. Intervals: bootstrap over experts. Needs the folder
named by COE_DATA.
"""

from __future__ import annotations

import argparse

import numpy as np
from recorded import load, split

from coe_routers.features import StaticEmbedder, routing_text
from coe_routers.outcomes import Outcomes
from coe_routers.placement import affinities
from coe_routers.scores import bootstrap_mean

SETS = ("llmrouter", "mmlu_pro", "bfcl")
DESCRIPTIONS = {
    "codegemma-7b": "Code generation and completion in Python and other programming languages.",
    "gemma-2-9b-it": "General instruction following, question answering, summarisation and reasoning.",
    "llama-3.1-8b-instruct": "General multilingual assistant chat and instruction following.",
    "llama-3.1-nemotron-51b-instruct": "General chat, reasoning, mathematics and instruction following.",
    "llama-3.3-nemotron-super-49b-v1": "Reasoning, mathematics, code, science and tool calling.",
    "llama3-chatqa-1.5-70b": "Conversational question answering over documents and tables; arithmetic.",
    "llama3-chatqa-1.5-8b": "Conversational question answering over documents and tables; arithmetic.",
    "mistral-7b-instruct-v0.3": "General instruction following and function calling.",
    "qwen2.5-7b-instruct": "Multilingual, code and mathematics, long text and structured data.",
    "mathstral-7B": "Mathematics and science: multi-step mathematical reasoning.",
    "DeepSeek-Coder-V2": "Code generation and mathematics.",
    "c4ai-command-r-v01": "Retrieval-augmented generation, tool use, business and multilingual text.",
    "Phi-3-mini-4k-instruct": "Reasoning, mathematics, code and logic.",
}
"""Ours, after what the models' makers say of them."""
SEEDS = 5


def rank_correlation(left: np.ndarray, right: np.ndarray) -> float:
    """Spearman's, for values without ties."""
    ranks = [np.argsort(np.argsort(values)) for values in (left, right)]
    return float(np.corrcoef(*ranks)[0, 1])


def cell_means(outcomes: Outcomes) -> np.ndarray:
    """Mean score of every category and expert, float64[c, m]."""
    cells = [
        np.nanmean(outcomes.scores[outcomes.category == c], axis=0) for c in range(len(outcomes.categories))
    ]
    return np.stack(cells).astype(np.float64)


def report(name: str, values: list[float], unit: str = "") -> None:
    data = np.array(values)
    low, high = bootstrap_mean(data, seed=0)
    print(f"  {name}: {data.mean():.2f}{unit} ({low:.2f} to {high:.2f}), {len(data)} experts", flush=True)


def measure(name: str, examples: int) -> None:
    """Print the figures of one set."""
    outcomes, _ = load(name)
    fit_rows, out_rows = split(outcomes, seed=0)
    train, out = outcomes.rows(fit_rows), outcomes.rows(out_rows)
    c, m = len(outcomes.categories), len(outcomes.experts)
    embedder = StaticEmbedder.load()
    tools = bool(outcomes.tools)
    vectors, held = (
        embedder.embed([routing_text(each, tools=tools) for each in part.features()]) for part in (train, out)
    )
    mean = cell_means(train)
    others = (mean.sum(axis=1, keepdims=True) - mean) / (m - 1)
    advantage = mean - others - (mean - others).mean(axis=0)
    by_examples, hits, lost, by_words = [], [], [], []
    for e, expert in enumerate(outcomes.experts):
        rest = np.nanmean(np.delete(out.scores, e, axis=1), axis=1)
        good = np.flatnonzero((out.scores[:, e] >= 0.99) & (rest < 0.5))
        if len(good) < 5:
            continue
        found, hit, loss = [], [], []
        for seed in range(SEEDS):
            picked = np.random.default_rng(seed).choice(good, min(examples, len(good)), replace=False)
            affinity = affinities(held[picked], vectors, train.category, c)
            found.append(rank_correlation(affinity, advantage[:, e]))
            top = int(affinity.argmax())
            hit.append(top in np.argsort(-advantage[:, e])[:3])
            loss.append(100 * (np.delete(mean[top], e).max() - mean[top, e]))
        by_examples.append(float(np.mean(found)))
        hits.append(float(np.mean(hit)))
        lost.append(float(np.mean(loss)))
        if expert in DESCRIPTIONS:
            words = affinities(embedder.embed([DESCRIPTIONS[expert]]), vectors, train.category, c)
            by_words.append(rank_correlation(words, advantage[:, e]))
    print(f"{name}: {c} categories")
    report("rank correlation, examples", by_examples)
    report(f"most alike category is among the 3 best (chance {3 / c:.2f})", hits)
    report("if first: points lost there", lost)
    if by_words:
        report("rank correlation, description", by_words)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="*", default=list(SETS), metavar="SET")
    parser.add_argument("--examples", type=int, default=20)
    options = parser.parse_args()
    for name in options.sets:
        measure(name, options.examples)


if __name__ == "__main__":
    main()
