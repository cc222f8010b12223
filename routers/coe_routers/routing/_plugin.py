"""The `two-step` router as a plugin: settings and construction."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from coe.contracts import GENERAL, Build, ExpertName, Plugin, Ranked
from coe.errors import ConfigError
from coe_routers.artifact import ExpertMap, load_router
from coe_routers.classifiers import Abstention
from coe_routers.routing._agreement import Agreement
from coe_routers.routing._two_step import TwoStepRouter

BUILTIN = Path(__file__).parents[1] / "builtin" / "router"
ALGORITHM = "two-step/1"
"""Changes when the same artifact and settings would decide differently."""


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class TwoStepSettings(BaseModel):
    """Keys of a router of kind `two-step`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    artifact: Path | None = Field(
        default=None, description="Folder made by `coe train`; the built-in classifier by default."
    )
    map: dict[str, Annotated[tuple[ExpertName, ...], BeforeValidator(_as_list), Field(min_length=1)]] = Field(
        default_factory=dict[str, tuple[str, ...]],
        description="Category to its expert, or to several, best first; overrides the artifact's map.",
    )
    awake_tolerance: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Expected score (0..1) that may be given up for an expert that is awake.",
    )
    uncertainty_limit: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Above this uncertainty a prompt is `general`; calibrated by default, 1 never abstains.",
    )
    guarded: frozenset[ExpertName] = Field(
        default=frozenset(),
        description="Costly experts that answer only what all parts of the prompt send to such an expert.",
    )


def create(name: str, settings: TwoStepSettings, build: Build) -> TwoStepRouter:
    """Build the router.

    Raises:
        ConfigError: the map names a category that the classifier does not know, or an unknown expert.
        ArtifactError: the artifact is refused.
    """
    path = BUILTIN if settings.artifact is None else build.base_dir / settings.artifact.expanduser()
    artifact, revision = load_router(path, build.embedder)
    categories = (*artifact.classifier.categories, GENERAL)
    for expert in dict.fromkeys(expert for experts in settings.map.values() for expert in experts):
        build.expert(expert)  # raises for a name that the pool does not have
    expert_map = {**artifact.expert_map, **_configured(name, settings.map, categories)}
    for expert in sorted(settings.guarded):
        build.expert(expert)
    abstention = _abstention(artifact.abstention, settings.uncertainty_limit)
    return TwoStepRouter(
        artifact.classifier,
        expert_map,
        abstention=abstention,
        awake_tolerance=settings.awake_tolerance,
        revision=_revision(revision, expert_map, abstention, settings),
        agreement=Agreement(settings.guarded) if settings.guarded else None,
    )


def _abstention(calibrated: Abstention, limit: float | None) -> Abstention:
    if limit is None:
        return calibrated
    return Abstention(uncertainty_limit=1.0) if limit == 1 else replace(calibrated, uncertainty_limit=limit)


def _configured(name: str, configured: Mapping[str, Iterable[str]], categories: Iterable[str]) -> ExpertMap:
    known = list(categories)
    for category in configured:
        if category not in known:
            close = difflib.get_close_matches(category, known, n=1)
            hint = f"Did you mean `{close[0]}`?" if close else f"Its categories: {', '.join(known)}."
            raise ConfigError(
                f"`routers.{name}.map` names the category `{category}`, which the classifier does not know.",
                hint=hint,
            )
    return {category: tuple(map(Ranked, experts)) for category, experts in configured.items()}


def _revision(artifact: str, expert_map: ExpertMap, abstention: Abstention, settings: TwoStepSettings) -> str:
    plain = {
        category: [[ranked.expert, ranked.score] for ranked in experts]
        for category, experts in sorted(expert_map.items())
    }
    facts = [
        ALGORITHM,
        artifact,
        plain,
        asdict(abstention),
        settings.awake_tolerance,
        sorted(settings.guarded),
    ]
    told = json.dumps(facts, ensure_ascii=False)
    return hashlib.sha256(told.encode()).hexdigest()


PLUGIN = Plugin(
    settings=TwoStepSettings,
    create=create,
    description="Classifies the prompt, then takes the category's best eligible expert.",
)
