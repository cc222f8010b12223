"""A vLLM server as an expert, and an adapter on it as another."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import cast

from coe.contracts import Card, Context, Expert, PromptCompleter, Reply, SparseLayer
from coe.errors import ExpertTimeout, ExpertUnavailable
from coe.wire import ChatRequest, PromptRequest
from coe_vllm._adapters import AdapterFacts, AdapterSlots, BaseFacts, misfit
from coe_vllm._api import Refused, Served
from coe_vllm._backend import Attached, Backend
from coe_vllm._hold import until_the_end
from coe_vllm._layer_look import LayerLook
from coe_vllm._memory import SharedMemory

_log = logging.getLogger("coe.vllm")
_MISSED_LOOKS = 3

MakeCard = Callable[[Card], Card]
MakeExpert = Callable[[str, str, str], Expert]
"""(base URL, model name on the server, key) to an expert that asks it."""
Send = Callable[[Expert], Awaitable[Reply]]
"""What to ask an expert."""


def chatting(request: ChatRequest, context: Context) -> Send:
    """Asks for an answer to a chat."""
    return lambda expert: expert.complete(request, context)


def continuing(request: PromptRequest, context: Context) -> Send:
    """Asks for the continuation of a prompt."""
    return lambda expert: cast("PromptCompleter", expert).complete_prompt(request, context)


class VllmExpert:
    """One vLLM server.

    Args:
        defaults: what is known before it runs; what the server says is laid over it, the user's words over
        both.
        make_card: lays the user's words over a card.
        make_expert: makes the expert that asks the server.
        backend: the server.
        served_name: the model's name on the server.
        adapter_slots: adapters that it holds at once.
        full_at: running requests that fill it, where known.
        poll_s: between two looks at its load.
        memory: what it shares with others; None when it stays awake.
        sleep_mode: whether the server was started with vLLM's sleep mode.
        layer_counts: whether it is asked what its sparse layers did.
    """

    def __init__(
        self,
        defaults: Card,
        make_card: MakeCard,
        make_expert: MakeExpert,
        backend: Backend,
        *,
        served_name: str,
        base: BaseFacts,
        adapter_slots: int = 4,
        full_at: int | None = None,
        poll_s: float = 1.0,
        memory: SharedMemory | None = None,
        sleep_mode: bool = False,
        layer_counts: bool = False,
    ) -> None:
        self._defaults = defaults
        self._card = make_card(defaults)
        self._make_card = make_card
        self._make_expert = make_expert
        self._backend = backend
        self._served_name = served_name
        self._full_at = full_at
        self._poll_s = poll_s
        self._memory = memory
        self._sleep_mode = sleep_mode
        self._layers = LayerLook() if layer_counts else None
        self._asleep = False
        self._dropped = False
        self._experts: dict[str, Expert] = {}
        self._url = ""
        self._looking: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._seen = False
        self._static: frozenset[str] = frozenset()
        self.base = base
        self.load = 0
        self.slots = AdapterSlots(adapter_slots, self._load_adapter, self._unload_adapter, time.monotonic)

    @property
    def card(self) -> Card:
        """Its facts: those of the running server once there is one."""
        return self._card

    @property
    def backend(self) -> Backend:
        """The server."""
        return self._backend

    @property
    def sparse_layers(self) -> tuple[SparseLayer, ...]:
        """What the model's sparse layers did, where it is asked for."""
        return () if self._layers is None else self._layers.counts

    @property
    def awake(self) -> bool:
        """Whether the server answers at once."""
        resident = self._memory is None or self._memory.resident(self._card.name)
        return self._seen and resident and self._backend.status.state == "ready"

    async def start(self) -> None:
        """Have the server answer. Raises `ExpertUnavailable` with the reason.

        Where several share their memory, only those are started that fit beside each other: the others wake
        when they are asked.
        """
        if self._memory is None:
            await self.wake()
            return
        if isinstance(self._backend, Attached):
            await self._backend.start()
            self._memory.found(self._card.name, asleep=bool(await self._sleeping()))
        await self._memory.invite(self._card.name)

    async def complete(self, request: ChatRequest, context: Context) -> Reply:
        """Answer. Raises `ExpertError`s."""
        return await self.ask(chatting(request, context), context, self._served_name)

    async def complete_prompt(self, request: PromptRequest, context: Context) -> Reply:
        """Continue a bare prompt. Raises `ExpertError`s."""
        return await self.ask(continuing(request, context), context, self._served_name)

    async def aclose(self) -> None:
        """Stop looking, close the connections, and end the server if it is ours."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
            self._looking = None
        await self._forget()
        await self._backend.aclose()
        if self._memory is not None:
            self._memory.gone(self._card.name, self)

    async def ask(self, send: Send, context: Context, model: str, adapter: Path | None = None) -> Reply:
        """Answer with a model or adapter of the server; `adapter` is a folder to load first."""
        held = AsyncExitStack()
        try:
            async with asyncio.timeout(max(0.0, context.remaining_s())):
                await held.enter_async_context(self._resident())
                if adapter is not None and model not in self._static:
                    await held.enter_async_context(self._adapter(model, adapter))
        except TimeoutError:
            await held.aclose()
            status = self._backend.status
            doing = f": {status.what}" if status.state == "starting" else ""
            raise ExpertTimeout(
                f"`{self._card.name}` was still being made ready at the deadline{doing}.",
                expert=self._card.name,
            ) from None
        except BaseException:
            await held.aclose()
            raise
        try:
            reply = await send(self._expert(model))
        except BaseException:
            await held.aclose()
            raise
        if reply.chunks is None:
            await held.aclose()
            return reply
        return until_the_end(reply, held)

    async def wake(self) -> None:
        """Have the server run and answer, whatever the memory says. Raises `ExpertUnavailable`."""
        async with self._starting:
            if self._seen and not self._asleep and self._backend.status.state == "ready":
                return
            await self._backend.start()
            if self._sleep_mode and await self._sleeping():
                await self._tell(self._backend.api.wake_up(reload=self._dropped))
                self._dropped = False
            self._asleep = False
            await self._introspect()
            if self._looking is None:
                self._looking = asyncio.create_task(self._look())

    async def sleep(self) -> None:
        """Free the accelerator and keep the weights in RAM. Raises `ExpertUnavailable`."""
        self._seen, self._asleep = False, True
        await self._tell(self._backend.api.sleep(1))

    async def stop(self) -> None:
        """End the server, or have one that is not ours drop its weights; `wake` begins it again."""
        self._seen, self._asleep = False, True
        if isinstance(self._backend, Attached):
            await self._tell(self._backend.api.sleep(2))
            self._dropped = True
            return
        await self._forget()
        await self._backend.stop()

    async def _sleeping(self) -> bool | None:
        try:
            return await self._backend.api.sleeping()
        except Refused as error:
            raise ExpertUnavailable(f"`{self._card.name}`: {error}.", expert=self._card.name) from error

    async def _tell(self, change: Awaitable[None]) -> None:
        try:
            await change
        except Refused as error:
            raise ExpertUnavailable(f"`{self._card.name}`: {error}.", expert=self._card.name) from error

    async def _introspect(self) -> None:
        """What the server says of itself."""
        name = self._card.name
        try:
            served = await self._backend.api.models()
        except Refused as error:
            raise ExpertUnavailable(f"`{name}`: {error}.", expert=name) from error
        mine = next((each for each in served if each.id == self._served_name), None)
        if mine is None:
            there = ", ".join(f"`{each.id}`" for each in served) or "nothing"
            raise ExpertUnavailable(
                f"`{name}`: the server has no model `{self._served_name}`; it has {there}.", expert=name
            )
        if self._url != self._backend.api.root_url:
            await self._forget()
            self._url = self._backend.api.root_url
        self._note(mine)
        self._static = frozenset(each.id for each in served if each.parent is not None) - self.slots.loaded
        self._seen = True

    def _note(self, served: Served) -> None:
        window = self._defaults.context_window or served.max_model_len
        self._card = self._make_card(dataclasses.replace(self._defaults, context_window=window))
        names = self.base.names | {served.id} | ({served.root} if served.root else set[str]())
        self.base = dataclasses.replace(self.base, names=frozenset(names))

    async def _look(self) -> None:
        """Follow health and load, and introspect again after a restart."""
        missed = 0
        while True:
            await asyncio.sleep(self._poll_s)
            if self._backend.status.state != "ready":
                self._seen, self.load = False, 0
                continue
            if self._memory is not None and not self._memory.resident(self._card.name):
                continue
            try:
                gauges = await self._backend.api.gauges()
                missed = 0
                self.load = gauges.level(self._full_at)
                if not self._seen or self._url != self._backend.api.root_url:
                    await self._introspect()
                if self._layers is not None:
                    await self._layers.look(self._card.name, self._backend.api, time.monotonic())
            except (Refused, ExpertUnavailable) as error:
                missed += 1
                if missed == _MISSED_LOOKS:
                    self._seen, self.load = False, 0
                    _log.warning("vllm does not answer: expert=%s why=%s", self._card.name, error)

    def _expert(self, model: str) -> Expert:
        expert = self._experts.get(model)
        if expert is None:
            expert = self._make_expert(f"{self._url}/v1", model, self._backend.api_key)
            self._experts[model] = expert
        return expert

    async def _forget(self) -> None:
        self.slots.forget()
        experts, self._experts = self._experts, {}
        for expert in experts.values():
            await expert.aclose()

    @asynccontextmanager
    async def _resident(self) -> AsyncGenerator[None, None]:
        """Within it the server is awake."""
        if self._memory is None:
            if not self.awake:
                await self.wake()
            yield
            return
        async with self._memory.hold(self._card.name):
            if not self.awake:
                await self.wake()
            yield

    @asynccontextmanager
    async def _adapter(self, name: str, path: Path) -> AsyncGenerator[None, None]:
        try:
            async with self.slots.use(name, path):
                yield
        except Refused as error:
            raise ExpertUnavailable(
                f"The adapter `{name}` cannot be loaded: {error}.", expert=name
            ) from error

    async def _load_adapter(self, name: str, path: Path) -> None:
        began_s = time.monotonic()
        await self._backend.api.load_adapter(name, path)
        _log.info(
            "adapter loaded: server=%s adapter=%s after_s=%.3f",
            self._card.name,
            name,
            time.monotonic() - began_s,
        )

    async def _unload_adapter(self, name: str) -> None:
        await self._backend.api.unload_adapter(name)
        _log.info("adapter unloaded: server=%s adapter=%s", self._card.name, name)


class AdapterExpert:
    """A LoRA adapter on a vLLM server.

    Args:
        card: its facts.
        server: whose adapter it is.
        model: its name on the server.
        folder: where its weights are; None for one that the server knows already.
        facts: what its files say; None without a folder.
        also: as of `misfit`.
    """

    def __init__(
        self,
        card: Card,
        server: VllmExpert,
        *,
        model: str,
        folder: Path | None,
        facts: AdapterFacts | None,
        also: str | None,
    ) -> None:
        self._card = card
        self._server = server
        self._model = model
        self._folder = folder
        self._facts = facts
        self._also = also
        self._fits: BaseFacts | None = None

    @property
    def card(self) -> Card:
        """Its facts; the context window is the server's unless declared."""
        if self._card.context_window is None and (window := self._server.card.context_window) is not None:
            return dataclasses.replace(self._card, context_window=window)
        return self._card

    @property
    def awake(self) -> bool:
        """Whether its server answers at once; loading an adapter takes a fraction of a second."""
        return self._server.awake

    @property
    def load(self) -> int:
        """That of its server."""
        return self._server.load

    async def start(self) -> None:
        """Have its server answer, and check that the adapter fits. Raises `ExpertUnavailable`."""
        await self._server.start()
        self._check()

    async def complete(self, request: ChatRequest, context: Context) -> Reply:
        """Answer. Raises `ExpertError`s."""
        self._check()
        return await self._server.ask(chatting(request, context), context, self._model, self._folder)

    async def complete_prompt(self, request: PromptRequest, context: Context) -> Reply:
        """Continue a bare prompt. Raises `ExpertError`s."""
        self._check()
        return await self._server.ask(continuing(request, context), context, self._model, self._folder)

    async def aclose(self) -> None:
        """Nothing of its own: the server is closed as an expert."""

    def _check(self) -> None:
        if self._facts is None or self._fits is self._server.base:
            return
        if (why := misfit(self._facts, self._server.base, self._also)) is not None:
            raise ExpertUnavailable(
                f"The adapter `{self._card.name}` does not fit: {why}.", expert=self._card.name
            )
        self._fits = self._server.base
