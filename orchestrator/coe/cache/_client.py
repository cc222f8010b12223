"""A redis-py client set up for short waits, and errors that do not show its password."""

from __future__ import annotations

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from coe.errors import ConfigError


def connect(url: str) -> Redis:
    """A client for the URL; connects when first used.

    No retries and no timeouts of its own: a retry would outlast every deadline, and the caller bounds each
    exchange as a whole.

    Raises:
        ConfigError: not a Redis URL. The message does not repeat it.
    """
    try:
        pool = ConnectionPool.from_url(  # pyright: ignore[reportUnknownMemberType] - its **kwargs are untyped
            url, protocol=2, retry=Retry(NoBackoff(), 0), socket_timeout=None, socket_connect_timeout=None
        )
    except (ValueError, TypeError):
        # Not chained: urllib quotes what it could not read, which may be part of the password.
        raise ConfigError(
            "The Redis URL cannot be read.",
            hint="Expected redis://[user:password@]host[:port][/db], rediss://… or unix://…, with special "
            "characters of the password percent-encoded.",
        ) from None
    return Redis.from_pool(pool)


def endpoint(client: Redis) -> str:
    """Where the client connects to, for logs: host and port, or the path of the socket."""
    settings = client.connection_pool.connection_kwargs
    if path := settings.get("path"):
        return str(path)
    return f"{settings.get('host', 'localhost')}:{settings.get('port', 6379)}"
