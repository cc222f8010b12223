"""What a map is worth on prompts that it was not solved from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from coe_routers.mapping._evidence import Evidence, Rows
from coe_routers.rules import Rule

Floats = NDArray[np.float64]


def folds(n: int, k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Fold of each of n rows, int64[n], sizes as equal as can be."""
    return rng.permutation(np.arange(n) % k)


def held_out(
    evidence: Evidence,
    solvers: Callable[[Rows], list[Rule | None]],
    *,
    seed: int,
    k: int = 5,
    repeats: int = 2,
) -> Floats:
    """Scores of rules on held-out prompts, float64[s, n], NaN where the chosen expert was not tried.

    Args:
        solvers: from training rows to s rules, None where infeasible; such a rule scores NaN.
        k, repeats: `repeats` rounds of k-fold cross-validation; a prompt's score is its mean over rounds.
    """
    rng = np.random.default_rng(seed)
    total: Floats | None = None
    count: Floats | None = None
    for _ in range(repeats):
        fold = folds(len(evidence), k, rng)
        for number in range(k):
            left = np.flatnonzero(fold == number)
            rules = solvers(np.flatnonzero(fold != number))
            if total is None or count is None:
                total, count = np.zeros((len(rules), len(evidence))), np.zeros((len(rules), len(evidence)))
            for which, rule in enumerate(rules):
                if rule is None:
                    continue
                got = realised(evidence, rule, left)
                seen = np.isfinite(got)
                total[which, left[seen]] += got[seen]
                count[which, left[seen]] += 1
    if total is None or count is None:
        return np.zeros((0, len(evidence)))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def realised(evidence: Evidence, rule: Rule, rows: Rows) -> Floats:
    """Recorded scores float64[k] of the experts that the rule chooses on the rows."""
    return evidence.scores[rows, rule.choose(evidence.probabilities[rows], evidence.uncertain[rows])].astype(
        np.float64
    )


def known_mean(scores: Floats) -> Floats:
    """Means over the last axis without NaN; NaN where there is nothing else."""
    seen = np.isfinite(scores)
    count = seen.sum(axis=-1)
    return np.where(count > 0, np.where(seen, scores, 0.0).sum(axis=-1) / np.maximum(count, 1), np.nan)
