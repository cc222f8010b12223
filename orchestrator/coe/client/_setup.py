"""From what a caller names to an engine in this process."""

from __future__ import annotations

import time
from pathlib import Path

from coe.config import CacheConfig, Config, InvalidConfig, check_plugins, discover
from coe.engine import Attempt, Engine, Routed, open_engine
from coe.registry import FIRST_PARTY, Registry


class Unobserved:
    """An `Observer` that keeps nothing."""

    def routed(self, routed: Routed) -> None:
        """A decision was made."""

    def attempted(self, attempt: Attempt) -> None:
        """An expert was asked."""

    def router_failed(self, router: str, why: str) -> None:
        """A router failed."""

    def stream_failed(self, expert: str, code: str) -> None:
        """An expert failed after its first byte."""


def load_config(config: Config | Path | str | None) -> Config:
    """The configuration: as given, from that file, or by default the one that `coe serve` would use.

    Raises:
        ConfigError: the file cannot be read.
        InvalidConfig: what it says is wrong.
    """
    return config if isinstance(config, Config) else discover(None if config is None else Path(config))


def build_engine(config: Config, *, cached: bool) -> Engine:
    """Build what the configuration names, with the plugins that it allows. Starts no expert.

    Args:
        config: what to build.
        cached: whether to keep decisions as the configuration says, which may mean a Redis server.

    Raises:
        InvalidConfig: settings of a plugin are wrong; all problems at once.
        UserError: something cannot be built.
    """
    registry = Registry(allow=FIRST_PARTY.union(config.plugins.allow))
    if problems := check_plugins(config, registry):
        raise InvalidConfig(problems)
    if not cached:
        uncached = config.model_copy(update={"cache": CacheConfig(enabled=False)})
        uncached.attach(config.origin)
        config = uncached
    return open_engine(config, registry, Unobserved(), time.monotonic)
