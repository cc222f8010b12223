"""`POST /admin/reload`, for whoever holds the admin key."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable

import msgspec

from coe.errors import InvalidKey
from coe.gateway._asgi import JSON, Receive, Scope, Send, respond
from coe.gateway._reload import Outcome

Reload = Callable[[str], Awaitable[Outcome]]


class Admin:
    """Endpoints of the operator.

    Args:
        key: what opens them.
        reload: reads the configuration again; its argument is the reason, for the log.
    """

    def __init__(self, key: str, reload: Reload) -> None:
        self._expected = b"Bearer " + key.encode()
        self._reload = reload

    async def reload(self, scope: Scope, receive: Receive, send: Send) -> int:
        """200 when the configuration is in force, 422 when the old one stays; both say why."""
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        if not hmac.compare_digest(given, self._expected):
            raise InvalidKey("This needs the admin key.", hint="Send `Authorization: Bearer …`.")
        outcome = await self._reload("asked for")
        status = 200 if outcome.outcome == "applied" else 422
        await respond(send, status, msgspec.json.encode(outcome), (JSON,))
        return status
