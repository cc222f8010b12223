"""How good the built-in classifier is, on prompts that it was not trained on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sources import GENERAL, Example

from coe.contracts import Features
from coe_routers.features import StaticEmbedder
from coe_routers.training import (
    FitOptions,
    Fitted,
    accuracy,
    auroc,
    expected_calibration_error,
    fit_classifier,
    macro_f1,
)

RESAMPLES = 1000
CHAT_CATEGORIES = {
    "writing": {"writing"}, "roleplay": {"writing"}, "reasoning": {"reasoning"}, "math": {"math"},
    "coding": {"coding"}, "extraction": {"language"}, "stem": {"science", "coding"},
    "humanities": {"humanities", "business", "law"}, "generic": {GENERAL}, "common-sense": {GENERAL},
    "counterfactual": {"humanities", GENERAL}, "fermi": {"math", "science", "reasoning", GENERAL},
    "knowledge": {"science", "business", "humanities", "health", GENERAL},
}  # fmt: skip
"""What may be said of MT-Bench's and Vicuna's own labels; written down before the first measurement."""


def held_out_report(fitted: Fitted, test: Sequence[Example], seed: int) -> dict[str, Any]:
    """Accuracy, macro-F1 and calibration on in-scope rows; what the limit keeps and catches."""
    classifier, limit = fitted.classifier, fitted.abstention.uncertainty_limit
    found = classifier.classify([Features(text=each.text) for each in test])
    columns = {category: index for index, category in enumerate(classifier.categories)}
    labels = np.array([columns.get(each.category, -1) for each in test])
    inside = labels >= 0
    probabilities, uncertainty, targets = found.probabilities[inside], found.uncertainty, labels[inside]
    kept = uncertainty[inside] <= limit
    return {
        "rows": int(inside.sum()),
        "rows_general": int((~inside).sum()),
        "accuracy": interval(lambda rows: accuracy(probabilities[rows], targets[rows]), len(targets), seed),
        "macro_f1": interval(lambda rows: macro_f1(probabilities[rows], targets[rows]), len(targets), seed),
        "ece": interval(
            lambda rows: expected_calibration_error(probabilities[rows], targets[rows]), len(targets), seed
        ),
        "general_auroc": auroc(uncertainty[inside], uncertainty[~inside]),
        "limit": limit,
        "kept_in_scope": float(kept.mean()),
        "accuracy_of_kept": accuracy(probabilities[kept], targets[kept]),
        "general_caught": float((uncertainty[~inside] > limit).mean()),
        "by_source": by_source(test, labels, found.probabilities, uncertainty, limit),
    }


def by_source(
    test: Sequence[Example],
    labels: np.ndarray,
    probabilities: np.ndarray,
    uncertainty: np.ndarray,
    limit: float,
) -> dict[str, list[float]]:
    """For each source and category: rows, share with the right category, share sent to `general`."""
    groups: dict[str, list[int]] = defaultdict(list)
    for row, each in enumerate(test):
        groups[f"{each.category}: {each.source}"].append(row)
    right = probabilities.argmax(axis=1) == labels
    return {
        name: [
            len(rows),
            round(float(right[rows].mean()), 3),
            round(float((uncertainty[rows] > limit).mean()), 3),
        ]
        for name, rows in sorted(groups.items())
    }


def clinc_report(shipped: Fitted, clinc: tuple[list[str], list[str], list[str]], seed: int) -> dict[str, Any]:
    """CLINC150's out-of-scope requests: against our own scope, and against CLINC's when trained on it."""
    texts, domains, outside = clinc
    strange = uncertainty_of(shipped, outside)
    known = shipped.held_out.uncertainty[shipped.held_out.labels >= 0]
    order = np.random.default_rng(seed).permutation(len(texts))
    train, rest = order[:4000], order[4000:8000]
    own = fit_classifier(
        [Features(text=texts[row]) for row in train],
        [domains[row] for row in train],
        embedder=StaticEmbedder.load(),
        options=FitOptions(seed=seed),
    )
    found = own.classifier.classify([Features(text=texts[row]) for row in rest])
    columns = {category: index for index, category in enumerate(own.classifier.categories)}
    labels = np.array([columns[domains[row]] for row in rest])
    return {
        "builtin_auroc": auroc(known, strange),
        "builtin_caught": float((strange > shipped.abstention.uncertainty_limit).mean()),
        "trained_on_clinc_accuracy": accuracy(found.probabilities, labels),
        "trained_on_clinc_ece": expected_calibration_error(found.probabilities, labels),
        "trained_on_clinc_auroc": auroc(found.uncertainty, uncertainty_of(own, outside)),
    }


def chat_report(fitted: Fitted, chat: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """MT-Bench and Vicuna: how often the category, `general` included, is one that fits their label."""
    found = fitted.classifier.classify([Features(text=text) for text, _ in chat])
    names = np.array(fitted.classifier.categories)[found.probabilities.argmax(axis=1)]
    names = np.where(found.uncertainty > fitted.abstention.uncertainty_limit, GENERAL, names)
    fits: dict[str, list[bool]] = defaultdict(list)
    for (_, label), name in zip(chat, names.tolist(), strict=True):
        fits[label].append(name in CHAT_CATEGORIES[label])
    every = [each for some in fits.values() for each in some]
    return {
        "rows": len(every),
        "fitting": float(np.mean(every)),
        "sent_to_general": float((names == GENERAL).mean()),
        "by_label": {label: f"{sum(some)}/{len(some)}" for label, some in sorted(fits.items())},
    }


def uncertainty_of(fitted: Fitted, texts: Sequence[str]) -> np.ndarray:
    """float32[n]."""
    return fitted.classifier.classify([Features(text=text) for text in texts]).uncertainty


def interval(measure: Callable[[np.ndarray], float], rows: int, seed: int) -> list[float]:
    """The measure on all rows, and the 2.5% and 97.5% quantiles over bootstrap resamples."""
    random = np.random.default_rng(seed)
    values = [measure(random.integers(0, rows, rows)) for _ in range(RESAMPLES)]
    low, high = np.quantile(values, [0.025, 0.975])
    return [round(measure(np.arange(rows)), 4), round(float(low), 4), round(float(high), 4)]
