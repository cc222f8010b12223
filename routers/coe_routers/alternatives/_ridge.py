"""Cost-aware ridge: predict every expert's score and cost, take the best score less the worth of the cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from coe_routers.alternatives._linear import regress
from coe_routers.alternatives._prediction import Floats, Prediction, closeness
from coe_routers.alternatives._saved import About, read, write
from coe_routers.alternatives._targets import believed, choose_trust, filled
from coe_routers.classifiers import LinearHead, evidence
from coe_routers.mapping import evidence as recorded_evidence

if TYPE_CHECKING:
    from coe.contracts import Card, Embedder, Features
    from coe_routers.artifact import EmbedderRef, FindEmbedder
    from coe_routers.features import Encoder
    from coe_routers.outcomes import Outcomes

KIND = "ridge-router"
PENALTY = 30.0
"""Of the squared weights; measured flat between 10 and 60 on recorded outcomes (docs/other-routers.md)."""
_LEAST, _MOST = 0.1, 10.0


class RidgeAbout(About):
    """Facts of a saved ridge router."""

    mean: tuple[float, ...]
    mean_cost: tuple[float, ...]
    cost_unit: str
    trust: float = Field(ge=0, le=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ridge:
    """Linear predictions of score and cost.

    Attributes:
        experts: m names.
        encoder: how prompts are read.
        head: 2m columns: each expert's score less its mean, then its cost relative to its mean less 1.
        mean: float64[m], mean scores.
        mean_cost: float64[m], mean costs in `cost_unit`; the highest known one where unknown.
        cost_unit: what costs count, as `coe_routers.mapping.Evidence.cost_unit`.
        trust: how much of the predicted differences from the means is believed.
        cost_weight: expected score (0..1) that one unit of cost is worth.
    """

    experts: tuple[str, ...]
    encoder: Encoder
    head: LinearHead
    mean: Floats
    mean_cost: Floats
    cost_unit: str
    trust: float
    cost_weight: float = 0.0

    def predict(self, features: Sequence[Features]) -> Prediction:
        """Predict for n prompts. Uncertainty is 1 less the lead of the first expert."""
        encoded = self.encoder.encode(features)
        found = evidence(encoded)
        m = len(self.experts)
        predicted = self.head.logits(encoded).astype(np.float64) * found[:, None]
        score = self.mean + predicted[:, :m]
        cost = self.mean_cost * np.clip(1.0 + predicted[:, m:], _LEAST, _MOST)
        utility = believed(self.mean, score, self.trust) - self.cost_weight * cost
        return Prediction(score, utility, np.where(found, closeness(utility), 1.0), found)

    def weighing(self, cost_weight: float) -> Ridge:
        """The same model with another worth of cost."""
        return replace(self, cost_weight=cost_weight)

    def save(self, path: Path, embedder: EmbedderRef | None, facts: Mapping[str, Any] | None = None) -> str:
        """Write it, without `cost_weight`, which is a setting. Returns the revision."""
        about = RidgeAbout(
            experts=self.experts,
            embedder=embedder,
            mean=tuple(self.mean.tolist()),
            mean_cost=tuple(self.mean_cost.tolist()),
            cost_unit=self.cost_unit,
            trust=self.trust,
            facts=dict(facts or {}),
        )
        return write(path, KIND, about, self.encoder, self.head.tensors())


def load_ridge(path: Path, find: FindEmbedder, cost_weight: float = 0.0) -> tuple[Ridge, str]:
    """Load a ridge router and its revision. Raises `ArtifactError`."""
    about, saved = read(path, KIND, RidgeAbout, find)
    saved.tensor("bias", (2 * len(about.experts),), path)
    model = Ridge(
        experts=about.experts,
        encoder=saved.encoder,
        head=LinearHead.from_tensors(saved.tensors),
        mean=np.array(about.mean),
        mean_cost=np.array(about.mean_cost),
        cost_unit=about.cost_unit,
        trust=about.trust,
        cost_weight=cost_weight,
    )
    return model, saved.revision


def fit_ridge(
    outcomes: Outcomes,
    cards: Mapping[str, Card],
    *,
    embedder: Embedder | None,
    seed: int,
    penalty: float = PENALTY,
    folds: int = 3,
) -> tuple[Ridge, Mapping[str, Any]]:
    """Fit scores and costs; choose on held-out prompts how far to believe the scores.

    Returns:
        The model with a `cost_weight` of 0, and facts about the fit.

    Raises:
        DataError: fewer than two experts have scores.
        PluginError: the extra `train` is not installed.
    """
    scores = filled(outcomes)
    recorded = recorded_evidence(outcomes, cards)
    known = np.isfinite(recorded.cost)
    count = np.maximum(known.sum(axis=0), 1)
    mean_cost: Floats = np.where(known, recorded.cost, 0.0).sum(axis=0) / count
    # An expert whose price nobody knows must not look cheap.
    mean_cost = np.where(known.sum(axis=0) > 0, mean_cost, float(mean_cost.max()))
    relative = np.where(known & (mean_cost > 0), recorded.cost / np.where(mean_cost > 0, mean_cost, 1.0), 1.0)
    targets = np.hstack([scores, relative.clip(0.0, _MOST)])
    fitted = regress(outcomes, targets, embedder, penalty=penalty, folds=folds, seed=seed)
    m = len(outcomes.experts)
    mean = scores.mean(axis=0)
    trust = choose_trust(scores, mean, fitted.held_out[:, :m], seed=seed)
    model = Ridge(
        experts=outcomes.experts,
        encoder=fitted.encoder,
        head=fitted.head,
        mean=mean,
        mean_cost=mean_cost,
        cost_unit=recorded.cost_unit,
        trust=trust.share,
    )
    facts = {
        "prompts": len(scores),
        "gain": trust.gain,
        "gain_ci95": list(trust.gain_ci95),
        "penalty": penalty,
        "seed": seed,
        "without_cost": [outcomes.experts[e] for e in np.flatnonzero(known.sum(axis=0) == 0).tolist()],
    }
    return model, facts
