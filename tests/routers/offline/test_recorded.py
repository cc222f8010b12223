"""Routers trained on public outcomes: what the documentation promises, on one split of the real data."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from coe_routers.artifact import load_router
from coe_routers.evaluation import evaluate
from coe_routers.mapping import Budget, choose_map
from coe_routers.offline import TrainOptions, find_embedder, read_state, train
from coe_routers.outcomes import Outcomes, read_cards, read_outcomes

DATA = Path(os.environ.get("COE_DATA") or Path(__file__).parents[4] / "shared" / "data")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not DATA.is_dir(),
        reason=f"NOT MEASURED: no recorded outcomes in {DATA}; set COE_DATA to their folder",
    ),
]


def halves(outcomes: Outcomes) -> tuple[Outcomes, Outcomes]:
    """Seven prompts in ten to train on, three to judge by; equal prompts stay together."""
    texts = sorted(set(outcomes.prompts))
    drawn = dict(zip(texts, np.random.default_rng(11).random(len(texts)).tolist(), strict=True))
    held = np.array([drawn[text] < 0.3 for text in outcomes.prompts])
    return outcomes.rows(np.flatnonzero(~held)), outcomes.rows(np.flatnonzero(held))


@pytest.mark.parametrize(
    ("name", "least_points"), [("llmrouter", 2.0), ("bbh_prompts", -1.0), ("bfcl", -2.0)]
)
def test_a_router_gains_or_loses_no_more_than_noise(name: str, least_points: float, tmp_path: Path) -> None:
    cards = read_cards(DATA / name / "models.json")
    left, right = halves(read_outcomes([DATA / name / "outcomes.jsonl.gz"]))
    train(left, cards, tmp_path / "router", TrainOptions(), embedder=find_embedder("static", {}))
    rows = {row.policy: row for row in evaluate(tmp_path / "router", right, find_embedder, seed=0).rows}
    assert rows["router"].diff_points >= least_points
    if name == "llmrouter":
        keeps_its_budget(tmp_path / "router", right)


def keeps_its_budget(path: Path, right: Outcomes) -> None:
    """What the rule spends on prompts that it was not solved from."""
    found = read_state(path).evidence
    router, _ = load_router(path, find_embedder)
    said = router.classifier.classify(right.features())
    for limit in (11.0, 20.0, 30.0):
        choice = choose_map(found, Budget(active_params_b=limit), seed=0, repeats=1)
        chosen = choice.rule.choose(said.probabilities, np.zeros(len(right), dtype=bool))
        spent = found.active_params_b[chosen]
        # Answers take 1B or 50B: the mean of a sample scatters more than a budget may be missed by.
        error = spent.std() / np.sqrt(len(spent))
        assert spent.mean() - 2 * error <= 1.05 * limit
