"""Listens, answers, and ends well: drain, then exit 0."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import ssl
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from socket import socket
from typing import Protocol

from coe.config import Config
from coe.errors import ConfigError
from coe.gateway._asgi import Receive, Scope, Send
from coe.gateway._connection import Callers, Connection, watch
from coe.gateway._tls import load_certificate, tls_context

_log = logging.getLogger("coe.gateway")

BACKLOG = 2048
ENDING = (signal.SIGTERM, signal.SIGINT)


class App(Protocol):
    """An ASGI application with a beginning and an end."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        ...

    def start(self) -> None:
        """The first request may come from now on."""
        ...

    def drain(self) -> None:
        """Report not ready from now on."""
        ...

    async def aclose(self) -> None:
        """The last request has been answered."""
        ...


class Server:
    """Serves a gateway until SIGTERM or SIGINT; a second signal ends it at once.

    Args:
        gateway: the application.
        config: how it listens and how long it drains.
        on_listening: called once connections are accepted.

    Raises:
        ConfigError: the certificate cannot be loaded.
    """

    def __init__(self, gateway: App, config: Config, on_listening: Callable[[], None]) -> None:
        self._gateway = gateway
        self._on_listening = on_listening
        self._drain_timeout_s = config.server.drain_timeout_s
        self._client_timeout_s = config.server.client_timeout_s
        self._tls: ssl.SSLContext | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._at_once = asyncio.Event()
        if config.server.tls is not None:
            self._tls = tls_context(config.server.tls, config.base_dir)

    def stop(self) -> None:
        """Drain and end; at once when it was draining already. From any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop)
        else:
            self._stop()

    def _stop(self) -> None:
        self._gateway.drain()
        (self._at_once if self._stopping.is_set() else self._stopping).set()

    def renew(self, config: Config) -> None:
        """Use the certificate of this configuration for new connections."""
        if self._tls is None or config.server.tls is None:
            return
        try:
            load_certificate(self._tls, config.server.tls, config.base_dir)
        except ConfigError as error:  # it was good a moment ago, when the configuration was checked
            _log.error("certificate kept: %s", error)

    async def serve(self, listeners: Sequence[socket]) -> None:
        """Serve on these sockets until told to stop, and close them."""
        self._loop = loop = asyncio.get_running_loop()
        callers = Callers(self._gateway, loop, self._client_timeout_s, time.monotonic())
        with self.capture_signals():
            self._gateway.start()
            watching = loop.create_task(watch(callers))
            servers = [
                await loop.create_server(
                    lambda: Connection(callers), sock=listener, backlog=BACKLOG, ssl=self._tls
                )
                for listener in listeners
            ]
            self._on_listening()
            try:
                await self._stopping.wait()
            finally:
                for server in servers:
                    server.close()
                await self._drain(callers)
                watching.cancel()
                await self._gateway.aclose()

    async def _drain(self, callers: Callers) -> None:
        """Let what is running finish, as long as there is time; then end it."""
        callers.ending = True
        for connection in tuple(callers.open):
            connection.finish()
        if callers.open:
            ended = asyncio.ensure_future(callers.none_open.wait())
            hurried = asyncio.ensure_future(self._at_once.wait())
            await asyncio.wait(
                (ended, hurried), timeout=self._drain_timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            ended.cancel()
            hurried.cancel()
        tasks = [each.task for each in callers.running if each.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for connection in tuple(callers.open):
            connection.abort()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Meanwhile: the signals that end us."""
        with ended_by_signals(self.stop):
            yield


@contextmanager
def ended_by_signals(stop: Callable[[], object]) -> Generator[None]:
    """Meanwhile SIGTERM and SIGINT call `stop`, which may come from anywhere. Afterwards they are ignored.

    The process is as good as over then: one that comes late must not change its exit status. Handlers of the
    loop would leave a moment, when it closes, in which a signal kills.
    """
    for each in ENDING:
        signal.signal(each, lambda _number, _frame: stop())
    try:
        yield
    finally:
        for each in ENDING:
            signal.signal(each, signal.SIG_IGN)


class HangUp:
    """What SIGHUP means: the terminal that we were started from is gone, or somebody wants a reload."""

    def __init__(self) -> None:
        # Under nohup the signal is ignored at the start: that terminal may go.
        self._watching = signal.getsignal(signal.SIGHUP) != signal.SIG_IGN and _has_terminal()

    def terminal_gone(self) -> bool:
        """Whether the terminal was closed: the server should end with it, as everything else there does."""
        return self._watching and not _has_terminal()


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def settle() -> None:
    """Call it once everything is built: the garbage collector need not look at that again."""
    gc.collect()
    gc.freeze()


def uvloop_loop() -> asyncio.AbstractEventLoop:
    """A new event loop. Imported late: the commands that only read need none."""
    import uvloop

    return uvloop.new_event_loop()
