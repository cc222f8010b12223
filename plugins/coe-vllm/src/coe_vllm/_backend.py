"""A server as an expert sees it: attached to, or launched."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Protocol

from coe.errors import ConfigError, ExpertUnavailable
from coe_vllm._api import VllmApi
from coe_vllm._settings import Launch, VllmSettings
from coe_vllm.server import Order, Server, StartFailed, Status
from coe_vllm.server._check import Check
from coe_vllm.server._command import arguments, argv, environment, python_of
from coe_vllm.server._ports import free_port


class Backend(Protocol):
    """A server, running or not.

    Attributes:
        api_key: opens it; empty for none.
    """

    api_key: str

    @property
    def api(self) -> VllmApi:
        """How to ask it; another object after each launch."""
        ...

    @property
    def status(self) -> Status:
        """How it is."""
        ...

    async def start(self) -> None:
        """Have it answer. Raises `ExpertUnavailable` with the reason."""
        ...

    async def stop(self) -> None:
        """End it, if it is ours."""
        ...

    async def aclose(self) -> None:
        """Free what is held."""
        ...


class Attached:
    """A server that somebody else runs."""

    def __init__(self, name: str, base_url: str, api_key: str) -> None:
        self._name = name
        self._up = False
        self.api_key = api_key
        self.api = VllmApi(base_url, api_key)

    @property
    def status(self) -> Status:
        """As of the last look."""
        return Status("ready") if self._up else Status("stopped", "not reached yet")

    async def start(self) -> None:
        """Look whether it is there."""
        self._up = await self.api.healthy()
        if not self._up:
            raise ExpertUnavailable(
                f"`{self._name}`: {self.api.root_url}/health does not answer 200.", expert=self._name
            )

    async def stop(self) -> None:
        """It is not ours to end."""

    async def aclose(self) -> None:
        """Close the connections."""
        await self.api.aclose()


class Launched:
    """A server that coe runs.

    Raises:
        ConfigError: the vLLM that is to run does not take its arguments, as far as that is known already.
    """

    def __init__(self, name: str, settings: VllmSettings, launch: Launch, model: str, base_dir: Path) -> None:
        self._name = name
        self._launch = launch
        self._model = model
        self._base_dir = base_dir
        self._closing: list[VllmApi] = []
        self.api_key = settings.api_key.get_secret_value() if settings.api_key else secrets.token_urlsafe(24)
        self.api = VllmApi(f"http://127.0.0.1:{launch.port or 0}", self.api_key)
        self.server = Server(name, self._order, self._healthy, launch.start_timeout_s)
        self._check = Check(
            name,
            python_of(launch, base_dir),
            arguments(launch),
            environment(launch, api_key="", base_dir=base_dir),
            frozenset(launch.env),
        )
        if (why := self._check.known()) is not None:
            raise ConfigError(f"experts.{name}.launch: {why}.")

    @property
    def status(self) -> Status:
        """How it is."""
        return self.server.status

    async def start(self) -> None:
        """Launch it and wait until it serves."""
        if self.server.status.state == "stopped" and (why := await self._check.refusal()) is not None:
            raise ExpertUnavailable(f"`{self._name}` cannot be started: {why}.", expert=self._name)
        try:
            await self.server.start()
        except StartFailed as error:
            raise ExpertUnavailable(
                f"`{self._name}` cannot be started: {str(error).rstrip('.')}.",
                expert=self._name,
                retry_after_s=self.server.retry_after_s(),
            ) from error
        while self._closing:
            await self._closing.pop().aclose()

    async def stop(self) -> None:
        """End the process."""
        await self.server.stop()

    async def aclose(self) -> None:
        """End the process for good."""
        await self._check.aclose()
        await self.server.aclose()
        for api in (self.api, *self._closing):
            await api.aclose()

    async def _healthy(self) -> bool:
        return await self.api.healthy()  # of the launch under way, not of the first one

    def _order(self) -> Order:
        launch, port = self._launch, self._launch.port or free_port()
        self._closing.append(self.api)
        self.api = VllmApi(f"http://127.0.0.1:{port}", self.api_key)
        log_file = None if launch.log_file is None else self._base_dir / launch.log_file.expanduser()
        return Order(
            argv=argv(launch, model=self._model, name=self._name, port=port, base_dir=self._base_dir),
            env=environment(launch, api_key=self.api_key, base_dir=self._base_dir),
            cwd=self._base_dir,
            grace_s=launch.stop_grace_s,
            log_file=log_file,
        )
