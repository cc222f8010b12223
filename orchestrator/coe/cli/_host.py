"""What plugin commands get from coe: the experts and embedders of a configuration."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coe.contracts import Card, Embedder, Expert
    from coe.pool import Builder, Pool


class CommandHost:
    """The `coe.contracts.Host`. Imports what it needs when it is asked: `coe --help` makes one."""

    @asynccontextmanager
    async def open(self, config: Path | None = None) -> AsyncGenerator[_CommandBuild, None]:
        """Yield the `Build` of a configuration; close the experts that were asked for at the end.

        Raises:
            UserError: the configuration is wrong, or something that it names cannot be built.
        """
        from coe.cli._options import checked, load_config, registry_for
        from coe.pool import Builder

        settings = load_config(config)
        registry = registry_for(settings)
        build = _CommandBuild(Builder(checked(settings, registry), registry))
        try:
            yield build
        finally:
            await build.aclose()


class _CommandBuild:
    """A `coe.contracts.Build` that belongs to no expert."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder
        self._pool: Pool | None = None

    @property
    def base_dir(self) -> Path:
        return self._builder.base_dir

    def card(self, defaults: Card) -> Card:
        return defaults

    def expert(self, name: str) -> Expert:
        from coe.errors import ConfigError

        if self._pool is None:
            self._pool = self._builder.pool(time.monotonic)
        if name not in self._pool.members:
            known = ", ".join(self._pool.members)
            raise ConfigError(f"No expert is called `{name}`.", hint=f"Known: {known}.")
        return self._pool.members[name].expert

    def embedder(self, kind: str, settings: Mapping[str, Any]) -> Embedder:
        return self._builder.embedder(kind, settings)

    def nested(self, kind: str, settings: Mapping[str, Any], card: Card) -> Expert:
        return self._builder.nested(kind, settings, card)

    async def aclose(self) -> None:
        if self._pool is not None:
            await self._pool.aclose()
