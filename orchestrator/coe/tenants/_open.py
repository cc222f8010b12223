"""From a configuration to its tenants."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from coe.config import Config
from coe.tenants._account import Surroundings
from coe.tenants._policy import policy_of
from coe.tenants._ring import KeyRing
from coe.tenants._tenants import Tenants

if TYPE_CHECKING:
    from coe.tenants._shared import SharedLimits

_log = logging.getLogger("coe.tenants")


def open_tenants(
    config: Config,
    clock: Callable[[], float],
    wall: Callable[[], float],
    replica: str,
    previous: Tenants | None = None,
) -> Tenants | None:
    """The tenants of a configuration; None when it names neither keys nor policies: nothing is to be checked.

    Touches no network; `Tenants.start` connects to Redis.

    Args:
        config: a checked configuration.
        clock: monotonic seconds.
        wall: seconds since 1970, for the expiry of keys and for calendar days and months.
        replica: a name that no other process has or had; the same as before when there is a `previous`.
        previous: tenants of the configuration that this one replaces. What they have used still counts; close
            them once nothing uses them any more.

    Raises:
        ConfigError: the keys file cannot be read, or the Redis URL is not one.
    """
    tenants = config.tenants
    if not tenants.named:
        return None
    ring = None
    if tenants.keys_file is not None:
        ring = KeyRing(config.base_dir / tenants.keys_file, clock, wall)
    policies = {name: policy_of(name, policy, config.routers) for name, policy in tenants.policies.items()}
    shared = _shared(config, clock) if tenants.limited else None
    if shared is None and any(policy.budget is not None for policy in policies.values()):
        _log.warning("budgets_not_kept: without Redis they begin anew when this process starts again")
    if shared is None and tenants.limited and config.server.workers > 1:
        _log.warning(
            "limits_not_shared: without Redis each of the workers=%d has its own", config.server.workers
        )
    surroundings = Surroundings(clock=clock, wall=wall, replica=replica, shared=shared)
    return Tenants(ring, policies, surroundings, previous)


def _shared(config: Config, clock: Callable[[], float]) -> SharedLimits | None:
    if (url := redis_url(config)) is None:
        return None
    from coe.tenants._shared import SharedLimits  # Late, because redis-py costs more memory than the rest.

    return SharedLimits(url, clock, deadline_s=config.tenants.timeout_ms / 1000)


def redis_url(config: Config) -> str | None:
    """Where replicas share limits: the URL of `tenants.redis`, else that of `cache.shared` if it is Redis."""
    if config.tenants.redis is not None:
        return config.tenants.redis.get_secret_value()
    shared = config.cache.shared
    return str(shared.settings["url"]) if shared is not None and shared.kind == "redis" else None
