"""A router that ranks the experts by what a model predicts for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from coe.contracts import GENERAL, Decision, Features, PoolView, Ranked, Reason
from coe_routers.alternatives._prediction import Prediction
from coe_routers.decisions import decide


class Model(Protocol):
    """What predicts how well each expert would do."""

    @property
    def experts(self) -> tuple[str, ...]:
        """Names of the columns of a prediction."""
        ...

    def predict(self, features: Sequence[Features]) -> Prediction:
        """Predict for n prompts; row by row, so that a batch gives what single prompts give."""
        ...


class PredictingRouter:
    """Ranks the experts by what a model predicts for the prompt.

    Args:
        model: predicts scores and what is maximised.
        revision: hash of the model and its settings.
    """

    def __init__(self, model: Model, revision: str) -> None:
        self.model = model
        self._revision = revision

    @property
    def revision(self) -> str:
        """Hash of the model and its settings."""
        return self._revision

    def route(self, features: Features, view: PoolView) -> Decision:
        """Decide for one request."""
        return self.route_batch([features], view)[0]

    def route_batch(self, features: Sequence[Features], view: PoolView) -> list[Decision]:
        """Decide for many requests; the same decisions as one by one."""
        if not features:
            return []
        found = self.model.predict(features)
        order: list[list[int]] = (-found.utility).argsort(axis=1, kind="stable").tolist()
        scores: list[list[float]] = found.score.clip(0.0, 1.0).round(4).tolist()
        return [
            decide(
                each,
                view,
                [Ranked(self.model.experts[column], scores[row][column]) for column in order[row]],
                revision=self._revision,
                category=found.category[row] if found.category else GENERAL,
                uncertainty=float(found.uncertainty[row]),
                unsure=None if found.evidence[row] else Reason.UNCERTAIN,
            )
            for row, each in enumerate(features)
        ]
