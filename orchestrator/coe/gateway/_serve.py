"""Run a gateway as a server process."""

from __future__ import annotations

import asyncio
import secrets
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from coe.config import Config, ConfigSource
from coe.errors import ConfigError
from coe.gateway._app import Gateway
from coe.gateway._built import Built, build
from coe.gateway._follow import follow
from coe.gateway._metrics import Metrics
from coe.gateway._reload import Outcome, Preparing, Reloading
from coe.gateway._server import HangUp, Server, uvloop_loop
from coe.registry import Registry


def serve(
    source: ConfigSource,
    text: str,
    config: Config,
    registry: Registry,
    on_listening: Callable[[str], None],
) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is running and return.

    Args:
        source: where the configuration comes from; it is read again on SIGHUP and when the file changes.
        text: what it said.
        config: the checked configuration that the text stands for.
        registry: where experts, routers and caches come from.
        on_listening: called with the base URL once connections are accepted.

    Raises:
        UserError: something of the configuration cannot be built, or the address cannot be listened on.
    """
    metrics = Metrics()
    built = build(config, registry, metrics, time.monotonic)
    listener = listen(config.server.host, config.server.port)
    greet = partial(on_listening, url_of(listener))
    with asyncio.Runner(loop_factory=uvloop_loop) as runner:
        runner.run(_serve(source, text, built, metrics, listener, greet))


async def _serve(
    source: ConfigSource,
    text: str,
    built: Built,
    metrics: Metrics,
    listener: socket.socket,
    on_listening: Callable[[], None],
) -> None:
    def rebuild(config: Config, registry: Registry, previous: Built) -> Built:
        return build(config, registry, metrics, time.monotonic, previous)

    async def replace(text: str) -> Outcome:
        return await preparing.replace(text)

    reloading = Reloading(source, text, replace, lambda outcome: metrics.reloaded(outcome.outcome))
    gateway = Gateway(built, metrics, time.monotonic, new_decision_id, reloading.reload)
    preparing = Preparing(source, lambda: gateway.serving, rebuild, gateway.swap)
    server = Server(gateway, built.config, on_listening)
    loop, tasks = asyncio.get_running_loop(), set[asyncio.Task[object]]()

    terminal = HangUp()

    def hang_up() -> None:
        if terminal.terminal_gone():
            server.stop()
        else:
            spawn(reloading.reload("SIGHUP"))

    def spawn(work: Coroutine[Any, Any, object]) -> None:
        task = loop.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    loop.add_signal_handler(signal.SIGHUP, hang_up)
    if source.path is not None:
        spawn(follow(source.path, partial(reloading.reload, "file changed", only_if_new=True)))
    try:
        await server.serve([listener])
    finally:
        for task in tuple(tasks):
            task.cancel()


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises `ConfigError` when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigError(
            f"Cannot listen on {host}:{port}: {error.strerror}.",
            hint="Set `server.port`, or 0 for a free port.",
        ) from error


def url_of(listener: socket.socket) -> str:
    """The base URL of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def new_decision_id() -> str:
    """A fresh decision id."""
    return "dec_" + secrets.token_hex(10)
