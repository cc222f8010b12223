"""Can the best expert of a single prompt be learned? The claim that it cannot, measured again.

    python benchmarks/optimize_jitter.py

CoE (arXiv 2412.01868) holds that per-prompt labels of the best expert are too noisy to learn while categories
are not. The same classifier is fitted to both labels; balanced accuracy is compared with chance, because one
expert may dominate. A prompt on which several experts tie is labelled with the one that is best over all.
Reads the folder named by COE_DATA.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from coe_routers.offline import find_embedder
from coe_routers.outcomes import Outcomes, read_cards, read_outcomes
from coe_routers.training import fit_classifier

SETS = (("llmrouter", None), ("mmlu_pro", 15.0), ("zeroeval", None), ("bfcl", None))


def data() -> Path:
    folder = Path(os.environ.get("COE_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
    if not folder.is_dir():
        sys.exit(f"No recorded outcomes at {folder}: set COE_DATA.")
    return folder


def read(name: str, most_active_b: float | None) -> Outcomes:
    outcomes = read_outcomes([data() / name / "outcomes.jsonl.gz"])
    if most_active_b is None:
        return outcomes
    cards = read_cards(data() / name / "models.json")
    small = [each for each in outcomes.experts if (cards[each].active_params_b or 1e9) <= most_active_b]
    return outcomes.of_experts(small)


def right(outcomes: Outcomes, labels: list[str]) -> tuple[float, float, float, int]:
    """Accuracy, accuracy of the majority, balanced accuracy, classes; on held-out rows."""
    names, counts = np.unique(labels, return_counts=True)
    kept = set(names[counts >= 20].tolist())
    rows = np.array([row for row, label in enumerate(labels) if label in kept])
    part, left = outcomes.rows(rows), [labels[row] for row in rows]
    fitted = fit_classifier(
        part.features(), left, embedder=find_embedder("static", {}), tools=bool(part.tools)
    )
    said = fitted.held_out.probabilities.argmax(axis=1)
    truth = fitted.held_out.labels
    each = [float((said[truth == number] == number).mean()) for number in range(len(kept))]
    majority = np.bincount(truth).max() / len(truth)
    return float((said == truth).mean()), float(majority), float(np.mean(each)), len(kept)


def main() -> None:
    print("set        label         classes  accuracy  majority  balanced  chance  ties")
    for name, most in SETS:
        outcomes = read(name, most)
        scores = np.nan_to_num(outcomes.scores, nan=-1.0)
        order = np.argsort(-np.nan_to_num(np.nanmean(outcomes.scores, axis=0)))
        best = order[scores[:, order].argmax(axis=1)]
        ties = float(((scores == scores.max(axis=1, keepdims=True)).sum(axis=1) > 1).mean())
        for label, labels in (
            ("category", [outcomes.categories[number] for number in outcomes.category.tolist()]),
            ("best expert", [outcomes.experts[number] for number in best.tolist()]),
        ):
            accuracy, majority, balanced, classes = right(outcomes, labels)
            print(
                f"{name:<10} {label:<12} {classes:8d} {accuracy:9.3f} {majority:9.3f} {balanced:9.3f} "
                f"{1 / classes:7.3f} {ties:5.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
