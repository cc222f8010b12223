"""The event loop behind the synchronous client."""

from __future__ import annotations

import asyncio
import signal
import threading

import pytest

from coe.client._portal import Portal


def test_results_and_errors_come_back() -> None:
    async def divide(a: int, b: int) -> float:
        await asyncio.sleep(0)
        return a / b

    portal = Portal()
    assert portal.call(divide(1, 2)) == 0.5
    with pytest.raises(ZeroDivisionError):
        portal.call(divide(1, 0))
    portal.close()


def test_an_interruption_ends_the_call_before_it_goes_on() -> None:
    steps: list[str] = []

    async def long() -> None:
        try:
            # The very signal of Ctrl-C, to the thread that gets it.
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            steps.append("tidied up")

    portal = Portal()
    with pytest.raises(KeyboardInterrupt):
        portal.call(long())
    assert steps == ["tidied up"]
    portal.close()


def test_closing_cancels_what_runs_and_ends_the_thread() -> None:
    ended = threading.Event()

    async def background() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def start() -> asyncio.Task[None]:
        task = asyncio.create_task(background())
        await asyncio.sleep(0)
        return task

    threads = threading.active_count()
    portal = Portal()
    portal.call(start())
    portal.close()
    assert ended.is_set()
    assert portal.closed
    assert threading.active_count() == threads
