"""A gateway on a real socket, in a thread of the test process."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from coe.config import loads
from coe.engine import Engine
from coe.gateway import Gateway, Metrics, build
from coe.gateway._serve import listen, url_of
from coe.gateway._server import Server
from coe.registry import Registry
from coe.testing import FakeUpstream


@dataclass
class Running:
    """A gateway that listens.

    Attributes:
        client: an HTTP client for it.
        url: its base URL.
    """

    client: httpx.Client
    url: str
    engine: Engine
    gateway: Gateway
    server: Server

    def chat(self, content: Any = "hello", **fields: Any) -> httpx.Response:
        """POST a chat completion."""
        messages = [{"role": "user", "content": content}]
        return self.client.post(
            "/v1/chat/completions", json={"model": "auto", "messages": messages, **fields}
        )


class InThread(Server):
    """A server that leaves signals alone: only the main thread may have them."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@contextmanager
def running(text: str) -> Iterator[Running]:
    config = loads(text, {})
    metrics = Metrics()
    built = build(config, Registry(), metrics, time.monotonic)
    ids = (f"dec_{number}" for number in itertools.count())
    gateway = Gateway(built, metrics, time.monotonic, lambda: next(ids))
    listener = listen("127.0.0.1", 0)
    listening: Future[None] = Future()
    server = InThread(gateway, config, lambda: listening.set_result(None))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
    thread.start()
    listening.result(20)
    url = url_of(listener, config)
    with httpx.Client(base_url=url, timeout=20, verify=False) as client:
        yield Running(client, url, built.engine, gateway, server)
    server.stop()
    thread.join(20)


Start = Callable[[str], Running]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a gateway from the text of a configuration; it ends with the test."""
    with ExitStack() as stack:
        yield lambda text: stack.enter_context(running(text))


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    """A fake upstream in a thread of its own."""
    with FakeUpstream() as server:
        yield server
