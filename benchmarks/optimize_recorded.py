"""Routers on recorded outcomes: train on 70% of the prompts, report on the rest.

    python benchmarks/optimize_recorded.py [--splits 3] [SET ...]

Trains as `coe train` does and solves as `coe optimize` does.
Reads the folder named by COE_DATA (default: ../shared/data beside the repository). The split is a hash of the
prompt with a salt of our own, so a question never sits on both sides. `true` uses the recorded category in
place of the classifier: what routing could gain with a perfect one. `tfidf` is the baseline of
benchmarks/tfidf_two_step.py on the same prompts.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from recorded import data_folder
from tfidf_two_step import categories, category_map

from coe.contracts import Card
from coe_routers.artifact import load_router
from coe_routers.features import routing_text
from coe_routers.mapping import Budget, Evidence, choose_map, evidence
from coe_routers.offline import TrainOptions, find_embedder, read_state, train
from coe_routers.outcomes import Outcomes, read_cards, read_outcomes
from coe_routers.scores import paired_bootstrap

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


def measure(cases: Sequence[Case], salt: str, verbose: bool) -> dict[tuple[str, str], tuple[float, ...]]:
    """Rows by case and by how categories are known, for cases that share a folder and a pool."""
    folder = data_folder() / cases[0].folder
    cards = dict(read_cards(folder / "models.json"))
    outcomes = pool(cases[0], read_outcomes([folder / "outcomes.jsonl.gz"]), cards)
    train_rows, test_rows = split(outcomes, salt)
    left, right = outcomes.rows(train_rows), outcomes.rows(test_rows)
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "router"
        train(left, cards, path, TrainOptions(), embedder=find_embedder("static", {}))
        router, _ = load_router(path, find_embedder)
        routed = read_state(path).evidence
    names = routed.categories
    column = np.array([names.index(name) for name in outcomes.categories], dtype=np.int32)
    said = router.classifier.classify(right.features())
    unsure = router.abstention.general(said)
    true = evidence(left, cards, categories=names, label=column[left.category])
    unseen = evidence(right, cards, categories=names, label=column[right.category])
    told = evidence(
        right,
        cards,
        categories=names,
        label=column[right.category],
        probabilities=said.probabilities,
        uncertain=unsure,
    )
    single = routed.instance(Budget()).single
    assert single is not None
    guessed = categories(_texts(left), true.label, _texts(right))
    rows: dict[tuple[str, str], tuple[float, ...]] = {}
    at = np.arange(len(unseen))
    for case in cases:
        ways = {"true": (true, unseen), "router": (routed, told), "tfidf": (true, unseen)}
        for how, (seen, met) in ways.items():
            if how == "tfidf":
                mapped = category_map(
                    true.label, true.scores, len(names), true.active_params_b, case.most_on_average_b
                )
                chosen, kind, right_share = mapped[guessed], "map", float((guessed == met.label).mean())
            else:
                choice = choose_map(seen, Budget(active_params_b=case.most_on_average_b), seed=0)
                chosen = choice.rule.choose(met.probabilities, met.uncertain)
                kind = f"{choice.kind} {choice.caution:g}"
                right_share = float((said.probabilities.argmax(axis=1) == met.label).mean())
            got, alone = met.scores[at, chosen], met.scores[:, single]
            gap, ci = paired_bootstrap(got, alone, seed=0)
            paid = costs(case, met, right)
            rows[case.name, how] = (
                float(np.nanmean(got)),
                float(np.nanmean(paid[at, chosen])) if np.isfinite(paid[at, chosen]).any() else float("nan"),
                float(np.nanmean(alone)),
                float(np.nanmean(paid[:, single])) if np.isfinite(paid[:, single]).any() else float("nan"),
                100 * gap,
                100 * (ci[1] - ci[0]) / 2,
                right_share,
            )
            if verbose:
                print(f"  {salt}{case.name} {how}: {kind}, {100 * gap:+.2f}", flush=True)
    return rows


def _texts(outcomes: Outcomes) -> list[str]:
    return [routing_text(features, tools=True) for features in outcomes.features()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("sets", nargs="*")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--verbose", action="store_true", help="print the rule that each split chose")
    asked = parser.parse_args()
    print("set              category  score     cost   single     cost   points       right")
    pools: dict[tuple[str, float | None, bool], list[Case]] = {}
    for case in CASES:
        if not asked.sets or case.folder in asked.sets:
            pools.setdefault((case.folder, case.most_active_b, case.priced), []).append(case)
    for cases in pools.values():
        found = [measure(cases, f"split {number}: ", asked.verbose) for number in range(asked.splits)]
        for case, how in found[0]:
            values = [each[case, how] for each in found]
            score, cost, single, paid, points, half, right = np.mean(values, axis=0)
            print(
                f"{case:<16} {how:<7} {score:6.4f} {cost:8.3f}   {single:6.4f} {paid:8.3f}   "
                f"{points:+5.2f} ±{half:4.2f}  {right:5.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
