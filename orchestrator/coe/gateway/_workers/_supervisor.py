"""Several processes that answer on one socket, and the one that keeps them running."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge

import coe.errors
from coe.config import Config, ConfigSource
from coe.errors import CoeError, UserError
from coe.gateway._exposition import exposition
from coe.gateway._reload import Outcome, Reloading, described, read_config
from coe.gateway._workers._host import shared_experts
from coe.gateway._workers._link import Gone
from coe.gateway._workers._merge import Family, families, lasting, merged, snapshot
from coe.gateway._workers._order import Failure, Host, Order
from coe.gateway._workers._slot import Slot

_log = logging.getLogger("coe.workers")

_HOST = "host"
_WORKER = "worker {}"
_LOOKS = _WORKER.format(0)
"""Who looks at the experts that want it: one for all, or servers would be looked at by each worker."""

PREPARE_S = 240.0
"""Longest wait for a worker to build another configuration."""
QUICK_S = 2.0
"""And to answer anything else."""
GRACE_S = 5.0
"""Beyond the drain timeout, before a process is killed."""


class Supervisor:
    """Starts workers, replaces those that die, and has all of them serve the same configuration.

    Args:
        source, text, config: the configuration; see `coe.gateway.serve`.
        listener: where the workers accept connections.
        verbose: whether the workers log more.
    """

    def __init__(
        self, source: ConfigSource, text: str, config: Config, listener: socket.socket, *, verbose: bool
    ) -> None:
        self._source = source
        self._bound = config.server.host
        self._verbose = verbose
        self._listener = listener
        self._text, self._config, self._version = text, config, 0
        self._next: str | None = None
        self._stopping = asyncio.Event()
        self._changing = asyncio.Lock()
        self._catching_up: set[asyncio.Task[None]] = set()
        self._workers: list[Slot] = []
        self._host: Slot | None = None
        # Bound once: a host that dies is replaced at the same address, and who asks meanwhile waits in line.
        self._host_listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        port = self._host_listener.getsockname()[1]
        self._host_address = Host(f"http://127.0.0.1:{port}", secrets.token_urlsafe(32))
        self._counts: dict[Slot, list[Family]] = {}
        self._departed: list[Family] = []
        self._registry = CollectorRegistry()
        Gauge("coe_workers", "Workers that listen.", registry=self._registry).set_function(
            lambda: sum(slot.listens for slot in self._workers)
        )
        self._deaths = Counter("coe_worker_deaths", "Processes that ended unasked.", registry=self._registry)
        reloads = Counter(
            "coe_config_reloads", "Configurations read while serving.", ["outcome"], registry=self._registry
        )
        self.reloading = Reloading(
            source, text, self._bound, self._replace, lambda outcome: reloads.labels(outcome.outcome).inc()
        )

    async def run(self, on_listening: Callable[[], None]) -> None:
        """Serve until `stop`. Raises the `UserError` of a process that cannot begin."""
        try:
            _, registry = await asyncio.to_thread(read_config, self._source, self._text, self._bound)
            if shared_experts(self._config, registry):
                self._host = self._slot(_HOST, self._host_listener)
                await _begun(self._host)
            self._workers = [
                self._slot(_WORKER.format(number), self._listener)
                for number in range(self._config.server.workers)
            ]
            for slot in self._workers:
                await _begun(slot)
            if not self._stopping.is_set():
                on_listening()
                await self._stopping.wait()
        finally:
            await self._end()

    def stop(self) -> None:
        """Have the workers drain, then end; a second time: at once."""
        self._stopping.set()
        for slot in self._workers:
            slot.stop()

    # --- processes ---

    def _slot(self, name: str, listener: socket.socket) -> Slot:
        return Slot(name, listener, self._answer, self._ended)

    def _slots(self) -> list[Slot]:
        return [*([self._host] if self._host else []), *self._workers]

    def _ended(self, slot: Slot, status: int) -> None:
        self._departed = merged([self._departed, lasting(self._counts.pop(slot, []))])
        self._deaths.inc(status != 0)

    async def _end(self) -> None:
        self._listener.close()
        if not self._stopping.is_set():
            self.stop()
        patience_s = self._config.server.drain_timeout_s + GRACE_S
        await asyncio.gather(*(slot.stopped(patience_s) for slot in self._workers))
        if self._host is not None:  # last, because the workers' running requests may need it
            self._host.stop()
            await self._host.stopped(patience_s)
        self._host_listener.close()

    # --- what the processes ask ---

    async def _answer(self, slot: Slot, what: str, data: Any) -> Any:
        match what:
            case "order":
                return self._order(slot)
            case "listening":
                slot.serves(data)
                task = asyncio.create_task(self._catch_up(slot))
                self._catching_up.add(task)
                task.add_done_callback(self._catching_up.discard)
            case "failed":
                slot.failure = msgspec.convert(data, Failure)
                _log.error("%s cannot begin: %s", slot.name, slot.failure.message)
            case "looked":
                # It goes to each in its own time: one that is slow must not keep it from the others.
                others = [each for each in self._workers if each is not slot and each.listens]
                await asyncio.gather(*(_tell(each, "looked", data) for each in others))
            case "reload":
                return await self.reloading.reload(data)
            case "rollback":
                return await self.reloading.rollback(data)
            case "preview":
                return await self.reloading.preview()
            case "scrape":
                return (await self.scrape()).decode()
            case _:
                raise ValueError(f"no such question: {what}")

    def _order(self, slot: Slot) -> Order:
        is_host = slot.name == _HOST
        # A host that begins because of another configuration begins with that one.
        ahead = self._next is not None and is_host and slot is not self._host
        return Order(
            role="host" if is_host else "worker",
            text=self._next if ahead and self._next is not None else self._text,
            version=self._version + ahead,
            bound=self._bound,
            path=None if self._source.path is None else str(self._source.path),
            overrides=self._source.overrides,
            host=self._host_address,
            verbose=self._verbose,
            looks=slot.name == _LOOKS,
        )

    # --- another configuration ---

    async def _replace(self, text: str) -> Outcome:
        """Have every process build it, then all put it in force, or none."""
        try:
            config, registry = await asyncio.to_thread(read_config, self._source, text, self._bound)
        except CoeError as error:
            return Outcome("refused", errors=tuple(str(error).splitlines()))
        async with self._changing:
            new_host: Slot | None = None
            if self._host is None and shared_experts(config, registry):
                self._next = text
                new_host = self._slot(_HOST, self._host_listener)
                await new_host.settled.wait()
                self._next = None
            slots = [slot for slot in self._slots() if slot.listens]
            outcomes = await asyncio.gather(*(_prepare(slot, text) for slot in slots))
            errors = [error for outcome in outcomes for error in outcome.errors]
            if new_host is not None and new_host.failure is not None:
                errors.append(new_host.failure.message)
            if errors:
                await asyncio.gather(*(_tell(slot, "abort") for slot in slots))
                if new_host is not None:
                    new_host.stop()
                    await new_host.stopped(GRACE_S)
                return Outcome("refused", errors=tuple(dict.fromkeys(errors)))
            outcome = Outcome("applied", described(self._config, config))
            self._text, self._config, self._version = text, config, self._version + 1
            self._host = self._host or new_host
            for slot in slots:  # the host first: the workers may ask for what is new
                await self._commit(slot)
            return outcome

    async def _commit(self, slot: Slot) -> None:
        if await _tell(slot, "commit"):
            slot.serves(self._version)

    async def _catch_up(self, slot: Slot) -> None:
        """Have a process that began before the last change follow it."""
        async with self._changing:
            if slot.listens and slot.child is not None and slot.child.version != self._version:
                await _prepare(slot, self._text)
                await self._commit(slot)

    # --- metrics ---

    async def scrape(self) -> bytes:
        """Prometheus' text of all workers; those that have ended still count."""
        await asyncio.gather(*(self._count(slot) for slot in self._workers))
        own = snapshot(self._registry.collect())
        return exposition(families(merged([own, self._departed, *self._counts.values()])))

    async def _count(self, slot: Slot) -> None:
        """Ask a worker for its counts; those of the last time stay when it does not answer."""
        with suppress(Gone, TimeoutError):
            answer = await slot.ask("metrics", timeout_s=QUICK_S)
            self._counts[slot] = msgspec.convert(answer, list[Family])


async def _begun(slot: Slot) -> None:
    """Wait until the slot's first process listens. Raises the error of one that cannot."""
    await slot.settled.wait()
    if slot.failure is not None:
        kind = getattr(coe.errors, slot.failure.kind, UserError)
        raise kind(slot.failure.message, hint=slot.failure.hint)


async def _prepare(slot: Slot, text: str) -> Outcome:
    try:
        return msgspec.convert(await slot.ask("prepare", text, timeout_s=PREPARE_S), Outcome)
    except Gone:
        return Outcome("applied")  # whoever takes its place begins with what is in force then
    except TimeoutError:
        return Outcome("refused", errors=(f"{slot.name} did not build it within {PREPARE_S:g} s",))


async def _tell(slot: Slot, what: str, data: Any = None) -> bool:
    """Whether the process has heard it. One that is gone need not; one that is slow will."""
    try:
        await slot.ask(what, data, timeout_s=QUICK_S)
    except Gone:
        return False
    except TimeoutError:
        _log.warning("%s is slow: question=%s", slot.name, what)
    return True
