"""Run a gateway as a server process, or as several."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

from coe.config import Config, ConfigSource
from coe.errors import ConfigError
from coe.gateway._app import Gateway
from coe.gateway._built import Built, build
from coe.gateway._follow import follow
from coe.gateway._ids import new_decision_id
from coe.gateway._metrics import Metrics
from coe.gateway._reload import Outcome, Preparing, Reloading
from coe.gateway._server import HangUp, Server, ended_by_signals, settle, uvloop_loop
from coe.gateway._starting import starting
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
    listener = listen(config.server.host, config.server.port)
    greet = partial(on_listening, url_of(listener, config))
    if config.server.workers > 1:
        asyncio.run(_supervise(source, text, config, listener, greet))
        return
    metrics = Metrics()
    with starting():
        built = build(config, registry, metrics, time.monotonic)
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
    """All in this process."""

    def rebuild(config: Config, registry: Registry, previous: Built) -> Built:
        return build(config, registry, metrics, time.monotonic, previous)

    async def replace(text: str) -> Outcome:
        return await preparing.replace(text)

    host = built.config.server.host
    reloading = Reloading(source, text, host, replace, lambda outcome: metrics.reloaded(outcome.outcome))
    gateway = Gateway(built, metrics, time.monotonic, new_decision_id, reloading)
    server = Server(gateway, built.config, on_listening)

    def swap(built: Built) -> None:
        gateway.swap(built)
        server.renew(built.config)

    preparing = Preparing(source, lambda: gateway.serving, rebuild, swap, built.config.server.host)
    settle()
    with _reloads(source, reloading, server.stop):
        await server.serve([listener])


async def _supervise(
    source: ConfigSource,
    text: str,
    config: Config,
    listener: socket.socket,
    on_listening: Callable[[], None],
) -> None:
    """In worker processes, which this one watches."""
    from coe.gateway._workers import Supervisor  # Late: one process alone starts sooner without it.

    verbose = logging.getLogger().isEnabledFor(logging.INFO)
    supervisor = Supervisor(source, text, config, listener, verbose=verbose)
    stop = partial(asyncio.get_running_loop().call_soon_threadsafe, supervisor.stop)
    with ended_by_signals(stop), _reloads(source, supervisor.reloading, supervisor.stop):
        await supervisor.run(on_listening)


@contextmanager
def _reloads(source: ConfigSource, reloading: Reloading, stop: Callable[[], None]) -> Generator[None]:
    """Meanwhile: reload on SIGHUP and when the file changes; stop when the terminal is gone."""
    loop, terminal, tasks = asyncio.get_running_loop(), HangUp(), set[asyncio.Task[object]]()

    def spawn(work: Coroutine[Any, Any, object]) -> None:
        task = loop.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def hang_up() -> None:
        if terminal.terminal_gone():
            stop()
        else:
            spawn(reloading.reload("SIGHUP"))

    loop.add_signal_handler(signal.SIGHUP, hang_up)
    if source.path is not None and source.lasts:
        spawn(follow(source.path, partial(reloading.reload, "file changed", only_if_new=True)))
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # by default it would kill what is just ending
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


def url_of(listener: socket.socket, config: Config) -> str:
    """The base URL of a listening socket."""
    scheme = "http" if config.server.tls is None else "https"
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
