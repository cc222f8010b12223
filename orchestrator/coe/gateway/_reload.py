"""Replace the configuration of a running gateway: build the new one whole, then swap, or keep the old one."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Literal, Protocol

import msgspec

from coe.config import Config, ConfigSource, InvalidConfig, changes, check_plugins
from coe.errors import CoeError, ConfigError
from coe.gateway._built import Built
from coe.gateway._exposure import refuse_open
from coe.gateway._starting import single_threaded_blas
from coe.gateway._tls import tls_context
from coe.registry import FIRST_PARTY, Registry

_log = logging.getLogger("coe.reload")

MOST_STEPS_BACK = 10
"""How many earlier configurations are kept to go back to."""

_FIXED = frozenset(
    f"server.{key}" for key in ("host", "port", "workers", "drain_timeout_s", "client_timeout_s")
)
"""Keys that are read once, at the start."""


class Outcome(msgspec.Struct, frozen=True):
    """What became of a reload.

    Attributes:
        outcome: `refused` when the old configuration stays in force.
        changes: what differs from the old configuration, a line each.
        errors: why it was refused, a line each.
    """

    outcome: Literal["applied", "refused"]
    changes: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


def read_config(source: ConfigSource, text: str, host: str) -> tuple[Config, Registry]:
    """The configuration that a text stands for, accepted by its plugins.

    Args:
        source: where the text comes from.
        text: YAML.
        host: the address that is listened on, whatever the text says of it.

    Raises:
        InvalidConfig: something of it is wrong; all problems at once.
        ConfigError: its certificate cannot be used, or it would answer other machines without asking for
            keys, and does not say so.
    """
    config = source.parse(text)
    registry = Registry(allow=FIRST_PARTY.union(config.plugins.allow))
    with single_threaded_blas():
        problems = check_plugins(config, registry)
    if problems:
        raise InvalidConfig(problems)
    if config.server.tls is not None:
        tls_context(config.server.tls, config.base_dir)
    bound = config.server.model_copy(update={"host": host})
    refuse_open(config.model_copy(update={"server": bound}))
    return config, registry


class Preparing:
    """Builds what another text stands for beside what serves, and puts it in force when told to.

    Args:
        source: where the text comes from.
        serving: what answers the next request.
        build: what a configuration is built into; the last argument is what it follows.
        swap: puts it in force.
        host: the address that is listened on.
    """

    def __init__(
        self,
        source: ConfigSource,
        serving: Callable[[], Built],
        build: Callable[[Config, Registry, Built], Built],
        swap: Callable[[Built], None],
        host: str,
    ) -> None:
        self._source = source
        self._serving = serving
        self._build = build
        self._swap = swap
        self._host = host
        self._prepared: Built | None = None

    async def prepare(self, text: str) -> Outcome:
        """Build what the text stands for. Requests are served meanwhile; nothing changes for them yet."""
        await self.abort()
        before = self._serving()
        try:
            # Reading artifacts takes time that the requests in flight have not.
            built = await asyncio.to_thread(self._read_and_build, text, before)
        except CoeError as error:
            return Outcome("refused", errors=tuple(str(error).splitlines()))
        # Plugins build experts and routers: whatever one of them raises, what serves goes on.
        except Exception as error:  # noqa: BLE001
            _log.exception("configuration could not be built")
            return Outcome("refused", errors=(f"{type(error).__name__} while it was built: see the log.",))
        self._prepared = built
        return Outcome("applied", described(before.config, built.config))

    def commit(self) -> None:
        """Put in force what was prepared last."""
        if self._prepared is not None:
            built, self._prepared = self._prepared, None
            self._swap(built)

    async def abort(self) -> None:
        """Drop what was prepared."""
        if self._prepared is not None:
            built, self._prepared = self._prepared, None
            await built.aclose([self._serving()])

    async def replace(self, text: str) -> Outcome:
        """Prepare, and commit if that went well."""
        outcome = await self.prepare(text)
        self.commit()
        return outcome

    def _read_and_build(self, text: str, before: Built) -> Built:
        config, registry = read_config(self._source, text, self._host)
        return self._build(config, registry, before)


def described(old: Config, new: Config) -> tuple[str, ...]:
    """`coe.config.changes`, with a note at what only a restart changes."""
    return tuple(
        f"{line} (after a restart)" if line.split(":", 1)[0] in _FIXED else line for line in changes(old, new)
    )


class Changing(Protocol):
    """What the operator may ask for over HTTP."""

    async def reload(self, why: str) -> Outcome:
        """Read the configuration again; `why` is for the log."""
        ...

    async def rollback(self, why: str) -> Outcome:
        """Put in force what was before."""
        ...

    async def preview(self) -> Outcome:
        """What a reload would change. Nothing is changed."""
        ...


class Reloading:
    """Reads the configuration again when asked to, one reload at a time.

    Args:
        source: where it comes from.
        text: what is in force.
        host: the address that is listened on.
        replace: puts a text in force, or says why not.
        told: hears every outcome.
    """

    def __init__(
        self,
        source: ConfigSource,
        text: str,
        host: str,
        replace: Callable[[str], Awaitable[Outcome]],
        told: Callable[[Outcome], None],
    ) -> None:
        self._source = source
        self._host = host
        self._replace = replace
        self._told = told
        self._lock = asyncio.Lock()
        self._before: deque[str] = deque(maxlen=MOST_STEPS_BACK)
        self.text = text

    async def reload(self, why: str, *, only_if_new: bool = False) -> Outcome:
        """Read the text and put it in force. Never raises for a wrong one.

        Args:
            why: for the log.
            only_if_new: leave it at that when the text is what is in force. Without this it is built again,
                because what it refers to, such as a trained router, may have changed.
        """
        async with self._lock:
            try:
                text = await asyncio.to_thread(self._source.read_again)
                if only_if_new and text == self.text:
                    return Outcome("applied")
                outcome = await self._replace(text)
            except ConfigError as error:
                outcome = Outcome("refused", errors=(str(error),))
            else:
                if outcome.outcome == "applied" and text != self.text:
                    self._before.append(self.text)
                    self.text = text
        _report(outcome, why)
        self._told(outcome)
        return outcome

    async def rollback(self, why: str) -> Outcome:
        """Put in force what was before; again, and it goes back further. Never raises.

        The file stays as it is: its next change, or the next reload, counts.
        """
        async with self._lock:
            if not self._before:
                outcome = Outcome("refused", errors=("There is no earlier configuration to go back to.",))
            else:
                outcome = await self._replace(self._before[-1])
                if outcome.outcome == "applied":
                    self.text = self._before.pop()
        _report(outcome, why)
        self._told(outcome)
        return outcome

    async def preview(self) -> Outcome:
        """What a reload would change, as far as reading and checking shows it; nothing is built."""
        try:
            text = await asyncio.to_thread(self._source.read_again)
            config, _ = await asyncio.to_thread(read_config, self._source, text, self._host)
        except CoeError as error:
            return Outcome("refused", errors=tuple(str(error).splitlines()))
        return Outcome("applied", described(self._source.parse(self.text), config))


def _report(outcome: Outcome, why: str) -> None:
    if outcome.outcome == "applied":
        _log.info("configuration applied: reason=%r changes=%d", why, len(outcome.changes))
        for line in outcome.changes:
            _log.info("configuration changed: %s", line)
    else:
        _log.error("configuration refused, the old one stays in force: reason=%r", why)
        for line in outcome.errors:
            _log.error("configuration error: %s", line)
