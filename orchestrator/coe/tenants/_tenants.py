"""All tenants of a gateway."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from coe.errors import InvalidKey
from coe.tenants._account import Account, Surroundings, Used
from coe.tenants._counters import Counters
from coe.tenants._guard import TenantGuard
from coe.tenants._policy import Policy
from coe.tenants._ring import KeyRing

if TYPE_CHECKING:
    from coe.tenants._shared import SharedStats

DEFAULT = "default"
"""Who asks where no keys are wanted, and the policy of tenants that have none of their own."""


@dataclass(slots=True)
class TenantStats:
    """Counters since the start.

    Attributes:
        policies: by the policy's name.
        refused_keys: requests without a valid key.
        key_reload_failures: times that the keys file could not be read again.
        shared: of the limits in Redis; None without.
    """

    policies: Mapping[str, Counters] = field(default_factory=dict[str, Counters])
    refused_keys: int = 0
    key_reload_failures: int = 0
    shared: SharedStats | None = None


class Tenants:
    """Knows whose a request is and what its tenant may do.

    Args:
        ring: the API keys; None when everybody may ask.
        policies: by tenant; `default` for those that have none of their own.
        surroundings: clocks, and the other replicas.
        previous: what went before this: what has been used and counted so far still holds.
    """

    def __init__(
        self,
        ring: KeyRing | None,
        policies: Mapping[str, Policy],
        surroundings: Surroundings,
        previous: Tenants | None = None,
    ) -> None:
        self._ring = ring
        self._policies = policies
        self._surroundings = surroundings
        self._used: dict[str, Used] = previous._used if previous else {}
        self._counters: dict[str, Counters] = previous._counters if previous else {}
        for label in policies:
            self._counters.setdefault(label, Counters())
        self._accounts: dict[str, Account] = {}
        self._refused_keys = previous._refused_keys if previous else 0

    def tenant_of(self, key: str | None) -> str:
        """Whose request it is. Raises `InvalidKey` when keys are wanted and this is none."""
        if self._ring is None:
            return DEFAULT
        try:
            return self._ring.tenant_of(key)
        except InvalidKey:
            self._refused_keys += 1
            raise

    def guard(self, tenant: str, *, answers: bool = True) -> TenantGuard | None:
        """A guard for one request of the tenant; None when no policy holds for it.

        `answers` is False for a request that only asks for a decision.
        """
        account = self._accounts.get(tenant)
        if account is None:
            policy = self._policies.get(tenant) or self._policies.get(DEFAULT)
            if policy is None:
                return None
            used = self._used.setdefault(tenant, Used())
            account = self._accounts[tenant] = Account(tenant, policy, used, self._surroundings)
        return TenantGuard(account, self._counters[account.policy.label], answers=answers)

    def may_ask(self, tenant: str, model: str) -> bool:
        """Whether the tenant may put this name in `model`."""
        policy = self._policies.get(tenant) or self._policies.get(DEFAULT)
        return policy is None or policy.models is None or model in policy.models

    def stats(self) -> TenantStats:
        """A snapshot; the counters of the policies are live."""
        shared = self._surroundings.shared
        return TenantStats(
            policies=self._counters,
            refused_keys=self._refused_keys,
            key_reload_failures=self._ring.reload_failures if self._ring else 0,
            shared=shared.stats() if shared else None,
        )

    async def start(self) -> None:
        """Connect to Redis, so that the first request need not wait for it."""
        if self._surroundings.shared is not None:
            await self._surroundings.shared.connect()

    async def aclose(self) -> None:
        """Tell Redis what is still to be told, and close the connection."""
        if self._surroundings.shared is not None:
            await self._surroundings.shared.aclose()
