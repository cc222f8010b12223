"""What is done before something is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from coe.gateway._ready import unless_ready


async def numbers(released: asyncio.Event, ended: list[str]) -> AsyncGenerator[int, None]:
    try:
        yield 1
        await released.wait()
        await asyncio.sleep(0)
        yield 2
    finally:
        ended.append("closed")


def test_what_is_there_is_not_waited_for_and_what_is_not_is_told_once() -> None:
    async def go() -> None:
        released, calls = asyncio.Event(), list[str]()
        several = numbers(released, [])

        def otherwise() -> None:
            calls.append("waits")
            released.set()

        assert await unless_ready(several.__anext__(), otherwise) == 1
        assert calls == []
        assert await unless_ready(several.__anext__(), otherwise) == 2
        assert calls == ["waits"]
        with pytest.raises(StopAsyncIteration):
            await unless_ready(several.__anext__(), otherwise)
        assert calls == ["waits"]

    asyncio.run(go())


def test_a_cancellation_reaches_what_is_waited_for() -> None:
    async def go() -> list[str]:
        ended = list[str]()
        several = numbers(asyncio.Event(), ended)
        await anext(several)
        waits = asyncio.Event()

        async def wait() -> int:
            return await unless_ready(several.__anext__(), waits.set)

        task = asyncio.create_task(wait())
        await waits.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return list(ended)  # as it is now: the loop closes all generators when it ends

    assert asyncio.run(go()) == ["closed"]


def test_what_has_begun_ends_when_nothing_else_can_be_done_first() -> None:
    async def go() -> list[str]:
        ended = list[str]()
        several = numbers(asyncio.Event(), ended)
        await anext(several)

        def otherwise() -> None:
            raise ConnectionError("gone")

        with pytest.raises(ConnectionError, match="gone"):
            await unless_ready(several.__anext__(), otherwise)
        return list(ended)  # as it is now: the loop closes all generators when it ends

    assert asyncio.run(go()) == ["closed"]
