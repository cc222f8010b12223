"""Routers on recorded outcomes: train on 70% of the prompts, report on the rest.

    python benchmarks/optimize_recorded.py [--splits 3] [SET ...]

Reads the folder named by COE_DATA (default: ../shared/data beside the repository). The split is a hash of the
prompt with a salt of our own, so a question never sits on both sides. `true` uses the recorded category in
place of the classifier: what routing could gain with a perfect one.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from coe.contracts import Card
from coe_routers.mapping import Budget, Evidence, choose_map, evidence
from coe_routers.offline import find_embedder
from coe_routers.outcomes import Outcomes, read_cards, read_outcomes
from coe_routers.scores import paired_bootstrap
from coe_routers.training import FitOptions, fit_classifier

HELD_OUT = 0.3


@dataclass(frozen=True)
class Case:
    name: str
    folder: str
    most_active_b: float | None = None
    priced: bool = False
    cost: str = "usd"
    most_on_average_b: float | None = None


CASES = (
    Case("llmrouter", "llmrouter", cost="active"),
    Case("llmrouter, 11B", "llmrouter", cost="active", most_on_average_b=11),
    Case("mmlu_pro <= 15B", "mmlu_pro", most_active_b=15),
    Case("mmlu_pro priced", "mmlu_pro", priced=True),
    Case("bbh_prompts", "bbh_prompts", cost="chars"),
    Case("bfcl", "bfcl"),
    Case("zeroeval", "zeroeval", cost="chars"),
    Case("routellm", "routellm"),
)


def data() -> Path:
    folder = Path(os.environ.get("COE_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
    if not folder.is_dir():
        sys.exit(f"No recorded outcomes at {folder}: set COE_DATA.")
    return folder


def split(outcomes: Outcomes, salt: str) -> tuple[np.ndarray, np.ndarray]:
    def place(text: str) -> float:
        return int(hashlib.sha256((salt + text).encode()).hexdigest()[:8], 16) / 2**32

    held = np.array([place(text) < HELD_OUT for text in outcomes.prompts])
    return np.flatnonzero(~held), np.flatnonzero(held)


def pool(case: Case, outcomes: Outcomes, cards: dict[str, Card]) -> Outcomes:
    def kept(name: str) -> bool:
        card = cards[name]
        if case.priced and card.input_usd_per_mtok is None:
            return False
        active = card.active_params_b
        return case.most_active_b is None or (active is not None and active <= case.most_active_b)

    return outcomes.of_experts([name for name in outcomes.experts if kept(name)])


def costs(case: Case, found: Evidence, outcomes: Outcomes) -> np.ndarray:
    if case.cost == "active":
        return np.tile(found.active_params_b, (len(found), 1))
    if case.cost == "chars" and outcomes.response_chars is not None:
        return outcomes.response_chars.astype(float)
    return found.usd * 1000


def measure(case: Case, salt: str) -> dict[str, tuple[float, ...]]:
    folder = data() / case.folder
    cards = dict(read_cards(folder / "models.json"))
    outcomes = pool(case, read_outcomes([folder / "outcomes.jsonl.gz"]), cards)
    train_rows, test_rows = split(outcomes, salt)
    left, right = outcomes.rows(train_rows), outcomes.rows(test_rows)
    started = time.perf_counter()
    labels = [outcomes.categories[number] for number in left.category.tolist()]
    fitted = fit_classifier(
        left.features(),
        labels,
        embedder=find_embedder("static", {}),
        tools=bool(outcomes.tools),
        options=FitOptions(),
    )
    names = fitted.classifier.categories
    column = np.array([names.index(name) for name in outcomes.categories], dtype=np.int32)
    said = fitted.classifier.classify(right.features())
    limit = fitted.uncertainty_limit
    known = {
        "true": (
            evidence(left, cards, categories=names, label=column[left.category]),
            evidence(right, cards, categories=names, label=column[right.category]),
        ),
        "router": (
            evidence(
                left,
                cards,
                categories=names,
                label=column[left.category],
                probabilities=fitted.held_out.probabilities,
                uncertain=fitted.held_out.uncertainty > limit,
            ),
            evidence(
                right,
                cards,
                categories=names,
                label=column[right.category],
                probabilities=said.probabilities,
                uncertain=said.uncertainty > limit,
            ),
        ),
    }
    rows: dict[str, tuple[float, ...]] = {}
    for how, (seen, unseen) in known.items():
        single = seen.instance(Budget()).single
        assert single is not None
        choice = choose_map(seen, Budget(active_params_b=case.most_on_average_b), seed=0)
        chosen = choice.rule.choose(unseen.probabilities, unseen.uncertain)
        at = np.arange(len(unseen))
        got, alone = unseen.scores[at, chosen], unseen.scores[:, single]
        gap, ci = paired_bootstrap(got, alone, seed=0)
        paid = costs(case, unseen, right)
        rows[how] = (
            float(np.nanmean(got)),
            float(np.nanmean(paid[at, chosen])) if np.isfinite(paid[at, chosen]).any() else float("nan"),
            float(np.nanmean(alone)),
            float(np.nanmean(paid[:, single])) if np.isfinite(paid[:, single]).any() else float("nan"),
            100 * gap,
            100 * (ci[1] - ci[0]) / 2,
            float((said.probabilities.argmax(axis=1) == column[right.category]).mean()),
            time.perf_counter() - started,
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("sets", nargs="*")
    parser.add_argument("--splits", type=int, default=3)
    asked = parser.parse_args()
    print("set              category  score     cost   single     cost   points       right")
    for case in CASES:
        if asked.sets and case.folder not in asked.sets:
            continue
        found = [measure(case, f"split {number}: ") for number in range(asked.splits)]
        for how in ("true", "router"):
            score, cost, single, paid, points, half, right, _ = np.mean([each[how] for each in found], axis=0)
            print(
                f"{case.name:<16} {how:<7} {score:6.4f} {cost:8.3f}   {single:6.4f} {paid:8.3f}   "
                f"{points:+5.2f} ±{half:4.2f}  {right:5.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
