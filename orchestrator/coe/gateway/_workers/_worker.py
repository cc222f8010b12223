"""A process that a supervisor has started."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from coe.config import Config
from coe.contracts import Expert
from coe.errors import CoeError
from coe.experts import host, hosted
from coe.gateway._app import Gateway
from coe.gateway._built import Built, build
from coe.gateway._ids import new_decision_id
from coe.gateway._log import log_to_stderr
from coe.gateway._metrics import Metrics
from coe.gateway._reload import Outcome, Preparing, read_config
from coe.gateway._server import Server, settle, uvloop_loop
from coe.gateway._starting import starting
from coe.gateway._workers._host import HostApp, build_host
from coe.gateway._workers._link import Gone, Link
from coe.gateway._workers._merge import snapshot
from coe.gateway._workers._order import Failure, Order
from coe.registry import Registry

if TYPE_CHECKING:
    from coe.experts._hosted import Host

_log = logging.getLogger("coe.workers")

ASK_S = 5.0
"""How long a question to the supervisor may take that needs no work."""
RELOAD_S = 300.0
"""And one that needs all workers to build a configuration."""


def work(link: socket.socket, listener: socket.socket) -> None:
    """Serve on the listener what the process at the other end of the link orders."""
    with asyncio.Runner(loop_factory=uvloop_loop) as runner:
        runner.run(Worker(link, listener).run())


class Worker:
    """One process of several.

    Args:
        link: to the supervisor.
        listener: accepts connections, as the same socket does in the other workers.
    """

    def __init__(self, link: socket.socket, listener: socket.socket) -> None:
        self._link = Link(link, self._answer)
        self._listener = listener
        self._metrics = Metrics()
        self._telling: set[asyncio.Task[None]] = set()
        self._host: Host | None = None
        self._following: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve until told to stop, or until the supervisor is gone."""
        line = asyncio.create_task(self._link.run())
        try:
            order = msgspec.convert(await self._link.ask("order", timeout_s=ASK_S), Order)
            log_to_stderr(verbose=order.verbose)
            self._order, self._loop = order, asyncio.get_running_loop()
            await self._serve(order, line)
        except CoeError as error:
            await self._link.ask("failed", _failure(error), timeout_s=ASK_S)
        except Gone:
            _log.warning("the supervisor is gone")
        finally:
            line.cancel()

    async def _serve(self, order: Order, line: asyncio.Task[None]) -> None:
        is_host = order.role == "host"
        make = self._build_host if is_host else self._build
        with starting():
            config, registry = read_config(order.source, order.text, order.bound)
            built = make(config, registry)
        gateway = Gateway(built, self._metrics, time.monotonic, new_decision_id, self, self._scrape)
        self._gateway = gateway
        app = HostApp(gateway, order.host.key) if is_host and order.host else gateway
        listening = asyncio.Event()
        server = Server(app, _unencrypted(config) if is_host else config, listening.set)

        def swap(built: Built) -> None:
            gateway.swap(built)
            server.renew(built.config)

        self._preparing = Preparing(order.source, lambda: gateway.serving, make, swap, order.bound)
        # Requests that are running are finished, but nobody is left to stop us.
        line.add_done_callback(lambda _: server.stop())
        settle()
        telling = asyncio.create_task(self._tell(listening, order.version))
        try:
            await server.serve([self._listener])
        finally:
            telling.cancel()
            if self._following is not None:
                self._following.cancel()

    async def _tell(self, listening: asyncio.Event, version: int) -> None:
        await listening.wait()
        await self._link.ask("listening", version, timeout_s=ASK_S)

    def _build(self, config: Config, registry: Registry, previous: Built | None = None) -> Built:
        stand_in = self._stand_in if self._order.host is not None else None
        built = build(config, registry, self._metrics, time.monotonic, previous, stand_in=stand_in)
        if (prober := built.engine.prober) is not None:
            prober.looks = self._order.looks
            prober.tell = self._looked
        return built

    def _looked(self, name: str, why: str) -> None:
        """The others hear what this worker has seen, without its waiting for them."""

        async def tell() -> None:
            with suppress(Gone, TimeoutError):
                await self._link.ask("looked", [name, why], timeout_s=ASK_S)

        task = asyncio.create_task(tell())
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    def _stand_in(self, expert: Expert) -> Expert:
        """In the place of an expert that the host runs; from the first on, the host is followed."""
        if self._host is None and (there := self._order.host) is not None:
            self._host = host(there.base_url, there.key)
            self._loop.call_soon_threadsafe(self._follow, self._host)  # a reload builds in a thread
        assert self._host is not None
        return hosted(expert, self._host)

    def _follow(self, host: Host) -> None:
        self._following = asyncio.create_task(host.follow())

    def _build_host(self, config: Config, registry: Registry, previous: Built | None = None) -> Built:
        return build_host(config, registry, self._metrics, previous)

    # --- the supervisor asks ---

    async def _answer(self, what: str, data: Any) -> Any:
        match what:
            case "prepare":
                return await self._preparing.prepare(data)
            case "commit":
                return self._preparing.commit()
            case "abort":
                return await self._preparing.abort()
            case "looked":
                if (prober := self._gateway.serving.engine.prober) is not None:
                    prober.told(*data)
            case "metrics":
                return snapshot(self._metrics.collect())
            case _:
                raise ValueError(f"no such question: {what}")

    # --- and is asked ---

    async def reload(self, why: str) -> Outcome:
        """As of `Reloading`, of all workers."""
        return await self._change("reload", why)

    async def rollback(self, why: str) -> Outcome:
        """As of `Reloading`, of all workers."""
        return await self._change("rollback", why)

    async def preview(self) -> Outcome:
        """As of `Reloading`."""
        return await self._change("preview", None)

    async def _change(self, what: str, why: str | None) -> Outcome:
        try:
            return msgspec.convert(await self._link.ask(what, why, timeout_s=RELOAD_S), Outcome)
        except (Gone, TimeoutError) as error:
            return Outcome("refused", errors=(f"the supervisor does not answer ({type(error).__name__})",))

    async def _scrape(self) -> bytes:
        """The metrics of all workers; this one's alone when the supervisor does not answer."""
        try:
            return str(await self._link.ask("scrape", timeout_s=ASK_S)).encode()
        except (Gone, TimeoutError):
            return self._metrics.exposition()


def _unencrypted(config: Config) -> Config:
    """The same for the host, which speaks on the loopback interface only."""
    return config.model_copy(update={"server": config.server.model_copy(update={"tls": None})})


def _failure(error: CoeError) -> Failure:
    # The nearest class of coe.errors: the supervisor may not have the module of a class beneath it.
    kinds = (kind.__name__ for kind in type(error).__mro__ if kind.__module__ == CoeError.__module__)
    return Failure(next(kinds), error.message, error.hint)
