"""The `local` expert: a llama.cpp server of its own, started when needed and restarted when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.util
import logging
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from coe.backoff import Backoff
from coe.contracts import Build, Card, Context, Reply
from coe.errors import ExpertTimeout, ExpertUnavailable, PluginError, UserError
from coe.experts._local._child import Child, StartFailed
from coe.experts._local._fetch import models_folder
from coe.experts._local._settings import LocalSettings
from coe.experts._openai import OpenAIExpert, OpenAISettings
from coe.experts._weights import DEFAULT, check_gguf, ensure
from coe.wire import ChatRequest

_log = logging.getLogger("coe.experts.local")
_PATIENCE_S = 3600.0  # only the request's deadline counts: a busy CPU may be silent for minutes

Weights = Callable[[threading.Event], Path]
"""Returns the path of the checked model file, fetching it if need be; ends early when the event is set."""


def create_local(name: str, settings: LocalSettings, build: Build) -> LocalExpert:
    """The plugin's factory. Downloads nothing yet.

    Raises:
        ConfigError: `model` is missing, or no GGUF file.
        PluginError: llama.cpp is not installed.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        raise PluginError(
            f"The `local` expert `{name}` needs llama.cpp.",
            hint='Install it with: pip install "coe-router[local]".',
        )
    card = Card(
        name=name,
        capabilities=frozenset({"chat", "stream", "json_schema"}),
        context_window=settings.context_tokens,
        params_b=None if settings.model else 0.135,
        active_params_b=None if settings.model else 0.135,
        input_usd_per_mtok=0.0,
        output_usd_per_mtok=0.0,
        license=None if settings.model else "Apache-2.0",
        locality="local",
        description=f"{settings.model.name if settings.model else DEFAULT.title} on this machine's CPU.",
    )
    return LocalExpert(build.card(card), settings, _weights(settings, build.base_dir))


def _weights(settings: LocalSettings, base_dir: Path) -> Weights:
    if settings.model is None:
        folder = models_folder(settings, base_dir)
        return lambda stop: ensure(DEFAULT, folder, progress=_log.info, stop=stop)
    path = base_dir / settings.model.expanduser()
    check_gguf(path, None)  # the hash, slow for large files, is checked at the start
    return functools.partial(_checked, path, settings.sha256)


def _checked(path: Path, sha256: str | None, _: threading.Event) -> Path:
    check_gguf(path, sha256)
    return path


@dataclass(frozen=True, slots=True)
class _Serving:
    """A running process, the way to talk to it, and since when, in seconds of the loop's clock."""

    child: Child
    expert: OpenAIExpert
    since_s: float


class LocalExpert:
    """Answers through its own server process, so that a crash or its memory is not the gateway's.

    A dead process is replaced at once, later with growing pauses; requests wait for the start as long as
    their deadline allows.
    """

    def __init__(self, card: Card, settings: LocalSettings, weights: Weights) -> None:
        self._card = card
        self._settings = settings
        self._weights = weights
        self._serving: _Serving | None = None
        self._starting: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._backoff = Backoff()
        self._last_failure = ""
        self._closed = threading.Event()

    @property
    def card(self) -> Card:
        """Its declared facts."""
        return self._card

    @property
    def awake(self) -> bool:
        """Whether the model is loaded and its process alive."""
        return self._serving is not None and self._serving.child.running

    @property
    def pid(self) -> int | None:
        """Id of the server process, while there is one."""
        return self._serving.child.pid if self._serving else None

    async def start(self) -> None:
        """Fetch the weights if need be, launch the process, wait until it serves.

        Raises:
            ExpertUnavailable: it cannot be started, or failed a moment ago and is left alone for now.
        """
        if self.awake:
            return
        if self._closed.is_set():
            raise self._unavailable("it is closed")
        if self._starting is None:
            wait_s = self._backoff.wait_s(asyncio.get_running_loop().time())
            if wait_s > 0:
                raise self._unavailable(self._last_failure, retry_after_s=wait_s)
            self._starting = asyncio.create_task(self._start())
            self._starting.add_done_callback(self._started)
        # Others wait for the same start: one caller's cancellation must not end it.
        await asyncio.shield(self._starting)

    async def complete(self, request: ChatRequest, context: Context) -> Reply:
        """Answer, after a start when asleep. Raises `ExpertError`s."""
        if not self.awake:
            try:
                async with asyncio.timeout(max(0.0, context.remaining_s())):
                    await self.start()
            except TimeoutError:
                raise ExpertTimeout(
                    f"`{self._card.name}` was still starting at the deadline.", expert=self._card.name
                ) from None
        if (serving := self._serving) is None:
            raise self._unavailable(self._last_failure)
        return await serving.expert.complete(request, context)

    async def aclose(self) -> None:
        """Stop the process."""
        self._closed.set()
        for task in (self._starting, self._watching):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        if (serving := self._serving) is not None:
            self._serving = None
            await serving.expert.aclose()
            await serving.child.stop()

    def _started(self, task: asyncio.Task[None]) -> None:
        self._starting = None
        if not task.cancelled():
            task.exception()  # retrieved: a background restart has nobody else to look at it

    async def _start(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            path = await asyncio.to_thread(self._weights, self._closed)
            api_key = secrets.token_urlsafe(24)
            child = await Child.launch(self._order(path, api_key), self._settings.max_start_s)
        except (UserError, StartFailed, OSError) as error:
            self._last_failure = str(error)
            self._backoff.failed(loop.time())
            raise self._unavailable(self._last_failure) from error
        upstream = OpenAISettings(
            base_url=f"{child.base_url}/v1",
            model=self._card.name,
            api_key=SecretStr(api_key),
            first_byte_timeout_s=_PATIENCE_S,
            idle_timeout_s=_PATIENCE_S,
        )
        self._serving = _Serving(child, OpenAIExpert(self._card, upstream), loop.time())
        self._watching = asyncio.create_task(self._watch(self._serving))
        _log.info("local model ready: expert=%s pid=%d", self._card.name, child.pid)

    def _order(self, path: Path, api_key: str) -> dict[str, str | int]:
        return {
            "model": str(path),
            "alias": self._card.name,
            "api_key": api_key,
            "context_tokens": self._settings.context_tokens,
            "slots": self._settings.slots,
            "threads": self._settings.threads,
        }

    async def _watch(self, serving: _Serving) -> None:
        """Replace the process once it has died."""
        loop = asyncio.get_running_loop()
        how = await serving.child.wait()
        self._serving = None
        self._last_failure = f"its process ended ({how})"
        _log.warning("local model died: expert=%s how=%s", self._card.name, how)
        self._backoff.failed(loop.time(), served_s=loop.time() - serving.since_s)
        await serving.expert.aclose()
        await asyncio.sleep(self._backoff.wait_s(loop.time()))
        # A failure is noted for the requests that come; they try again when the pause is over.
        with contextlib.suppress(ExpertUnavailable):
            await self.start()

    def _unavailable(self, why: str, *, retry_after_s: float | None = None) -> ExpertUnavailable:
        return ExpertUnavailable(
            f"`{self._card.name}` cannot answer: {why.rstrip('.')}.",
            expert=self._card.name,
            retry_after_s=retry_after_s,
        )
