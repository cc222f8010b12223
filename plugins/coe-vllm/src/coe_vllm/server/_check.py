"""Refuse a launch that the installed vLLM would refuse, with what was meant."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from pathlib import Path

import platformdirs

from coe_vllm._presets import Argument
from coe_vllm.server._arguments import Known, Unknown, ask, cached, problems

_log = logging.getLogger("coe.vllm.server")


class Check:
    """Looks at the arguments of one server.

    Args:
        name: of the expert.
        python: of the environment that holds vLLM.
        args: of the server by name, with underscores.
        env: of the server.
        variables: names of the environment variables that the configuration gives.
        cache: folder for what vLLM has said; `cache_dir()` by default.
    """

    def __init__(
        self,
        name: str,
        python: str,
        args: Mapping[str, Argument],
        env: Mapping[str, str],
        variables: frozenset[str] = frozenset(),
        cache: Path | None = None,
    ) -> None:
        self._name = name
        self._python = python
        self._args = args
        self._env = env
        self._variables = variables
        self._cache = cache or cache_dir()
        self._asking: asyncio.Task[str | None] | None = None

    def known(self) -> str | None:
        """Why it would be refused, by what is known without starting anything; None when nothing is."""
        known = cached(self._python, self._env, self._cache)
        return None if known is None else self._judged(known)

    async def refusal(self) -> str | None:
        """Why it would be refused; None when it is taken, or when vLLM cannot be asked: it says so itself."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        # The caller's deadline must not end what the next caller needs as well.
        return await asyncio.shield(self._asking)

    async def aclose(self) -> None:
        """Stop asking."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    async def _ask(self) -> str | None:
        if cached(self._python, self._env, self._cache) is None:
            _log.info("vllm starting: expert=%s phase=asking_for_its_arguments", self._name)
        try:
            return self._judged(await ask(self._python, self._env, self._cache))
        except Unknown as error:
            _log.warning("vllm arguments unchecked: expert=%s why=%s", self._name, error)
            return None

    def _judged(self, known: Known) -> str | None:
        return "; ".join(problems(known, self._args, sorted(self._variables))) or None


def cache_dir() -> Path:
    """Where coe keeps what it can make again: `COE_CACHE_DIR`, or the platform's folder."""
    override = os.environ.get("COE_CACHE_DIR")
    return Path(override).expanduser() if override else platformdirs.user_cache_path("coe", appauthor=False)
