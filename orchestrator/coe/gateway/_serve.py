"""Run a gateway as a server process."""

from __future__ import annotations

import asyncio
import secrets
import signal
import socket
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import uvicorn

from coe.config import Config
from coe.engine import Engine
from coe.errors import ConfigError
from coe.gateway._app import Gateway
from coe.gateway._built import build
from coe.gateway._metrics import Metrics
from coe.registry import Registry


def serve(config: Config, registry: Registry, on_listening: Callable[[str, Engine], None]) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is running and return.

    Args:
        config: a checked configuration.
        registry: where experts, routers and caches come from.
        on_listening: called with the base URL and the engine once connections are accepted.

    Raises:
        UserError: something of the configuration cannot be built, or the address cannot be listened on.
    """
    metrics = Metrics()
    built = build(config, registry, metrics, time.monotonic)
    gateway = Gateway(built, metrics, time.monotonic, new_decision_id)
    settings = uvicorn.Config(
        gateway,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        # Nothing here reads the client address, and a forwarded header is a claim.
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=int(config.server.drain_timeout_s) or 1,
    )
    server = _Server(settings, gateway, lambda url: on_listening(url, built.engine))
    listener = _listen(config.server.host, config.server.port)
    with asyncio.Runner(loop_factory=_uvloop) as runner:
        runner.run(server.serve([listener]))


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigError(
            f"Cannot listen on {host}:{port}: {error.strerror}.",
            hint="Set `server.port`, or 0 for a free port.",
        ) from error


def new_decision_id() -> str:
    """A fresh decision id."""
    return "dec_" + secrets.token_hex(10)


def _uvloop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()


class _Server(uvicorn.Server):
    """uvicorn's server with our end: drain, then exit 0, for both signals."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway, on_listening: Callable[[str], None]) -> None:
        super().__init__(config)
        self._gateway = gateway
        self._on_listening = on_listening

    async def startup(self, sockets: list[Any] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            host, port = sockets[0].getsockname()[:2]
            self._on_listening(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self._stop)
        try:
            yield
        finally:
            for each in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(each)

    def _stop(self) -> None:
        """A first signal drains; a second one ends at once."""
        self._gateway.drain()
        self.force_exit = self.should_exit
        self.should_exit = True
