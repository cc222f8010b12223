"""The process that runs the experts that exist once, for the workers.

A model that is loaded, or a server that is launched, must not exist once per worker. Where a plugin says so
(`Plugin.shared`), the host has its experts, and each worker a stand-in that asks the host over the loopback
interface. It routes nothing and keeps no journal: that is the workers' part.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Collection

import msgspec

from coe.config import Config
from coe.engine import Engine, Observer
from coe.errors import CoeError, InvalidKey
from coe.gateway._app import Gateway
from coe.gateway._asgi import Receive, Scope, Send, read_body, respond
from coe.gateway._built import Built
from coe.gateway._envelope import envelope, error_headers
from coe.pool import Builder
from coe.registry import Registry

_MAX_BODY_BYTES = 10_000


class _Start(msgspec.Struct):
    expert: str


def shared_experts(config: Config, registry: Registry) -> frozenset[str]:
    """Names of the experts that exist once."""
    return frozenset(
        name for name, expert in config.experts.items() if registry.plugin("coe.experts", expert.kind).shared
    )


def build_host(
    config: Config, registry: Registry, observer: Observer, previous: Built | None = None
) -> Built:
    """The experts that exist once, and nothing else. Raises `UserError` like `coe.gateway.build`."""
    before = (previous.config, previous.engine.pool) if previous else None
    names: Collection[str] = shared_experts(config, registry)
    pool = Builder(config, registry, before).pool(time.monotonic, names)
    return Built(config, Engine(pool, {}, None, observer, time.monotonic, max_attempts=1))


class HostApp:
    """The gateway of the host, for those who know the key.

    Args:
        gateway: serves `build_host`.
        key: opens it.
    """

    def __init__(self, gateway: Gateway, key: str) -> None:
        self._gateway = gateway
        self._expected = b"Bearer " + key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        try:
            given = scope["headers"].get(b"authorization", b"")
            if not hmac.compare_digest(given, self._expected):
                raise InvalidKey("This is not for you.")
            if scope["path"] == "/state":
                await read_body(scope, receive, _MAX_BODY_BYTES)
                await respond(send, 200, self._state())
                return
            if scope["path"] == "/start":
                await self._start(await read_body(scope, receive, _MAX_BODY_BYTES))
                await respond(send, 200, b"{}")
                return
        except CoeError as error:
            await respond(send, error.status, envelope(error), error_headers(error))
            return
        await self._gateway(scope, receive, send)

    def _state(self) -> bytes:
        members = self._gateway.serving.engine.pool.members
        return msgspec.json.encode(
            {
                name: {
                    "card": each.expert.card,
                    "awake": each.awake,
                    "load": each.load,
                    "sparse_layers": each.sparse_layers,
                }
                for name, each in members.items()
            }
        )

    async def _start(self, body: bytes) -> None:
        member = self._gateway.serving.engine.pool.member(msgspec.json.decode(body, type=_Start).expert)
        if member.startable is not None:
            await member.startable.start()

    def start(self) -> None:
        """As of `Gateway`."""
        self._gateway.start()

    def drain(self) -> None:
        """As of `Gateway`."""
        self._gateway.drain()

    async def aclose(self) -> None:
        """As of `Gateway`."""
        await self._gateway.aclose()
