"""What an expert must be: its card, its answers, and what else it may be able to do."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import msgspec

from coe.wire import ChatRequest, EmbeddingRequest, PromptRequest, Usage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Capability = Literal["chat", "stream", "tools", "vision", "json_schema", "score", "embed", "complete"]
ExpertKind = Literal["model", "prompt", "adapter", "reward", "composite"]


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


class SparseLayer(msgspec.Struct, frozen=True):
    """What a mixture-of-experts layer within an expert's model did since its server started.

    Attributes:
        name: of the layer in the model.
        kernel: what computes it.
        calls: forward passes.
        tokens: in them.
        uses: by the layer's own experts, how many tokens each was given.
    """

    name: str
    kernel: str
    calls: int
    tokens: int
    uses: tuple[int, ...]


@runtime_checkable
class Layered(Protocol):
    """An expert that can tell what the sparse layers of its model did; the gateway's metrics show it."""

    @property
    def sparse_layers(self) -> Sequence[SparseLayer]:
        """As it was last told; empty when nothing is known."""
        ...
