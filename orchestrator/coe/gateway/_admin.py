"""`/admin/*`, for whoever holds the admin key."""

from __future__ import annotations

import hmac

import msgspec

from coe.errors import InvalidKey
from coe.gateway._asgi import JSON, Receive, Scope, Send, respond
from coe.gateway._reload import Changing, Outcome


class Admin:
    """Endpoints of the operator.

    Args:
        key: what opens them.
        changing: does what they ask for.
    """

    def __init__(self, key: str, changing: Changing) -> None:
        self._expected = b"Bearer " + key.encode()
        self._changing = changing

    async def reload(self, scope: Scope, receive: Receive, send: Send) -> int:
        """200 when the configuration is in force, 422 when the old one stays; both say why."""
        self._check(scope)
        return await _told(send, await self._changing.reload("asked for"))

    async def rollback(self, scope: Scope, receive: Receive, send: Send) -> int:
        """200 when what was in force before is so again, 422 when not; both say why."""
        self._check(scope)
        return await _told(send, await self._changing.rollback("rollback asked for"))

    async def diff(self, scope: Scope, receive: Receive, send: Send) -> int:
        """200 with what a reload would change, 422 with why it would be refused. Changes nothing."""
        self._check(scope)
        return await _told(send, await self._changing.preview())

    def _check(self, scope: Scope) -> None:
        given = scope["headers"].get(b"authorization", b"")
        if not hmac.compare_digest(given, self._expected):
            raise InvalidKey("This needs the admin key.", hint="Send `Authorization: Bearer …`.")


async def _told(send: Send, outcome: Outcome) -> int:
    status = 200 if outcome.outcome == "applied" else 422
    await respond(send, status, msgspec.json.encode(outcome), (JSON,))
    return status
