"""Who asks, and how much it may: API keys, limits per minute, budgets, shares of strong experts.

What a gateway needs:

    tenants = open_tenants(config, time.monotonic, time.time, replica_name)   # None: nothing to check
    tenant = tenants.tenant_of(key)                                           # raises InvalidKey
    guard = tenants.guard(tenant)                                             # None: no policy
    served = await engine.complete(request, context, session, guard=guard)
    guard.headers()                                                           # x-ratelimit-*

Importing this package does not import redis-py.
"""

from coe.tenants._counters import Counters
from coe.tenants._file import change_keys, read_keys
from coe.tenants._guard import ASSUMED_COMPLETION_TOKENS, TenantGuard
from coe.tenants._keys import Key, new_key
from coe.tenants._open import open_tenants
from coe.tenants._ring import KeyRing
from coe.tenants._tenants import Tenants, TenantStats

__all__ = [
    "ASSUMED_COMPLETION_TOKENS",
    "Counters",
    "Key",
    "KeyRing",
    "TenantGuard",
    "TenantStats",
    "Tenants",
    "change_keys",
    "new_key",
    "open_tenants",
    "read_keys",
]
