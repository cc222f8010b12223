"""A bundle in service: experts of kind `mop`, and the router of the same name."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from coe.contracts import (
    Build,
    Card,
    Context,
    Decision,
    Embedder,
    Expert,
    ExpertName,
    Features,
    Plugin,
    PoolView,
    Ranked,
    Reason,
    Reply,
    Startable,
)
from coe.errors import ConfigError
from coe.wire import ChatRequest, last_user_text
from coe_mop._bundle import SINGLE, Bundle, read_bundle
from coe_mop._prompts import Prompt

_CHARS_PER_TOKEN = 4
_ALGORITHM = "mop/1"


class MopExpertSettings(BaseModel):
    """Keys of an expert of kind `mop`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundle: Path = Field(description="Folder that `coe mop build` wrote.")
    base: ExpertName = Field(description="Name of the expert that answers.")
    region: int | Literal["single"] | None = Field(
        default=None,
        description="The prompt of this region, or the single best one; without it, each request's own.",
    )


class MopRouterSettings(BaseModel):
    """Keys of a router of kind `mop`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundle: Path = Field(description="Folder that `coe mop build` wrote.")
    regions: tuple[ExpertName, ...] = Field(
        min_length=1, description="The expert of each region, in the bundle's order."
    )
    single: ExpertName = Field(description="The expert for prompts whose margin is too small.")
    min_margin: float | None = Field(
        default=None, ge=0, le=1, description="Below this margin `single` answers; the bundle's by default."
    )


def create_expert(name: str, settings: MopExpertSettings, build: Build) -> Expert:
    """Build the expert.

    Raises:
        ConfigError: the bundle has no such region, or there is no such base.
        ArtifactError: the bundle is refused.
    """
    bundle, embedder = read_bundle(build.base_dir / settings.bundle.expanduser(), build.embedder)
    base = build.expert(settings.base)
    if settings.region is None:
        prompts = (*bundle.prompts, bundle.single)
        experts = [_prompt_expert(name, prompt, settings.base, base.card, build) for prompt in prompts]
        card = build.card(_card(name, max(prompts, key=lambda prompt: prompt.chars), base.card))
        return RoutedPrompts(card, bundle, embedder, base, experts)
    if settings.region == SINGLE:
        return _prompt_expert(name, bundle.single, settings.base, base.card, build)
    if not 0 <= settings.region < len(bundle.prompts):
        raise ConfigError(
            f"experts.{name}.region is {settings.region}; the bundle has 0 to {len(bundle.prompts) - 1}."
        )
    return _prompt_expert(name, bundle.prompts[settings.region], settings.base, base.card, build)


def _prompt_expert(name: str, prompt: Prompt, base_name: str, base: Card, build: Build) -> Expert:
    """The prompt as an expert of coe's own kind `prompt`, so that it is served as any other."""
    settings: dict[str, Any] = {
        "base": base_name,
        "instruction": prompt.instruction,
        "demonstrations": [{"input": asked, "output": said} for asked, said in prompt.demos],
    }
    return build.nested("prompt", settings, build.card(_card(name, prompt, base)))


def _card(name: str, prompt: Prompt, base: Card) -> Card:
    window = base.context_window
    own_tokens = prompt.chars // _CHARS_PER_TOKEN
    return dataclasses.replace(
        base,
        name=name,
        kind="prompt",
        context_window=None if window is None else max(1, window - own_tokens),
        description=f"Prompts from examples on `{base.name}`.",
    )


class RoutedPrompts:
    """All prompts of a bundle as one expert: each request gets the prompt of its region.

    Args:
        card: declared facts.
        bundle, embedder: the regions.
        base: who answers; belongs to the pool and is not closed here.
        experts: of each region, and the single one last.
    """

    def __init__(
        self, card: Card, bundle: Bundle, embedder: Embedder, base: Expert, experts: Sequence[Expert]
    ) -> None:
        self._card = card
        self._bundle = bundle
        self._embedder = embedder
        self._base = base
        self._experts = experts

    @property
    def card(self) -> Card:
        """Its declared facts."""
        return self._card

    @property
    def awake(self) -> bool:
        """Whether the base can answer at once."""
        return self._base.awake if isinstance(self._base, Startable) else True

    async def start(self) -> None:
        """Wake the base. Raises `ExpertUnavailable` with the reason."""
        if isinstance(self._base, Startable):
            await self._base.start()

    async def complete(self, request: ChatRequest, context: Context) -> Reply:
        """Answer with the prompt of the last user turn's region; raises what the base raises."""
        routed = self._bundle.route([last_user_text(request.body)], self._embedder)
        unsure = float(routed.margin[0]) < self._bundle.min_margin
        chosen = self._experts[-1 if unsure else int(routed.region[0])]
        return await chosen.complete(request, context)

    async def aclose(self) -> None:
        """Close the prompts; they hold nothing of their own."""
        for expert in self._experts:
            await expert.aclose()


class MopRouter:
    """The region's expert first, then the single one, then the other regions by distance, then the rest.

    Args:
        bundle, embedder: the regions.
        regions: the expert of each region.
        single: the expert for small margins.
        min_margin: 0..1.
    """

    def __init__(
        self, bundle: Bundle, embedder: Embedder, regions: Sequence[str], single: str, min_margin: float
    ) -> None:
        self._bundle = bundle
        self._embedder = embedder
        self._regions = regions
        self._single = single
        self._min_margin = min_margin
        told = json.dumps(
            [_ALGORITHM, bundle.revision, embedder.fingerprint, list(regions), single, min_margin]
        )
        self._revision = hashlib.sha256(told.encode()).hexdigest()

    @property
    def revision(self) -> str:
        """Hash of the bundle, the embedder and the settings."""
        return self._revision

    def route(self, features: Features, view: PoolView) -> Decision:
        """Decide for one request."""
        return self.route_batch([features], view)[0]

    def route_batch(self, features: Sequence[Features], view: PoolView) -> list[Decision]:
        """Decide for many requests; the same decisions as one by one."""
        if not features:
            return []
        # One by one: a matrix product of many rows may round otherwise than that of one.
        return [self._decide(each, view) for each in features]

    def _decide(self, features: Features, view: PoolView) -> Decision:
        routed = self._bundle.route([features.text], self._embedder)
        region, margin = int(routed.region[0]), float(routed.margin[0])
        unsure = margin < self._min_margin
        own = [self._regions[region], self._single]
        if unsure:
            own.reverse()
        names = [
            name for name in dict.fromkeys((*own, *self._regions, *view.experts)) if name in view.experts
        ]
        names.sort(key=lambda name: not view.experts[name].healthy)
        reason = Reason.UNCERTAIN if unsure else Reason.CATEGORY
        if len(view.experts) == 1:
            reason = Reason.ONLY_ELIGIBLE
        elif not {*self._regions, self._single} & view.experts.keys():
            reason = Reason.UNMAPPED
        elif (sticky := features.sticky_expert) is not None and sticky in view.experts:
            names.sort(key=lambda name: name != sticky)
            reason = Reason.SESSION
        return Decision(
            expert=names[0],
            ranked=tuple(map(Ranked, names)),
            reason=reason,
            category=f"region-{region}",
            uncertainty=round(1 - margin, 4),
            revision=self._revision,
        )


def create_router(name: str, settings: MopRouterSettings, build: Build) -> MopRouter:
    """Build the router.

    Raises:
        ConfigError: not one expert for each region, or an expert that the pool does not have.
        ArtifactError: the bundle is refused.
    """
    bundle, embedder = read_bundle(build.base_dir / settings.bundle.expanduser(), build.embedder)
    if len(settings.regions) != len(bundle.prompts):
        raise ConfigError(
            f"routers.{name}.regions names {len(settings.regions)} experts; the bundle has "
            f"{len(bundle.prompts)} regions."
        )
    for expert in dict.fromkeys((*settings.regions, settings.single)):
        build.expert(expert)
    limit = bundle.min_margin if settings.min_margin is None else settings.min_margin
    return MopRouter(bundle, embedder, settings.regions, settings.single, limit)


EXPERT: Plugin[Expert] = Plugin(
    MopExpertSettings, create_expert, "Prompts that `coe mop build` made from examples, on a base expert"
)
ROUTER = Plugin(MopRouterSettings, create_router, "The prompt of the region that the input lies in")
