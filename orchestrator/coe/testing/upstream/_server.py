"""The fake upstream: listens, records, and answers or fails as told."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import msgspec

from coe.testing.upstream._answers import Answer, error_envelope, model_list
from coe.testing.upstream._connection import Connection, Received
from coe.testing.upstream._fault import Fault, Framing
from coe.testing.upstream._other import embeddings, scores
from coe.testing.upstream._reply import JSON, Reply, plan

T = TypeVar("T")

_OTHERS: Mapping[str, Callable[[dict[str, Any]], bytes]] = {"/v1/embeddings": embeddings, "/v1/score": scores}


class FakeUpstream:
    """A fake OpenAI-compatible server over real HTTP, which can fail in every way that a real one does.

    It listens on 127.0.0.1 and answers `POST /v1/chat/completions` and `/v1/completions`, streamed and not,
    `POST /v1/embeddings` and `/v1/score` (without faults), `GET /v1/models` and `GET /health`.
    By default the answer is the text of the last user message, so that answers which were mixed up show.

    Use it as `async with` inside a running loop, or as `with` from synchronous code: then it runs in a thread
    of its own, and `run` waits for its coroutines. `python -m coe.testing.upstream` runs it as a process.

    Args:
        fault: what goes wrong with every chat completion that neither `faults` nor `script` speaks of.
            `Fault.REFUSE` begins with a port on which nobody listens.
        faults: what goes wrong with requests for one model, by name; may be changed while it runs.
        answer: what to say instead of the echo.
        framing: how the end of a correct body is marked.
        models: names that `GET /v1/models` lists; requests may name any other.
        delay_s: seconds, for the faults that are slow.
        retry_after_s: what `Fault.OVERLOADED` asks for, in seconds.
        huge_bytes: characters in the answer of `Fault.HUGE_BODY`.
        port: 0 picks a free one.
        keep: how many of the latest requests are kept in `received`.

    Attributes:
        ill: whether `GET /health` answers 503.
        received: the latest requests, of all paths, oldest first.
        served: chat completions that have arrived.
        cancelled: replies that the client abandoned while they were under way.
        connections: connections that have been made.
        open_connections: connections that are open now.
    """

    def __init__(
        self,
        fault: Fault = Fault.NONE,
        *,
        faults: Mapping[str, Fault] | None = None,
        answer: Answer = None,
        framing: Framing = Framing.AUTO,
        models: Iterable[str] = ("fake",),
        delay_s: float = 0.05,
        retry_after_s: float = 1,
        huge_bytes: int = 64_000_000,
        port: int = 0,
        keep: int = 10_000,
    ) -> None:
        self._fault = fault
        self.faults = {model: _per_request(each) for model, each in (faults or {}).items()}
        self.answer = answer
        self.framing = framing
        self.models = tuple(models)
        self.delay_s = delay_s
        self.retry_after_s = retry_after_s
        self.huge_bytes = huge_bytes
        self.received: deque[Received] = deque(maxlen=keep)
        self.served = 0
        self.ill = False
        self.cancelled = 0
        self.connections = 0
        self._port = port
        self._script: deque[Fault] = deque()
        self._open: set[Connection] = set()
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._server: asyncio.Server | None = None
        self._reserved: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._released = asyncio.Event()
        self._stopped = asyncio.Event()

    # --- what a test reads and sets

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as `base_url`."""
        return f"{self.url}/v1"

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        return len(self._open)

    @property
    def fault(self) -> Fault:
        """What goes wrong with every chat completion not spoken of otherwise."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault) -> None:
        _per_request(fault)
        self._fault = fault

    def script(self, *faults: Fault) -> None:
        """Say what goes wrong with the next chat completions, one each, before anything else applies."""
        for fault in faults:
            _per_request(fault)
        self._script.extend(faults)

    def release(self) -> None:
        """Let every reply that hangs or stalls go on, and those to come. From any thread."""
        self._loop.call_soon_threadsafe(self._released.set)

    def hold(self) -> None:
        """Let replies hang or stall again after `release`. From any thread."""
        self._loop.call_soon_threadsafe(self._released.clear)

    async def wait_served(self, count: int) -> None:
        """Wait until `count` chat completions have arrived in all."""
        await self._wait(lambda: self.served >= count)

    async def wait_cancelled(self, count: int = 1) -> None:
        """Wait until the client has abandoned `count` replies in all."""
        await self._wait(lambda: self.cancelled >= count)

    async def refuse(self) -> None:
        """Stop listening, drop every connection and keep the port, so that connecting is refused."""
        if self._reserved is not None:
            return
        server = cast("asyncio.Server", self._server)
        server.close()
        self._server = None
        self._drop_connections()
        await self._wait(lambda: not self._open)
        self._reserved = self._bind()

    async def accept(self) -> None:
        """Listen again after `refuse`."""
        if self._reserved is None:
            return
        listener, self._reserved = self._reserved, None
        await self._listen(listener)

    # --- life

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        bound = self._bind()
        self._port = bound.getsockname()[1]
        if self._fault is Fault.REFUSE:
            self._fault, self._reserved = Fault.NONE, bound
        else:
            await self._listen(bound)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        if self._reserved is not None:
            self._reserved.close()
        self._drop_connections()
        await self._wait(lambda: not self._open)

    def __enter__(self) -> Self:
        ready: Future[None] = Future()

        async def live() -> None:
            async with self:
                ready.set_result(None)
                await self._stopped.wait()

        def run() -> None:
            try:
                asyncio.run(live())
            except BaseException as error:
                if ready.done():
                    raise
                ready.set_exception(error)

        self._thread = threading.Thread(target=run, name="coe-fake-upstream", daemon=True)
        self._thread.start()
        ready.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        cast("threading.Thread", self._thread).join()

    def run(self, coroutine: Coroutine[Any, Any, T], timeout_s: float = 30) -> T:
        """From another thread: run one of this upstream's coroutines on its loop and wait for the result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout_s)

    def _bind(self) -> socket.socket:
        # Bound but not listening: the port is ours, and whoever connects is refused.
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setblocking(False)
        try:
            bound.bind(("127.0.0.1", self._port))
        except OSError:
            bound.close()
            raise
        return bound

    async def _listen(self, bound: socket.socket) -> None:
        self._server = await self._loop.create_server(
            lambda: Connection(self._serve, self._connected, self._disconnected), sock=bound, backlog=1024
        )

    def _drop_connections(self) -> None:
        for connection in list(self._open):
            connection.hang_up(reset=True)

    # --- connections

    def _connected(self, connection: Connection) -> None:
        self.connections += 1
        self._open.add(connection)

    def _disconnected(self, connection: Connection, abandoned: bool) -> None:
        self._open.discard(connection)
        self.cancelled += abandoned
        self._changed()

    async def _serve(self, received: Received, connection: Connection) -> None:
        self.received.append(received)
        path = received.path.partition("?")[0]
        if received.method == "POST" and path in ("/v1/chat/completions", "/v1/completions"):
            self.served += 1
            self._changed()
            reply = self._chat(received)
        elif received.method == "POST" and path in _OTHERS:
            reply = Reply((_OTHERS[path](received.json()),))
        elif (received.method, path) == ("GET", "/health"):
            reply = Reply((b"{}",), 503 if self.ill else 200)
        elif (received.method, path) == ("GET", "/v1/models"):
            reply = Reply((model_list(self.models),))
        else:
            message = f"No such path: {received.method} {path}"
            reply = Reply((error_envelope(message, type="invalid_request_error", code="not_found"),), 404)
        await reply.send(connection, received, self._released)

    def _chat(self, received: Received) -> Reply:
        try:
            payload: Any = received.json()
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            envelope = error_envelope(str(error), type="invalid_request_error", code="invalid_json")
            return Reply((envelope,), 400, JSON)
        fault = self._script.popleft() if self._script else self.faults.get(payload.get("model"), self._fault)
        return plan(_per_request(fault), payload, self)

    # --- waiting

    async def _wait(self, reached: Callable[[], bool]) -> None:
        if reached():
            return
        future = self._loop.create_future()
        self._waiters.append((reached, future))
        await future

    def _changed(self) -> None:
        for waiter in [waiter for waiter in self._waiters if waiter[0]()]:
            self._waiters.remove(waiter)
            if not waiter[1].done():
                waiter[1].set_result(None)


def _per_request(fault: Fault) -> Fault:
    if fault is Fault.REFUSE:
        raise ValueError("Fault.REFUSE is of the whole server: pass it as `fault`, or call `await refuse()`")
    return fault
