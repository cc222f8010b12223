"""Weak or strong: the weak expert answers where it is predicted to lose nothing.

Source: Mixture of Weak and Strong Experts (Mowst), where the weak expert's own confidence decides. A router
decides before anyone has answered, so the confidence is predicted from the prompt alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from pydantic import Field

from coe.errors import DataError
from coe_routers.alternatives._linear import regress
from coe_routers.alternatives._prediction import Bools, Floats, Prediction
from coe_routers.alternatives._saved import About, read, write
from coe_routers.alternatives._targets import filled
from coe_routers.classifiers import LinearHead, evidence
from coe_routers.mapping import evidence as recorded_evidence

if TYPE_CHECKING:
    from coe.contracts import Card, Embedder, Features
    from coe_routers.artifact import EmbedderRef, FindEmbedder
    from coe_routers.features import Encoder
    from coe_routers.outcomes import Outcomes

KIND = "cascade-router"
PENALTY = 30.0
_NEVER = 2.0
"""A threshold that no confidence reaches."""


class CascadeAbout(About):
    """Facts of a saved cascade: experts are weak, then strong."""

    mean: float
    mean_scores: tuple[float, float]
    threshold: float = Field(ge=0)
    knots: int = Field(ge=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade:
    """A weak and a strong expert and the confidence between them.

    Attributes:
        experts: weak, strong.
        encoder: how prompts are read.
        head: one column, the predicted confidence less `mean`, not calibrated.
        mean: of the confidence.
        knots: float64[2, k], raw prediction to calibrated confidence, rising.
        mean_scores: float64[2], of weak and strong.
        threshold: least confidence for the weak expert; above 1 it never answers.
    """

    experts: tuple[str, ...]
    encoder: Encoder
    head: LinearHead
    mean: float
    knots: Floats
    mean_scores: Floats
    threshold: float

    def confidence(self, features: Sequence[Features]) -> tuple[Floats, Bools]:
        """Chance float64[n] that the weak expert loses nothing, and whether there is evidence, bool[n]."""
        encoded = self.encoder.encode(features)
        found = evidence(encoded)
        raw = self.head.logits(encoded)[:, 0].astype(np.float64) * found + self.mean
        return _calibrated(raw, self.knots), found

    def predict(self, features: Sequence[Features]) -> Prediction:
        """Predict for n prompts. Prompts in which nothing can be read go to the strong expert."""
        confidence, found = self.confidence(features)
        weak = (confidence >= self.threshold) & found
        # The order is all that is decided here: the confidence is no expert's expected score.
        utility = np.stack([weak, ~weak], axis=1).astype(np.float64)
        score = np.tile(self.mean_scores, (len(confidence), 1))
        uncertainty = np.where(found, 1.0 - np.abs(2.0 * confidence - 1.0), 1.0)
        return Prediction(score, utility, uncertainty, found)

    def save(self, path: Path, embedder: EmbedderRef | None, facts: Mapping[str, Any] | None = None) -> str:
        """Write it. Returns the revision."""
        about = CascadeAbout(
            experts=self.experts,
            embedder=embedder,
            mean=self.mean,
            mean_scores=(float(self.mean_scores[0]), float(self.mean_scores[1])),
            threshold=self.threshold,
            knots=self.knots.shape[1],
            facts=dict(facts or {}),
        )
        tensors = {**self.head.tensors(), "knots": self.knots.astype(np.float32)}
        return write(path, KIND, about, self.encoder, tensors)


def load_cascade(path: Path, find: FindEmbedder, threshold: float | None = None) -> tuple[Cascade, str]:
    """Load a cascade, with its own threshold or another one, and its revision. Raises `ArtifactError`."""
    about, saved = read(path, KIND, CascadeAbout, find)
    saved.tensor("bias", (1,), path)
    model = Cascade(
        experts=about.experts,
        encoder=saved.encoder,
        head=LinearHead.from_tensors(saved.tensors),
        mean=about.mean,
        knots=saved.tensor("knots", (2, about.knots), path).astype(np.float64),
        mean_scores=np.array(about.mean_scores),
        threshold=about.threshold if threshold is None else threshold,
    )
    return model, saved.revision


def fit_cascade(
    outcomes: Outcomes,
    cards: Mapping[str, Card],
    *,
    embedder: Embedder | None,
    seed: int,
    strong: str | None = None,
    weak: str | None = None,
    max_loss: float = 0.01,
    penalty: float = PENALTY,
    folds: int = 3,
) -> tuple[Cascade, Mapping[str, Any]]:
    """Fit the confidence, choose the weak expert and the threshold on held-out prompts.

    The threshold is the lowest at which the gain in mean score over the strong expert, less its standard
    error, stays within `max_loss` of the best that any threshold reaches, and of nothing. Of several weak
    experts the one that saves most cost is taken.

    Args:
        outcomes: recorded scores.
        cards: sizes and prices of the experts.
        embedder: gives the dense part of the features; None for n-grams alone.
        seed: of folds.
        strong: by default the expert with the best mean score.
        weak: by default chosen among all that cost less than `strong`.
        max_loss: mean score (0..1) over all prompts that may be given up for the savings.
        penalty: of the squared weights.
        folds: held-out predictions are made in so many parts.

    Raises:
        DataError: an expert is unknown, or none costs less than the strong one.
        PluginError: the extra `train` is not installed.
    """
    scores = filled(outcomes)
    recorded = recorded_evidence(outcomes, cards)
    with np.errstate(invalid="ignore"):
        cost = np.array([_mean(column) for column in recorded.cost.T])
    top = int(scores.mean(axis=0).argmax()) if strong is None else _column(outcomes, strong)
    if weak is not None:
        columns = np.array([_column(outcomes, weak)])
    else:
        columns = np.flatnonzero(cost < cost[top])
        if not len(columns):
            raise DataError(
                f"No expert is known to cost less than `{outcomes.experts[top]}`.",
                hint="Name the weak expert, or give prices or sizes in models.json.",
            )
    lead = scores[:, columns] - scores[:, [top]]
    fitted = regress(outcomes, 1.0 + np.minimum(lead, 0.0), embedder, penalty=penalty, folds=folds, seed=seed)
    cuts = [_cut(fitted.held_out[:, c], lead[:, c], max_loss) for c in range(len(columns))]
    saved = [
        0.0 if cut is None or not np.isfinite(cost[e]) else cut[1] * (cost[top] - cost[e])
        for cut, e in zip(cuts, columns.tolist(), strict=True)
    ]
    best = int(np.argmax(saved)) if weak is None else 0
    knots = calibration(fitted.held_out[:, best], 1.0 + np.minimum(lead[:, best], 0.0))
    cut = cuts[best]
    pair: list[int] = [int(columns[best]), top]
    head = fitted.head
    assert head.lexical is not None
    model = Cascade(
        experts=tuple(outcomes.experts[e] for e in pair),
        encoder=fitted.encoder,
        head=LinearHead(
            lexical=np.ascontiguousarray(head.lexical[:, [best]]),
            lexical_scales=head.lexical_scales,
            dense=None if head.dense is None else np.ascontiguousarray(head.dense[:, [best]]),
            bias=head.bias[[best]],
        ),
        mean=float(fitted.mean[best]),
        knots=knots,
        mean_scores=scores[:, pair].mean(axis=0),
        threshold=_NEVER if cut is None else float(_calibrated(np.array([cut[0]]), knots)[0]),
    )
    facts = {
        "prompts": len(scores),
        "weak_share": 0.0 if cut is None else cut[1],
        "max_loss": max_loss,
        "penalty": penalty,
        "seed": seed,
    }
    return model, facts


def calibration(raw: Floats, target: Floats) -> Floats:
    """Isotonic regression of targets float64[n] on raw predictions float64[n]: knots float64[2, k].

    Pools adjacent violators; each knot is the mean of its block, at the block's mean prediction.
    """
    order = np.argsort(raw, kind="stable")
    blocks: list[tuple[float, float, int]] = []
    for x, y in zip(raw[order].tolist(), target[order].tolist(), strict=True):
        sum_x, sum_y, count = x, y, 1
        while blocks and blocks[-1][1] / blocks[-1][2] >= sum_y / count:
            before = blocks.pop()
            sum_x, sum_y, count = sum_x + before[0], sum_y + before[1], count + before[2]
        blocks.append((sum_x, sum_y, count))
    return np.array([[block[0] / block[2] for block in blocks], [block[1] / block[2] for block in blocks]])


def _cut(raw: Floats, lead: Floats, max_loss: float) -> tuple[float, float] | None:
    """Lowest raw prediction and largest share for the weak expert within the loss, if there are any."""
    order = np.argsort(-raw, kind="stable")
    n = len(raw)
    gain = np.cumsum(lead[order]) / n
    sure = gain - np.sqrt(np.maximum(np.cumsum(lead[order] ** 2) / n - gain**2, 0.0) / n)
    fits = np.flatnonzero(sure >= max(0.0, float(sure.max())) - max_loss - 1e-12)
    if not len(fits):
        return None
    last = int(fits[-1])
    return float(raw[order][last]), (last + 1) / n


def _calibrated(raw: Floats, knots: Floats) -> Floats:
    return cast("Floats", np.interp(raw, knots[0], knots[1]))


def _mean(column: Floats) -> float:
    known = column[np.isfinite(column)]
    return float(known.mean()) if len(known) else float("nan")


def _column(outcomes: Outcomes, name: str) -> int:
    if name not in outcomes.experts:
        raise DataError(f"No outcomes of `{name}`.", hint=f"Recorded are: {', '.join(outcomes.experts)}.")
    return outcomes.experts.index(name)
