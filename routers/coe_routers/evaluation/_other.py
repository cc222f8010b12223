"""Routers of any kind on outcomes that they have not seen, by what they decide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from coe.contracts import Card, Embedder, ExpertState, PoolView
from coe.errors import DataError
from coe_routers.artifact import FindEmbedder
from coe_routers.evaluation._policies import compare, knn_choice
from coe_routers.evaluation._report import Report
from coe_routers.features import routing_text
from coe_routers.mapping import Budget, cost_of
from coe_routers.offline import encoder_of, load_router_of, read_state
from coe_routers.outcomes import Outcomes


def evaluate_decisions(path: Path, outcomes: Outcomes, find: FindEmbedder, *, seed: int) -> Report:
    """Compare a router with the best single expert, chance, k-NN and both oracles, whatever decides in it.

    For kinds without a classifier of categories; its figures are NaN and its tables empty.

    Args:
        path: folder that `coe train --router KIND` wrote.
        outcomes: recorded scores of its experts on other prompts.
        find: makes the embedder that the router was trained with.

    Raises:
        ArtifactError: the folder is refused.
        DataError: the outcomes know none of the router's experts.
    """
    made: list[Embedder] = []

    def once(kind: str, settings: Mapping[str, Any]) -> Embedder:
        if not made:  # A folder names one embedder, and some take long to load.
            made.append(find(kind, settings))
        return made[0]

    router, _ = load_router_of(path, once)
    state = read_state(path)
    experts = state.evidence.experts
    if not set(experts) & set(outcomes.experts):
        raise DataError(
            "The outcomes know none of the router's experts.", hint=f"It knows: {', '.join(experts)}."
        )
    outcomes = outcomes.with_experts(experts)
    states = {name: ExpertState(state.cards.get(name, Card(name=name))) for name in experts}
    features = outcomes.features()
    decisions = router.route_batch(features, PoolView(experts=states, digest="offline"))
    chosen = np.array([experts.index(each.expert) for each in decisions], dtype=np.int64)
    single = state.evidence.instance(Budget()).single
    if single is None:
        single = int(np.isfinite(state.evidence.scores).sum(axis=0).argmax())
    policies = {"router": chosen, "best single": np.full(len(outcomes), single)}
    encoder = encoder_of(path, once)
    if encoder.embedder is not None and state.vectors.shape[1]:
        texts = [routing_text(each, tools=encoder.tools) for each in features]
        scores = state.evidence.scores[: len(state.vectors)]
        policies["k-NN per prompt"] = knn_choice(state.vectors, scores, encoder.embedder.embed(texts))
    shares = Counter(each.expert for each in decisions)
    return Report(
        rows=compare(
            outcomes.scores,
            cost_of(outcomes, state.cards, state.evidence.cost_unit),
            outcomes.category,
            policies,
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
