"""Who asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coe.engine import DEFAULT_TENANT
from coe.gateway._asgi import Scope

if TYPE_CHECKING:
    from coe.tenants import TenantGuard, Tenants


def api_key(scope: Scope) -> str | None:
    """The caller's key: of `Authorization: Bearer …`, else of `x-api-key`. It goes no further than here."""
    headers: dict[bytes, bytes] = scope["headers"]
    scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer":
        return key.strip().decode("latin-1")
    other = headers.get(b"x-api-key")
    return None if other is None else other.decode("latin-1")


def caller(scope: Scope, tenants: Tenants | None, *, answers: bool = True) -> tuple[str, TenantGuard | None]:
    """The tenant that asks, and the limits that hold for it, if any do.

    Args:
        scope: of the request.
        tenants: None when everybody may ask, as the default tenant and without limits.
        answers: False for a request that only asks for a decision.

    Raises:
        InvalidKey: keys are wanted and this request has none that is known.
    """
    if tenants is None:
        return DEFAULT_TENANT, None
    tenant = tenants.tenant_of(api_key(scope))
    return tenant, tenants.guard(tenant, answers=answers)


def limit_lines(guard: TenantGuard | None) -> bytes:
    """`x-ratelimit-*` header lines for an answer."""
    if guard is None:
        return b""
    return "".join([f"{name}: {value}\r\n" for name, value in guard.headers().items()]).encode("ascii")
