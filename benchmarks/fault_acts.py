"""What happens in the rows of the fault scorecard: who asks, and what damage is done meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from callers import Callers, beside
from redis import Redis as RedisClient
from redis.exceptions import RedisError
from served import Redis, Served


@dataclass
class Scene:
    """One row's gateway and what stands around it."""

    served: Served
    callers: Callers
    requests: int
    redis: Redis | None = None


Act = Callable[[Scene], Awaitable[None]]


async def ask(scene: Scene) -> None:
    """All three models."""
    await scene.callers.run(("auto", "bad", "good"), scene.requests)


async def ask_few(scene: Scene) -> None:
    """For faults that cost much memory or time."""
    await scene.callers.run(("auto", "bad", "good"), min(scene.requests, 24), at_once=3)


async def ask_good(scene: Scene) -> None:
    """What cannot be answered wrongly but by the gateway."""
    await scene.callers.run(("auto", "good"), scene.requests * 2, pause_s=0.02)


async def leave(scene: Scene) -> None:
    """Half of the callers go away before the end, at any moment."""
    await scene.callers.run(("auto", "bad", "good"), scene.requests * 2, leave_share=0.5)


async def overload(scene: Scene) -> None:
    """Four times as many callers as may wait."""
    await scene.callers.run(("bad", "good"), scene.requests * 2, at_once=24)


def with_damage(damage: Callable[[Scene], Awaitable[None]]) -> Act:
    """Ask for what is good while the damage is done again and again."""

    async def act(scene: Scene) -> None:
        async def again() -> None:
            while True:
                await damage(scene)
                await asyncio.sleep(0.2)

        async with beside(again()):
            await ask_good(scene)

    return act


async def slow_senders(scene: Scene) -> None:
    """Connections that bring a byte of a request now and then."""
    await _connections(scene, b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-slow: ", drip=b"a")


async def slow_readers(scene: Scene) -> None:
    """Connections that ask for an endless stream and do not read it."""
    body = json.dumps({"model": "bad", "stream": True, "messages": [{"role": "user", "content": "x y"}]})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    await _connections(scene, (head + body).encode())


async def _connections(scene: Scene, first: bytes, drip: bytes = b"", count: int = 50) -> None:
    url = urlsplit(scene.served.url)
    held: list[socket.socket] = []
    try:
        for _ in range(count):
            held.append(socket.create_connection((url.hostname, url.port), timeout=5))
            held[-1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            held[-1].sendall(first)
        for _ in range(10):
            await asyncio.sleep(0.2)
            for connection in held if drip else ():
                with contextlib.suppress(OSError):
                    connection.sendall(drip)
    finally:
        for connection in held:
            connection.close()


def _redis(scene: Scene) -> Redis:
    assert scene.redis is not None
    return scene.redis


async def redis_dies(scene: Scene) -> None:
    """SIGKILL, and a new one later."""
    await asyncio.to_thread(_redis(scene).kill)
    await asyncio.sleep(0.7)
    await asyncio.to_thread(_redis(scene).start)


async def redis_stands_still(scene: Scene) -> None:
    """It takes what is sent and answers nothing for a while."""
    _redis(scene).pause()
    await asyncio.sleep(0.7)
    _redis(scene).resume()


async def redis_lies(scene: Scene) -> None:
    """Every value becomes one of another shape."""

    def lie() -> None:
        with RedisClient.from_url(_redis(scene).url) as client:
            for number, key in enumerate(client.scan_iter(count=1000)):
                with contextlib.suppress(RedisError):
                    if number % 3:
                        client.set(key, (b"\xc1\xff garbage", b"{}")[number % 2])
                    else:
                        client.delete(key)
                        client.rpush(key, "a list")

    await asyncio.to_thread(lie)


async def redis_forgets(scene: Scene) -> None:
    """FLUSHALL, and scripts with it."""

    def flush() -> None:
        with RedisClient.from_url(_redis(scene).url) as client:
            client.flushall()
            client.script_flush()

    await asyncio.to_thread(flush)


async def reload_all_the_time(scene: Scene) -> None:
    """Another configuration, then a wrong one, then the first again."""
    text = (scene.served.folder / "coe.yaml").read_text()
    for each in (text.replace("retry_ratio: 1,", "retry_ratio: 0.9,"), "experts: {", text):
        scene.served.write(each)
        scene.served.reload()
        await asyncio.sleep(0.3)


async def sigterm(scene: Scene) -> None:
    """SIGTERM while requests are running. Connections that come later are refused, which is no failure."""

    async def end() -> None:
        await asyncio.sleep(1.0)
        scene.served.terminate()

    async with beside(end()):
        await scene.callers.run(("bad", "good"), scene.requests, pause_s=0.01)
        await asyncio.sleep(1.0)
    begun = [each for each in scene.callers.ends if each.answered or each.outcome == "hung"]
    scene.callers.ends[:] = begun


async def sigkill_of_workers(scene: Scene) -> None:
    """A worker is killed three times, with time to begin another in between."""

    async def kill() -> None:
        for _ in range(3):
            await asyncio.sleep(1.0)
            os.kill(max(scene.served.pids[1:]), signal.SIGKILL)
            await asyncio.sleep(4.0)
        await asyncio.sleep(3600)

    async with beside(kill()):
        await scene.callers.run(("bad", "good"), scene.requests * 3, pause_s=0.25)
