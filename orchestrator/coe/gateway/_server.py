"""uvicorn's server with our end: drain, then exit 0."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Protocol

import uvicorn

from coe.config import Config
from coe.errors import ConfigError
from coe.gateway._asgi import Receive, Scope, Send
from coe.gateway._connection import Connection, watch
from coe.gateway._tls import load_certificate, tls_context

_log = logging.getLogger("coe.gateway")

KEEP_ALIVE_S = 75
"""How long an idle connection is kept: longer than clients keep theirs, so that it is they who close it."""


class App(Protocol):
    """An ASGI application that can be told that the end is near."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        ...

    def drain(self) -> None:
        """Report not ready from now on."""
        ...


class Server(uvicorn.Server):
    """Serves a gateway until SIGTERM or SIGINT; a second signal ends it at once.

    Args:
        gateway: the application.
        config: how it listens and how long it drains.
        on_listening: called once connections are accepted.
    """

    def __init__(self, gateway: App, config: Config, on_listening: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                gateway,
                loop="uvloop",
                http=Connection,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                # Nothing here reads the client address, and a forwarded header is a claim.
                proxy_headers=False,
                server_header=False,
                date_header=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=int(config.server.drain_timeout_s) or 1,
            )
        )
        self._gateway = gateway
        self._on_listening = on_listening
        self._client_timeout_s = config.server.client_timeout_s
        self._watching: asyncio.Task[None] | None = None
        if config.server.tls is not None:
            self.config.load()
            self.config.ssl = tls_context(config.server.tls, config.base_dir)

    def stop(self) -> None:
        """Drain and end; at once when it was draining already."""
        self._gateway.drain()
        self.force_exit = self.should_exit
        self.should_exit = True

    def renew(self, config: Config) -> None:
        """Use the certificate of this configuration for new connections."""
        if self.config.ssl is None or config.server.tls is None:
            return
        try:
            load_certificate(self.config.ssl, config.server.tls, config.base_dir)
        except ConfigError as error:  # it was good a moment ago, when the configuration was checked
            _log.error("certificate kept: %s", error)

    async def startup(self, sockets: list[Any] | None = None) -> None:
        Connection.now = time.monotonic()
        await super().startup(sockets)
        if self.started:
            connections = self.server_state.connections
            self._watching = asyncio.create_task(watch(connections, self._client_timeout_s))
            self._on_listening()

    async def shutdown(self, sockets: list[Any] | None = None) -> None:
        await super().shutdown(sockets)
        if self._watching is not None:
            self._watching.cancel()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self.stop)
        try:
            yield
        finally:
            for each in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(each)


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


def uvloop_loop() -> asyncio.AbstractEventLoop:
    """A new event loop. Imported late: the commands that only read need none."""
    import uvloop

    return uvloop.new_event_loop()
