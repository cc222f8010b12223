"""The ASGI application."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from coe import __version__
from coe.engine import model_infos, parse_embedding, parse_prompt, parse_rerank, parse_score
from coe.errors import CoeError
from coe.gateway._admin import Admin
from coe.gateway._asgi import JSON, ClientGone, Receive, Scope, Send, respond
from coe.gateway._built import Built
from coe.gateway._caller import caller
from coe.gateway._chat import ChatHandler, Parse
from coe.gateway._envelope import envelope, error_headers
from coe.gateway._generation import Generation, Generations, Handler, Paths
from coe.gateway._metrics import Metrics
from coe.gateway._note import NOTE, Note
from coe.gateway._reload import Changing
from coe.wire import ErrorDetail, ErrorEnvelope, ModelList

_log = logging.getLogger("coe.gateway")

_OTHERS: Mapping[str, Parse] = {
    "/v1/completions": parse_prompt,
    "/v1/embeddings": parse_embedding,
    "/v1/score": parse_score,
    "/v1/rerank": parse_rerank,
}


class Gateway:
    """One process's gateway.

    Args:
        built: what it serves, to begin with.
        metrics: the engine's observer.
        clock: monotonic seconds.
        new_id: gives decision ids.
        changing: changes the configuration; None where that cannot be asked for over HTTP.
        scrape: Prometheus' text where it is more than this process's own.
    """

    def __init__(
        self,
        built: Built,
        metrics: Metrics,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        changing: Changing | None = None,
        scrape: Callable[[], Awaitable[bytes]] | None = None,
    ) -> None:
        self._metrics = metrics
        self._clock = clock
        self._new_id = new_id
        self._changing = changing
        self._scrape = scrape
        self._draining = False
        self._generations = Generations(Generation(built, self._paths(built)))
        metrics.watch(built.engine, built.journal, built.tenants)

    def _paths(self, built: Built) -> Paths:
        chat = ChatHandler(
            built.engine,
            built.config.server,
            self._metrics,
            self._clock,
            self._new_id,
            built.journal,
            built.tenants,
            built.tracing,
        )
        paths: dict[str, dict[str, Handler]] = {
            "/v1/chat/completions": {"POST": chat.complete},
            "/v1/route": {"POST": chat.route},
            **{path: {"POST": chat.other(path, parse)} for path, parse in _OTHERS.items()},
            "/v1/models": {"GET": self._models},
            "/health/live": {"GET": self._live},
            "/health/ready": {"GET": self._ready},
            "/metrics": {"GET": self._exposition},
            "/openapi.json": {"GET": self._openapi},
        }
        key = built.config.server.admin_key
        if key is not None and self._changing is not None:
            admin = Admin(key.get_secret_value(), self._changing)
            paths["/admin/reload"] = {"POST": admin.reload}
            paths["/admin/rollback"] = {"POST": admin.rollback}
            paths["/admin/diff"] = {"GET": admin.diff}
        return paths

    @property
    def serving(self) -> Built:
        """What answers the next request."""
        return self._generations.current.built

    def swap(self, built: Built) -> None:
        """Serve with this from the next request on; those in flight end on what they began on.

        What served before is closed after its last request, but for what the new one has taken over.
        """
        self._generations.swap(Generation(built, self._paths(built)))
        self._metrics.watch(built.engine, built.journal, built.tenants)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, for HTTP alone."""
        started = self._clock()
        path: str = scope["path"]
        generation = self._generations.current
        methods = generation.paths.get(path)
        if methods is None:
            await self._refuse(send, 404, "not_found", f"There is nothing at {path}.")
            return
        handler = methods.get(scope["method"])
        if handler is None:
            allowed = ", ".join(methods)
            await self._refuse(send, 405, "method_not_allowed", f"{path} takes {allowed}.", allowed)
            return
        generation.active += 1
        try:
            status = await handler(scope, receive, send)
        except CoeError as error:
            status = error.status
            lines = _failure_lines(scope, generation)
            await respond(send, status, envelope(error), error_headers(error), lines)
        except ClientGone:
            status = 499
            self._metrics.disconnected()
        # The last resort: the caller gets an envelope, and no detail of ours.
        except Exception:  # noqa: BLE001
            _log.exception("request failed", extra={"path": path})
            status = 500
            lines = _failure_lines(scope, generation)
            await self._refuse(send, status, "internal_error", "Internal error.", lines=lines)
        finally:
            generation.active -= 1
            if generation.retired and not generation.active:
                self._generations.idle(generation)
        self._metrics.answered(path, status, self._clock() - started)

    def start(self) -> None:
        """Wake the experts, in the background. Call it once, within the loop."""
        self._generations.start()

    async def aclose(self) -> None:
        """Close what has served. Call it after the last request."""
        await self._generations.aclose()

    def drain(self) -> None:
        """Report not ready from now on; running requests finish."""
        self._draining = True

    @staticmethod
    async def _refuse(
        send: Send, status: int, code: str, message: str, allow: str = "", lines: bytes = b""
    ) -> None:
        detail = ErrorDetail(message=message, type="invalid_request_error", param=None, code=code)
        headers = [JSON, (b"allow", allow.encode())] if allow else [JSON]
        await respond(send, status, msgspec.json.encode(ErrorEnvelope(detail)), headers, lines)

    # --- small endpoints ---

    async def _models(self, scope: Scope, receive: Receive, send: Send) -> int:
        """`GET /v1/models`: virtual models, then experts; those that the caller may ask for."""
        tenants = self.serving.tenants
        tenant, _ = caller(scope, tenants)
        infos = model_infos(self.serving.engine)
        if tenants is not None:
            infos = [info for info in infos if tenants.may_ask(tenant, info.id)]
        await respond(send, 200, msgspec.json.encode(ModelList(infos)))
        return 200

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> int:
        """`GET /health/live`: the process answers."""
        await respond(send, 200, b'{"status":"live"}')
        return 200

    async def _ready(self, scope: Scope, receive: Receive, send: Send) -> int:
        """`GET /health/ready`: 200 when an expert can answer at once."""
        pool = self.serving.engine.pool
        view = pool.view()
        if self._draining:
            status = "draining"
        elif any(state.healthy and state.awake for state in view.experts.values()):
            status = "ready"
        else:
            status = "starting"
        code = 200 if status == "ready" else 503
        experts: dict[str, Any] = {}
        for name, state in view.experts.items():
            experts[name] = {"healthy": state.healthy, "awake": state.awake}
            if (probe := pool.member(name).probe) is not None:
                experts[name]["probe"] = probe.state
        await respond(send, code, msgspec.json.encode({"status": status, "experts": experts}))
        return code

    async def _exposition(self, scope: Scope, receive: Receive, send: Send) -> int:
        """`GET /metrics`: Prometheus' text format."""
        text = (b"content-type", b"text/plain; version=1.0.0; charset=utf-8")
        exposition = await self._scrape() if self._scrape else self._metrics.exposition()
        await respond(send, 200, exposition, [text])
        return 200

    async def _openapi(self, scope: Scope, receive: Receive, send: Send) -> int:
        """`GET /openapi.json`: what is served, for programs."""
        from coe.gateway._openapi import document  # Late: hardly anybody asks, and the start is quicker.

        described = document(self.serving.config, __version__)
        await respond(send, 200, msgspec.json.encode(described))
        return 200


def _failure_lines(scope: Scope, generation: Generation) -> bytes:
    """The `x-coe-*` headers of an error; nothing for a request that has no note."""
    note: Note | None = scope.get(NOTE)
    return b"" if note is None else note.failure_lines(generation.built.engine.pool)
