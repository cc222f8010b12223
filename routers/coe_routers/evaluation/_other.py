"""Routers of any kind on outcomes that they have not seen, by what they decide."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from coe.contracts import Card, ExpertState, PoolView
from coe.errors import DataError
from coe_routers.artifact import FindEmbedder
from coe_routers.evaluation._policies import compare
from coe_routers.evaluation._report import Report
from coe_routers.mapping import Budget, cost_of
from coe_routers.offline import load_router_of, read_state
from coe_routers.outcomes import Outcomes


def evaluate_decisions(path: Path, outcomes: Outcomes, find: FindEmbedder, *, seed: int) -> Report:
    """Compare a router with the best single expert, chance and both oracles, whatever decides in it.

    For kinds without a classifier of categories; its figures are NaN and its tables empty.

    Args:
        path: folder that `coe train --router KIND` wrote.
        outcomes: recorded scores of its experts on other prompts.
        find: makes the embedder that the router was trained with.

    Raises:
        ArtifactError: the folder is refused.
        DataError: the outcomes know none of the router's experts.
    """
    router, _ = load_router_of(path, find)
    state = read_state(path)
    experts = state.evidence.experts
    if not set(experts) & set(outcomes.experts):
        raise DataError(
            "The outcomes know none of the router's experts.", hint=f"It knows: {', '.join(experts)}."
        )
    outcomes = outcomes.with_experts(experts)
    states = {name: ExpertState(state.cards.get(name, Card(name=name))) for name in experts}
    decisions = router.route_batch(outcomes.features(), PoolView(experts=states, digest="offline"))
    chosen = np.array([experts.index(each.expert) for each in decisions], dtype=np.int64)
    single = state.evidence.instance(Budget()).single
    if single is None:
        single = int(np.isfinite(state.evidence.scores).sum(axis=0).argmax())
    shares = Counter(each.expert for each in decisions)
    return Report(
        rows=compare(
            outcomes.scores,
            cost_of(outcomes, state.cards, state.evidence.cost_unit),
            outcomes.category,
            {"router": chosen, "best single": np.full(len(outcomes), single)},
            reference="best single",
            seed=seed,
        ),
        single=experts[single],
        cost_unit=state.evidence.cost_unit,
        general_share=float("nan"),
        accuracy=float("nan"),
        calibration_error=float("nan"),
        categories=(),
        confusion=np.zeros((0, 1), dtype=np.int64),
        experts={name: count / len(outcomes) for name, count in shares.items()},
    )
