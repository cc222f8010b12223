"""The router that `coe train` and `coe optimize` make: classifier and rule."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from coe.contracts import GENERAL, Build, Decision, Features, Plugin, PoolView, Ranked, Reason, Router
from coe_routers.artifact import FindEmbedder, load_router
from coe_routers.decisions import decide, revision_of
from coe_routers.expected._saved import load_rule
from coe_routers.rules import Rule

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe.contracts import Classifier
    from coe_routers.classifiers import Abstention

ALGORITHM = "expected/1"
"""Changes when the same artifact would decide differently."""
_TOP_CATEGORIES = 5


class ExpectedRouter:
    """Decides by the rule of a trained router.

    Args:
        classifier: prompt to category probabilities.
        rule: probabilities to expert; its rows are the classifier's categories and `general`.
        abstention: when a prompt is `general`.
        revision: hash of all three.
    """

    def __init__(self, classifier: Classifier, rule: Rule, *, abstention: Abstention, revision: str) -> None:
        self._classifier = classifier
        self._rule = rule
        self._abstention = abstention
        self._revision = revision

    @property
    def revision(self) -> str:
        """Hash of classifier, rule and limit."""
        return self._revision

    @property
    def experts(self) -> tuple[str, ...]:
        """Experts that the rule knows."""
        return self._rule.experts

    def route(self, features: Features, view: PoolView) -> Decision:
        """Decide for one request."""
        return self.route_batch([features], view)[0]

    def route_batch(self, features: Sequence[Features], view: PoolView) -> list[Decision]:
        """Decide for many requests; the same decisions as one by one."""
        if not features:
            return []
        found = self._classifier.classify(features)
        return [
            self._decide(each, view, probabilities, uncertainty, unsure)
            for each, probabilities, uncertainty, unsure in zip(
                features,
                found.probabilities,
                found.uncertainty.tolist(),
                self._abstention.reasons(found),
                strict=True,
            )
        ]

    def _decide(
        self,
        features: Features,
        view: PoolView,
        probabilities: NDArray[np.float32],
        uncertainty: float,
        unsure: Reason | None,
    ) -> Decision:
        uncertain = unsure is not None
        # One row at a time: a matrix product of another shape may round differently.
        scores, worths = self._rule.scores(probabilities[None, :].astype(np.float64), np.array([uncertain]))
        order: list[int] = np.argsort(-worths[0], kind="stable").tolist()
        expected: list[float] = np.clip(scores[0], 0.0, 1.0).round(4).tolist()
        names = self._classifier.categories
        top: list[int] = np.argsort(-probabilities, kind="stable")[:_TOP_CATEGORIES].tolist()
        return decide(
            features,
            view,
            [Ranked(self._rule.experts[e], expected[e]) for e in order if worths[0, e] > -np.inf],
            revision=self._revision,
            category=GENERAL if uncertain else names[top[0]],
            probabilities=tuple((names[c], round(float(probabilities[c]), 4)) for c in top),
            uncertainty=uncertainty,
            unsure=unsure,
        )


def load_expected(path: Path, find: FindEmbedder) -> ExpectedRouter:
    """Load the router of a folder that `coe train` wrote. Raises `ArtifactError`."""
    artifact, revision = load_router(path, find)
    rule = load_rule(path, artifact.facts, len(artifact.classifier.categories))
    return ExpectedRouter(
        artifact.classifier,
        rule,
        abstention=artifact.abstention,
        revision=revision_of(ALGORITHM, revision),
    )


class ExpectedSettings(BaseModel):
    """Keys of a router of kind `expected`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    artifact: Path = Field(description="Folder made by `coe train`.")


def _create(_name: str, settings: ExpectedSettings, build: Build) -> ExpectedRouter:
    return load_expected(build.base_dir / settings.artifact.expanduser(), build.embedder)


PLUGIN: Plugin[Router] = Plugin(
    settings=ExpectedSettings,
    create=_create,
    description="Takes the expert of highest expected score over what the prompt's category may be.",
)
