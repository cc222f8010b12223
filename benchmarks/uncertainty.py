"""When a classifier should say that it does not know: coverage, and out-of-scope prompts caught.

    python benchmarks/uncertainty.py [--rows 5000] [--keep 0.9]

Reads the folder named by COE_DATA (default: ../shared/data beside the repository). Trains as `coe train`
does, but with a rule that keeps the share `--keep` of in-scope prompts, and judges it on prompts that neither
trained nor calibrated anything: what prediction sets cover, and which prompts go to `general`, and why.

- clinc150: ten domains; `out of scope` are CLINC's own out-of-scope requests.
- mmlu_pro: fourteen subjects; `out of scope` are CLINC's requests to assistants.
- mmlu_pro without law: `out of scope` are the questions about law, close to the others.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from recorded import data_folder

from coe.contracts import Features
from coe_routers.classifiers import mass_before
from coe_routers.features import StaticEmbedder
from coe_routers.training import FitOptions, accuracy, auroc, expected_calibration_error, fit_classifier

Row = tuple[str, str]
"""Prompt and category."""


def rows(name: str) -> list[Row]:
    with gzip.open(data_folder() / name, "rt", encoding="utf-8") as lines:
        return [(row["prompt"], row["category"]) for row in map(json.loads, lines)]


def sets(train: int) -> Iterator[tuple[str, Sequence[Row], Sequence[Row], Sequence[Row]]]:
    """Name, training rows, in-scope test rows, out-of-scope test rows."""
    random = np.random.default_rng(0)
    clinc = rows("categories/clinc150.jsonl.gz")
    inside = [row for row in clinc if row[1] != "out_of_scope"]
    outside = [row for row in clinc if row[1] == "out_of_scope"]
    inside = [inside[place] for place in random.permutation(len(inside))]
    yield "clinc150", inside[:train], inside[train : train + 3000], outside
    questions = rows("mmlu_pro/outcomes.jsonl.gz")
    questions = [questions[place] for place in random.permutation(len(questions))]
    cut = min(train, len(questions) * 7 // 10)
    yield "mmlu_pro", questions[:cut], questions[cut : cut + 3000], inside[:1000]
    law = [row for row in questions if row[1] == "law"]
    rest = [row for row in questions if row[1] != "law"]
    yield "mmlu_pro without law", rest[:cut], rest[cut : cut + 3000], law


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=5000, help="training rows")
    parser.add_argument("--keep", type=float, default=0.9, help="share of in-scope prompts to keep")
    asked = parser.parse_args()
    embedder = StaticEmbedder.load()
    for name, train, test, outside in sets(asked.rows):
        fitted = fit_classifier(
            [Features(text=text) for text, _ in train],
            [label for _, label in train],
            embedder=embedder,
            shape=True,
            options=FitOptions(folds=5, correct=True, keep=asked.keep),
        )
        classifier, rule = fitted.classifier, fitted.abstention
        inside = classifier.classify([Features(text=text) for text, _ in test])
        labels = np.array([classifier.categories.index(label) for _, label in test])
        strange = classifier.classify([Features(text=text) for text, _ in outside])
        assert rule.set_mass is not None
        held = mass_before(inside.probabilities)[np.arange(len(labels)), labels] <= rule.set_mass
        kept, caught = ~rule.general(inside), rule.general(strange)
        right = inside.probabilities.argmax(axis=1) == labels
        print(
            f"{name}: {len(train)} to train, {len(test)} in scope, {len(outside)} out of scope\n"
            f"  accuracy {accuracy(inside.probabilities, labels):.3f}, "
            f"calibration error {expected_calibration_error(inside.probabilities, labels):.3f}\n"
            f"  prediction sets: stated coverage {rule.coverage}, measured {held.mean():.3f}, "
            f"mean size {rule.set_sizes(inside.probabilities).mean():.2f}\n"
            f"  kept in scope {kept.mean():.3f}, accuracy of those {right[kept].mean():.3f}\n"
            f"  out of scope caught {caught.mean():.3f}, by entropy alone at the same share "
            f"{(strange.uncertainty > np.quantile(inside.uncertainty, kept.mean())).mean():.3f}, "
            f"AUROC of entropy {auroc(inside.uncertainty, strange.uncertainty):.3f}\n"
            f"  why: {dict(Counter(str(reason) for reason in rule.reasons(strange)))}\n"
            f"  {rule}",
            flush=True,
        )


if __name__ == "__main__":
    main()
