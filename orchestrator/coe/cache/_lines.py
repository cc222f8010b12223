"""Connections to one Redis, each taken for one exchange at a time.

redis-py's connections, which know addresses, TLS, passwords and the protocol, without its client and pool:
what those do on every command (locks, checks for staleness, metrics) costs twice as much CPU as the exchange
itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from coe.errors import ConfigError

Command = tuple[str | bytes | int, ...]


class Lines:
    """Opens connections when they are needed and keeps them. The caller bounds how many and how long.

    Args:
        url: redis://, rediss:// or unix:// URL. Never shown.

    Raises:
        ConfigError: not a Redis URL. The message does not repeat it.
    """

    def __init__(self, url: str) -> None:
        try:
            # Neither retries nor timeouts: they would not fit within the caller's deadline.
            self._pool = ConnectionPool.from_url(  # pyright: ignore[reportUnknownMemberType] - untyped **kwargs
                url, protocol=2, retry=Retry(NoBackoff(), 0), socket_timeout=None, socket_connect_timeout=None
            )
        except (ValueError, TypeError):
            # Not chained: urllib quotes what it could not read, which may be part of the password.
            raise ConfigError(
                "The Redis URL cannot be read.",
                hint="Expected redis://[user:password@]host[:port][/db], rediss://… or unix://…, with "
                "special characters of the password percent-encoded.",
            ) from None
        self._idle: list[AbstractConnection] = []

    @property
    def endpoint(self) -> str:
        """Where they lead, for logs: host and port, or the path of the socket."""
        settings: dict[str, Any] = self._pool.connection_kwargs
        return str(
            settings.get("path") or f"{settings.get('host', 'localhost')}:{settings.get('port', 6379)}"
        )

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send the commands in one piece; the replies in order, an error reply as a `ResponseError`.

        When a connection that was idle breaks they are sent once more on a new one, so the server may carry
        them out twice: only for commands that bear it.

        Raises:
            RedisError, OSError: no connection, or it broke.
        """
        reused = bool(self._idle)
        line = self._idle.pop() if reused else self._pool.make_connection()
        try:
            replies = await _exchange(line, commands)
        except RedisConnectionError:
            if not reused:
                raise
            # The server may have closed the connection while it was idle: connect anew, once.
            replies = await _exchange(line, commands)
        self._idle.append(line)
        return replies

    def forget(self) -> None:
        """Drop the connections unclosed, because their event loop is gone."""
        self._idle.clear()

    async def aclose(self) -> None:
        """Close the connections that are not in use."""
        while self._idle:
            await self._idle.pop().disconnect()


async def _exchange(line: AbstractConnection, commands: Sequence[Command]) -> list[Any]:
    """Whatever this raises, cancellation too, redis-py has closed the connection by then."""
    await line.send_packed_command(line.pack_commands(commands))
    replies: list[Any] = []
    for _ in commands:
        try:
            replies.append(await line.read_response(disable_decoding=True))
        except ResponseError as error:
            replies.append(error)
    return replies
