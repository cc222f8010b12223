"""The whole plugin contract: what an expert, a router, an embedder and a cache must be.

Plugins import this module, `coe.errors` and `coe.wire`, and nothing else of coe. It does no I/O and imports
nothing heavy; numpy and pydantic appear in annotations only.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

import msgspec

from coe.wire import ChatRequest, EmbeddingRequest, PromptRequest, Usage

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from pydantic import BaseModel

Capability = Literal["chat", "stream", "tools", "vision", "json_schema", "score", "embed", "complete"]
ExpertKind = Literal["model", "prompt", "adapter", "reward", "composite"]
GENERAL = "general"
"""The category that always exists: where a prompt goes when the classifier does not know."""

T_co = TypeVar("T_co", covariant=True)


# --- experts -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """An expert's declared facts.

    Attributes:
        name: its name in the pool.
        kind: what sort of thing answers.
        capabilities: what it can serve; checked before any score.
        context_window: tokens of prompt and completion together; None when unknown.
        params_b, active_params_b: billions of parameters, in all and active per token.
        input_usd_per_mtok, output_usd_per_mtok: list price, USD per million tokens.
        domains: free words that describe what it is good at.
        license: SPDX id of the weights or terms, where known.
        locality: `local` when prompts stay on this machine.
        description: one sentence for people.
    """

    name: str
    kind: ExpertKind = "model"
    capabilities: frozenset[Capability] = frozenset({"chat", "stream"})
    context_window: int | None = None
    params_b: float | None = None
    active_params_b: float | None = None
    input_usd_per_mtok: float | None = None
    output_usd_per_mtok: float | None = None
    domains: tuple[str, ...] = ()
    license: str | None = None
    locality: Literal["local", "remote"] = "remote"
    description: str = ""


class Context(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What travels with one request.

    Attributes:
        tenant: whose request it is; the hard partition of caches and budgets.
        request_id: id of the request, also the decision id.
        deadline: when the caller stops waiting, in seconds of `clock`.
        clock: monotonic seconds.
        traceparent: W3C trace context to pass on, if any.

    Cancellation is asyncio's: when the caller goes away the expert's task is cancelled.
    """

    tenant: str
    request_id: str
    deadline: float
    clock: Callable[[], float]
    traceparent: str | None = None

    def remaining_s(self) -> float:
        """Seconds until the deadline; negative when it has passed."""
        return self.deadline - self.clock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One answer that a composite expert had to choose from.

    Attributes:
        expert: who gave it.
        reward: its score; None where it was not scored.
        tokens: of prompt and completion together, as the expert reported them; None where it did not.
        cost_usd: what it cost, where that is known.
        chosen: whether it became the answer.
        error: code of the error that came instead, or `cancelled`; empty for an answer.
    """

    expert: str
    reward: float | None = None
    tokens: int | None = None
    cost_usd: float | None = None
    chosen: bool = False
    error: str = ""


@dataclass(slots=True, kw_only=True)
class Reply:
    """An expert's answer: either one JSON `body` or `chunks`, a generator of SSE bytes.

    Attributes:
        body: the chat.completion object as JSON bytes, when not streamed.
        chunks: SSE bytes, ending with `data: [DONE]\\n\\n`, when streamed. Each piece holds whole or part
            events; the first piece holds at least one whole event. Closing the generator cancels the call.
        usage: tokens, when known; a streaming expert may fill it in when its stream ends.
        cost_usd: what the call cost, from an expert that knows better than its card's prices; filled in like
            `usage`.
        estimated: whether `usage` is coe's estimate, because the expert reported none.
        candidates: what a composite expert chose from; the journal keeps it.
        checked: whether the expert has made sure that `body` is a JSON object; else it is parsed again.
    """

    body: bytes | None = None
    chunks: AsyncGenerator[bytes, None] | None = None
    usage: Usage | None = None
    cost_usd: float | None = None
    estimated: bool = False
    candidates: tuple[Candidate, ...] = ()
    checked: bool = False


@runtime_checkable
class Expert(Protocol):
    """Anything that answers a chat."""

    @property
    def card(self) -> Card:
        """Its declared facts."""
        ...

    async def complete(self, request: ChatRequest, context: Context) -> Reply:
        """Answer. Raises an `ExpertError` of coe.errors; for a stream, before its first chunk."""
        ...

    async def aclose(self) -> None:
        """Free what it holds. Called once, after the last request."""
        ...


@runtime_checkable
class RewardExpert(Protocol):
    """Anything that scores chats."""

    @property
    def card(self) -> Card:
        """Its declared facts; capabilities hold `score`."""
        ...

    async def score(
        self, chats: Sequence[Sequence[Mapping[str, Any]]], context: Context
    ) -> NDArray[np.float32]:
        """Reward of each chat (a list of messages ending with the answer): float32[n], higher is better."""
        ...

    async def aclose(self) -> None:
        """Free what it holds."""
        ...


@dataclass(frozen=True, slots=True)
class Appraisal:
    """A score with its reasons.

    Attributes:
        reward: higher is better.
        task: whose scorer gave it, for an expert that has several.
        aspects: scores by capability.
    """

    reward: float
    task: str | None = None
    aspects: Mapping[str, float] = field(default_factory=dict[str, float])


@runtime_checkable
class Appraiser(Protocol):
    """A reward expert that can give reasons: `/v1/score` and `/v1/rerank` pass them on."""

    async def appraise(
        self, chats: Sequence[Sequence[Mapping[str, Any]]], context: Context
    ) -> Sequence[Appraisal]:
        """As `RewardExpert.score`, with task and aspects."""
        ...


@runtime_checkable
class PromptCompleter(Protocol):
    """An expert whose card says `complete`: it continues a bare prompt, as base models do.

    Experts without it answer a prompt as a chat of one user turn.
    """

    async def complete_prompt(self, request: PromptRequest, context: Context) -> Reply:
        """Continue the prompt: a text_completion object, or its events. Raises `ExpertError`s."""
        ...


@runtime_checkable
class EmbeddingExpert(Protocol):
    """An expert whose card says `embed`."""

    @property
    def card(self) -> Card:
        """Its declared facts."""
        ...

    async def embeddings(self, request: EmbeddingRequest, context: Context) -> Reply:
        """Embed: the JSON body of OpenAI's `POST /v1/embeddings`, and its usage. Raises `ExpertError`s."""
        ...

    async def aclose(self) -> None:
        """Free what it holds."""
        ...


@runtime_checkable
class Startable(Protocol):
    """An expert that needs time before its first answer: a server to launch, weights to load."""

    @property
    def awake(self) -> bool:
        """Whether it can answer at once."""
        ...

    async def start(self) -> None:
        """Make it awake. Idempotent. Raises `ExpertUnavailable` with the reason."""
        ...


@runtime_checkable
class Punctual(Protocol):
    """An expert that may keep its deadlines itself. The engine watches those of all others."""

    @property
    def punctual(self) -> bool:
        """Whether `complete` never waits beyond the context's deadline for an answer that is not streamed."""
        ...


@runtime_checkable
class Probeable(Protocol):
    """An expert that can be asked whether it is well, without being asked to answer."""

    async def probe(self, path: str, timeout_s: float) -> None:
        """Return when it is well.

        Args:
            path: what to ask for, as `experts.X.probe.path` has it.
            timeout_s: how long that may take.

        Raises:
            ExpertUnavailable: it is not.
            ExpertTimeout: it does not say.
        """
        ...


@runtime_checkable
class Loaded(Protocol):
    """An expert that knows how busy its server is."""

    @property
    def load(self) -> int:
        """0: takes a request at once; 1: full, another one would wait; 2: requests wait already.

        Coarse on purpose: it is part of the pool view, and every change makes cached decisions be made anew.
        """
        ...


# --- routing -----------------------------------------------------------------------------------------------


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


# --- plugins -----------------------------------------------------------------------------------------------


class ExpertReference:
    """Marks a setting that names an expert: `coe config validate` checks that the pool has it."""


ExpertName = Annotated[str, ExpertReference()]
"""Type of such a setting, alone or within lists and dicts: `base: ExpertName`."""


class Build(Protocol):
    """What a plugin may ask the host for while it is built."""

    @property
    def base_dir(self) -> Path:
        """The folder that relative paths of the configuration start from."""
        ...

    def card(self, defaults: Card) -> Card:
        """The expert's card: the plugin's `defaults` with the user's `card:` keys laid over them."""
        ...

    def expert(self, name: str) -> Expert:
        """Another expert of the pool, built first. Raises `ConfigError` for an unknown name or a cycle."""
        ...

    def embedder(self, kind: str, settings: Mapping[str, Any]) -> Embedder:
        """An embedder by its entry-point name. Raises `PluginError` or `ConfigError`."""
        ...

    def nested(self, kind: str, settings: Mapping[str, Any], card: Card) -> Expert:
        """A new expert of another kind that is not in the pool: its caller alone asks and closes it.

        May be called later than `create`, for example once a server's port is known. `card` is taken as it
        is. Raises `PluginError` or `ConfigError`.
        """
        ...


class Host(Protocol):
    """What a plugin's command may ask coe for: the `obj` of its `typer.Context`."""

    def open(self, config: Path | None = None) -> AbstractAsyncContextManager[Build]:
        """The experts and embedders of a configuration file; by default that of `coe serve`.

        Nothing is started: a command awaits `Startable.start` of what it asks. Experts are closed at the end.
        Raises `UserError` when the configuration is wrong.
        """
        ...


@dataclass(frozen=True, slots=True)
class Plugin(Generic[T_co]):
    """What an entry point of coe.experts, coe.routers, coe.embedders or coe.caches returns when called.

    Attributes:
        settings: pydantic model of the plugin's keys in the configuration; unknown keys are rejected by coe.
        create: `(name, settings, build)` to the expert, router, embedder or cache. Called once per
            configured name; it must not touch the network.
        description: one line for `coe plugins list`.
        shared: for experts that hold what must not exist once per worker, such as a server that they launch:
            with several workers one process runs them, and the workers ask it.
    """

    settings: type[BaseModel]
    create: Callable[[str, Any, Build], T_co] = field(repr=False)
    description: str = ""
    shared: bool = False


GROUPS: Mapping[str, str] = {
    "coe.experts": "expert",
    "coe.routers": "router",
    "coe.embedders": "embedder",
    "coe.caches": "cache",
    "coe.commands": "command",
}
"""Entry-point groups and the word for one member of each."""
