"""What a router, its classifier and embedder, and a cache of decisions must be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from coe.contracts._experts import Capability, Card

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GENERAL = "general"
"""The category that always exists: where a prompt goes when the classifier does not know."""


@dataclass(frozen=True, slots=True)
class ToolFact:
    """Name and description of a tool that the request offers."""

    name: str
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What routing may look at. Everything else of a request is invisible to a router.

    Attributes:
        text: the last user turn.
        tools: the tools on offer.
        required: capabilities that an expert must have to serve the request.
        tokens: estimated tokens of prompt and requested completion together.
        sticky_expert: the expert that the caller's session is with, if any.
    """

    text: str
    tools: tuple[ToolFact, ...] = ()
    required: frozenset[Capability] = frozenset({"chat"})
    tokens: int = 0
    sticky_expert: str | None = None


@dataclass(frozen=True, slots=True)
class ExpertState:
    """One expert as routing sees it; `load` is that of `Loaded`, 0 for an expert that does not know."""

    card: Card
    healthy: bool = True
    awake: bool = True
    load: int = 0


@dataclass(frozen=True, slots=True)
class PoolView:
    """An immutable snapshot of the experts that may be chosen.

    Attributes:
        experts: by name, in the order of the configuration.
        digest: hash of all that a router may depend on; part of the decision cache's key.
    """

    experts: Mapping[str, ExpertState]
    digest: str


class Reason(StrEnum):
    """Why the chosen expert was chosen. A closed list: dashboards depend on it."""

    CATEGORY = "category"
    """The best eligible expert of the prompt's category."""
    UNCERTAIN = "uncertain"
    """The classifier did not know: the best eligible expert of `general`."""
    AMBIGUOUS = "ambiguous"
    """More categories are plausible than the classifier may leave open: as `uncertain`."""
    FAR = "far"
    """Far from every prompt that the classifier was trained on: as `uncertain`."""
    AWAKE = "awake"
    """An awake expert within the tolerance of a better one that sleeps."""
    LESS_LOADED = "less_loaded"
    """A replica of the best one that is less busy."""
    SESSION = "session"
    """The session's expert, still eligible."""
    REQUESTED = "requested"
    """The caller named the expert; nothing was routed."""
    ONLY_ELIGIBLE = "only_eligible"
    """No other expert can serve the request."""
    UNMAPPED = "unmapped"
    """No expert of the category's list is eligible: the first eligible of the pool."""
    ROUTER_FAILED = "router_failed"
    """The router raised: the first eligible of the pool."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """An expert in the order of preference; `score` is its expected score in 0..1 when the map has one."""

    expert: str
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Excluded:
    """An expert that could not serve the request, and why, in words."""

    expert: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The outcome of one routing. A pure function of features, pool view and router revision.

    Attributes:
        expert: the chosen expert.
        ranked: eligible experts by preference, the chosen one first: fallback goes down this list.
        reason: why.
        category: the prompt's category; `general` when uncertain.
        probabilities: the most probable categories with calibrated probabilities, highest first.
        uncertainty: 0 (sure) .. 1 (no idea).
        excluded: experts that could not serve the request.
        revision: of the router that decided.
        propensity: the probability, above 0, with which the policy chooses `expert` for these features and
            this view: 1 for a router that always takes the best; one that explores by a seed says so here.
            The journal keeps it: estimates of other policies divide by it.
    """

    expert: str
    ranked: tuple[Ranked, ...]
    reason: Reason
    category: str = GENERAL
    probabilities: tuple[tuple[str, float], ...] = ()
    uncertainty: float = 0.0
    excluded: tuple[Excluded, ...] = ()
    revision: str = ""
    propensity: float = 1.0


class Router(Protocol):
    """Features and a pool view in, a decision out. Pure: no I/O, no clock, no hidden randomness."""

    @property
    def revision(self) -> str:
        """Hash of everything that a decision depends on besides its arguments."""
        ...

    def route(self, features: Features, view: PoolView) -> Decision:
        """Decide. `view` holds eligible experts only, at least one."""
        ...

    def route_batch(self, features: Sequence[Features], view: PoolView) -> list[Decision]:
        """Decide for many at once; the same decisions as `route` one by one."""
        ...


@dataclass(frozen=True, slots=True)
class Classification:
    """What a classifier says of n prompts.

    Attributes:
        probabilities: calibrated, float32[n, c] over categories.
        uncertainty: float32[n] in 0..1.
        distance: float32[n], how far each prompt is from what was trained on; None where that is not known.
    """

    probabilities: NDArray[np.float32]
    uncertainty: NDArray[np.float32]
    distance: NDArray[np.float32] | None = None


class Classifier(Protocol):
    """Prompt features to calibrated category probabilities (the first step of the two-step router)."""

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the columns of `probabilities`, without `general`."""
        ...

    def classify(self, features: Sequence[Features]) -> Classification:
        """Classify n prompts."""
        ...


class Embedder(Protocol):
    """Text to vectors."""

    @property
    def fingerprint(self) -> str:
        """Hash that changes whenever the vectors would."""
        ...

    @property
    def dim(self) -> int:
        """Length of a vector."""
        ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32[n, dim], rows of unit norm (or zero for a text without any known token)."""
        ...


class DecisionCache(Protocol):
    """Where decisions are kept. Never raises for a missing or unreachable store: that is a miss."""

    async def get(self, key: bytes) -> Decision | None:
        """The decision stored under the key, or None."""
        ...

    async def set(self, key: bytes, decision: Decision, ttl_s: float) -> None:
        """Keep the decision for `ttl_s` seconds."""
        ...

    async def aclose(self) -> None:
        """Free what it holds."""
        ...
