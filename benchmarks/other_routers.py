"""Every router on recorded outcomes: score at cost on held-out prompts, against the best single expert.

    OMP_NUM_THREADS=1 python benchmarks/other_routers.py [SET ...] [--seed 0] [--json FILE]

30% of the prompts are held out by the seed. The best single expert is chosen on the others. Differences are
paired by prompt, with 95% bootstrap intervals, in points (hundredths of the score). Every row goes through
the plugin as a user would configure it. Needs the folder named by COE_DATA.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from recorded import load, split

from coe.contracts import Card, Router
from coe.testing import create, pool_view
from coe.testing import load as load_plugin
from coe_routers.alternatives import choices, fit_cascade, fit_knn, fit_ridge, fit_tree, save_choices
from coe_routers.artifact import EmbedderRef, RouterArtifact, save_router
from coe_routers.classifiers import Abstention
from coe_routers.features import StaticEmbedder
from coe_routers.mapping import evidence
from coe_routers.outcomes import Outcomes
from coe_routers.scores import paired_bootstrap, score_table
from coe_routers.training import fit_classifier

SETS: Mapping[str, tuple[str, float | None]] = {
    "llmrouter": ("llmrouter", None),
    "mmlu_pro_15b": ("mmlu_pro", 15.0),
    "mmlu_pro": ("mmlu_pro", None),
    "bbh_prompts": ("bbh_prompts", None),
    "zeroeval": ("zeroeval", None),
    "bfcl": ("bfcl", None),
    "routellm": ("routellm", None),
}
PRICED = {"mmlu_pro"}
"""Sets of which only experts with a known price are taken."""
STATIC = EmbedderRef(kind="static")
POINTS_FOR_ALL_THE_COST = 0.1
"""Worth of cost in the cost-aware rows: ten points for the whole cost of the best single expert."""


def routers(
    folder: Path, train: Outcomes, cards: Mapping[str, Card], cost: np.ndarray, seed: int
) -> dict[str, Callable[[], Router]]:
    """Rows of the table: name to a function that fits, saves and loads a router."""
    embedder = StaticEmbedder.load()
    scores = np.nanmean(train.scores, axis=0)
    worth = POINTS_FOR_ALL_THE_COST / max(float(cost[scores.argmax()]), 1e-9)

    def made(kind: str, path: Path, **settings: Any) -> Router:
        return create(load_plugin("coe.routers", kind), settings={"artifact": path, **settings})

    def fitted(kind: str, fit: Callable[[], Any], **settings: Any) -> Router:
        path = folder / kind
        if not path.exists():
            model, facts = fit()
            model.save(path, STATIC, facts)
            shown = {key: value for key, value in facts.items() if key not in {"splits", "without_cost"}}
            print(f"    {kind}: {shown}", flush=True)
        return made(kind, path, **settings)

    def cumulative(**settings: Any) -> Router:
        path = folder / "cumulative"
        if not path.exists():
            labels = [train.categories[index] for index in train.category]
            enough = {name for name in labels if labels.count(name) >= 10}
            rows = np.array([row for row, label in enumerate(labels) if label in enough])
            part = train.rows(rows)
            classes = fit_classifier(
                part.features(), [labels[row] for row in rows], embedder=embedder, tools=bool(train.tools)
            )
            # Categories as the router will see them: predicted, out of fold.
            table = score_table(
                part.scores,
                classes.held_out.probabilities.argmax(axis=1),
                categories=classes.classifier.categories,
                experts=train.experts,
            )
            save_router(
                path,
                RouterArtifact(
                    classifier=classes.classifier,
                    abstention=Abstention(uncertainty_limit=1.0),
                    embedder=STATIC,
                ),
            )
            save_choices(path, choices(table, cost, seed=seed))
        return made("cumulative", path, **settings)

    return {
        "knn": lambda: fitted("knn", lambda: fit_knn(train, embedder=embedder, seed=seed)),
        "ridge": lambda: fitted("ridge", lambda: fit_ridge(train, cards, embedder=embedder, seed=seed)),
        "ridge, cost-aware": lambda: made("ridge", folder / "ridge", cost_weight=worth),
        "cascade": lambda: fitted("cascade", lambda: fit_cascade(train, cards, embedder=embedder, seed=seed)),
        "cumulative, likeliest": lambda: cumulative(p=0.9),
        "cumulative, cheapest": lambda: cumulative(p=0.9, pick="cheapest"),
        "expertise-tree": lambda: fitted(
            "expertise-tree", lambda: fit_tree(train, embedder=embedder, seed=seed)
        ),
    }


def measure(name: str, seed: int) -> dict[str, Any]:
    """All rows of one set."""
    source, limit = SETS[name]
    outcomes, cards = load(source, max_active_b=limit)
    found = evidence(outcomes, cards)
    # Score at cost needs a cost: experts without any are left out.
    known = np.isfinite(found.usd if name in PRICED else found.cost).sum(axis=0) > 0
    if known.any():
        outcomes = outcomes.of_experts([outcomes.experts[e] for e in np.flatnonzero(known)])
    fit_rows, test_rows = split(outcomes, seed=seed)
    train, test = outcomes.rows(fit_rows), outcomes.rows(test_rows)
    recorded = evidence(outcomes, cards)
    with np.errstate(invalid="ignore"):
        cost = np.nanmean(recorded.cost[fit_rows], axis=0)
    single = int(np.nanmean(train.scores, axis=0).argmax())
    here = np.arange(len(test))
    view = pool_view(*(cards.get(expert, Card(name=expert)) for expert in test.experts))
    rows: list[dict[str, Any]] = []

    def add(policy: str, chosen: np.ndarray, fit_s: float = 0.0, candidates: float | None = None) -> None:
        score = test.scores[here, chosen].astype(np.float64)
        diff, ci = paired_bootstrap(score, test.scores[:, single], seed=seed)
        rows.append(
            {
                "policy": policy,
                "score": float(np.nanmean(score)),
                "diff_points": 100 * diff,
                "diff_ci95": [100 * ci[0], 100 * ci[1]],
                "cost": float(np.nanmean(recorded.cost[test_rows][here, chosen])),
                "experts": len(np.unique(chosen)),
                "fit_s": round(fit_s, 1),
                "candidates": candidates,
            }
        )
        print(f"  {line(rows[-1])}", flush=True)

    print(
        f"{name}: {len(train)} to fit, {len(test)} held out, {len(test.experts)} experts, "
        f"cost in {recorded.cost_unit}; best single {test.experts[single]}",
        flush=True,
    )
    add("best single", np.full(len(test), single))
    with tempfile.TemporaryDirectory() as folder:
        for policy, make in routers(Path(folder), train, cards, cost, seed).items():
            before = time.process_time()
            router = make()
            fit_s = time.process_time() - before
            decisions = router.route_batch(test.features(), view)
            chosen = np.array([test.experts.index(each.expert) for each in decisions])
            listed = None
            if policy.startswith("cumulative"):
                scored = [sum(r.score is not None for r in each.ranked) for each in decisions]
                listed = float(np.mean(scored))
            add(policy, chosen, fit_s, listed)
    add("per-prompt oracle", np.nan_to_num(test.scores, nan=-1.0).argmax(axis=1))
    return {
        "set": name,
        "train": len(train),
        "n": len(test),
        "seed": seed,
        "cost_unit": recorded.cost_unit,
        "single": test.experts[single],
        "experts": len(test.experts),
        "rows": rows,
    }


def line(row: Mapping[str, Any]) -> str:
    """One row as text."""
    low, high = row["diff_ci95"]
    extra = "" if row["candidates"] is None else f"  {row['candidates']:.2f} candidates"
    return (
        f"{row['policy']:<22} {row['score']:.3f} @ {row['cost']:9.4g}  {row['diff_points']:+5.1f} "
        f"({low:+.1f} to {high:+.1f})  {row['experts']} experts  {row['fit_s']} s{extra}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="*", default=list(SETS), metavar="SET")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = [measure(name, options.seed) for name in options.sets]
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
