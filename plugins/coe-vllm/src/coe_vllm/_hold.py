"""Keep what an answer needs until its last byte."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

from coe.contracts import Reply


def until_the_end(reply: Reply, held: AsyncExitStack) -> Reply:
    """Let go of `held` when the reply's stream ends or is closed."""
    if reply.chunks is not None:
        reply.chunks = _forward(reply.chunks, held)
    return reply


async def _forward(chunks: AsyncGenerator[bytes, None], held: AsyncExitStack) -> AsyncGenerator[bytes, None]:
    async with held:
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            await chunks.aclose()
