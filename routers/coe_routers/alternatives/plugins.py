"""The routers as plugins: settings and construction."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from coe.contracts import Build, Plugin, Router
from coe_routers.alternatives._cascade import load_cascade
from coe_routers.alternatives._cumulative import CumulativeRouter, load_cumulative
from coe_routers.alternatives._knn import load_knn
from coe_routers.alternatives._predicting import PredictingRouter
from coe_routers.alternatives._ridge import load_ridge
from coe_routers.alternatives._tree import load_tree
from coe_routers.artifact import load_router
from coe_routers.decisions import revision_of

ALGORITHM = "alternatives/1"
"""Changes when the same artifact and settings would decide differently."""


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    artifact: Path = Field(description="Folder with the fitted router.")


class KnnSettings(_Settings):
    """Keys of a router of kind `knn`."""

    search: Literal["numpy", "faiss", "ivf"] = Field(
        default="numpy",
        description="What searches the recorded prompts; `faiss` (extra: faiss) pays from about 10,000, "
        "`ivf` (the same extra, approximate) from about 100,000.",
    )


class RidgeSettings(_Settings):
    """Keys of a router of kind `ridge`."""

    cost_weight: float = Field(
        default=0.0,
        ge=0,
        description="Expected score (0..1) that one unit of cost is worth; the artifact names the unit.",
    )


class CascadeSettings(_Settings):
    """Keys of a router of kind `cascade`."""

    threshold: float | None = Field(
        default=None,
        ge=0,
        description="Least confidence for the weak expert; fitted by default, above 1 it never answers.",
    )


class CumulativeSettings(_Settings):
    """Keys of a router of kind `cumulative`."""

    p: float = Field(
        default=0.9, gt=0, le=1, description="Probability that the right expert is among the candidates."
    )
    pick: Literal["likeliest", "cheapest"] = Field(
        default="likeliest", description="Which candidate answers."
    )


class TreeSettings(_Settings):
    """Keys of a router of kind `expertise-tree`."""


def _folder(settings: _Settings, build: Build) -> Path:
    return build.base_dir / settings.artifact.expanduser()


def _knn(_name: str, settings: KnnSettings, build: Build) -> PredictingRouter:
    model, revision = load_knn(_folder(settings, build), build.embedder, settings.search)
    return PredictingRouter(model, revision_of(ALGORITHM, revision, settings.search))


def _ridge(_name: str, settings: RidgeSettings, build: Build) -> PredictingRouter:
    model, revision = load_ridge(_folder(settings, build), build.embedder, settings.cost_weight)
    return PredictingRouter(model, revision_of(ALGORITHM, revision, settings.cost_weight))


def _cascade(_name: str, settings: CascadeSettings, build: Build) -> PredictingRouter:
    model, revision = load_cascade(_folder(settings, build), build.embedder, settings.threshold)
    return PredictingRouter(model, revision_of(ALGORITHM, revision, settings.threshold))


def _cumulative(_name: str, settings: CumulativeSettings, build: Build) -> CumulativeRouter:
    path = _folder(settings, build)
    _, revision = load_router(path, build.embedder)
    return load_cumulative(
        path,
        build.embedder,
        p=settings.p,
        pick=settings.pick,
        revision=revision_of(ALGORITHM, revision, settings.p, settings.pick),
    )


def _tree(_name: str, settings: TreeSettings, build: Build) -> PredictingRouter:
    model, revision = load_tree(_folder(settings, build), build.embedder)
    return PredictingRouter(model, revision_of(ALGORITHM, revision))


def knn() -> Plugin[Router]:
    """The `knn` router."""
    return Plugin(KnnSettings, _knn, "Asks what the experts made of the most similar recorded prompts.")


def ridge() -> Plugin[Router]:
    """The `ridge` router."""
    return Plugin(
        RidgeSettings, _ridge, "Predicts every expert's score and cost, weighs one against the other."
    )


def cascade() -> Plugin[Router]:
    """The `cascade` router."""
    return Plugin(
        CascadeSettings, _cascade, "Sends a prompt to the weak expert where it is predicted to lose nothing."
    )


def cumulative() -> Plugin[Router]:
    """The `cumulative` router."""
    return Plugin(
        CumulativeSettings,
        _cumulative,
        "As many candidates as it takes until one is right with probability p.",
    )


def expertise_tree() -> Plugin[Router]:
    """The `expertise-tree` router."""
    return Plugin(TreeSettings, _tree, "Splits prompts only where another expert becomes the best one.")
