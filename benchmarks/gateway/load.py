"""A closed-loop load generator: N connections, each asks again as soon as it has its answer.

Prints one JSON line: requests, seconds, failures, latency, and time to the first byte or to the first event
of a stream (p50 and p99, in ms).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from itertools import count
from typing import cast

import uvloop

WORDS = (
    "the gateway routes every prompt to the expert that answers it best at the lowest cost " * 16
).split()


class Caller(asyncio.Protocol):
    """One connection."""

    def __init__(self, load: Load) -> None:
        self.load = load

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.ask()

    def ask(self) -> None:
        self.buffer = b""
        self.first = 0.0
        self.length = -1
        self.began = time.perf_counter()
        self.transport.write(self.load.request())

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self.buffer += data
        # Of a stream the first event counts: a head alone tells nobody anything.
        if not self.first and (not self.load.streamed or b"data:" in self.buffer):
            self.first = now
        if self.length < 0:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.buffer[:end].lower()
            at = head.find(b"content-length:")
            self.length = end + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        done = self.buffer.endswith(b"0\r\n\r\n") if self.length == 0 else len(self.buffer) >= self.length
        if done:
            ok = self.buffer.startswith(b"HTTP/1.1 200") and (self.length > 0 or b"[DONE]" in self.buffer)
            self.load.note(ok, now - self.began, self.first - self.began)
            if not self.load.over(now):
                self.ask()
            else:
                self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.load.left()


class Load:
    """The run."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.latency: list[float] = []
        self.first: list[float] = []
        self.failures = 0
        self.numbers = count(int(time.time() * 1000) * 1000)
        self.open = options.connections
        self.done = asyncio.Event()
        self.ends = time.perf_counter() + options.seconds
        body = {
            "model": "auto",
            "messages": [{"role": "user", "content": "NONCE " + " ".join(WORDS[:230])}],
            "max_tokens": 64,
        }
        if options.stream or options.paced:
            body["stream"] = True
        if options.paced:
            body["user"] = "paced"
        self.streamed = "stream" in body
        self.body = json.dumps(body).replace('": ', '":').encode()
        self.fixed = self.encode(b"0" * 16)

    def encode(self, nonce: bytes) -> bytes:
        body = self.body.replace(b"NONCE", nonce)
        head = (
            f"POST {self.options.path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
            f"authorization: Bearer x\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def request(self) -> bytes:
        return self.encode(b"%016d" % next(self.numbers)) if self.options.unique else self.fixed

    def note(self, ok: bool, latency: float, first: float) -> None:
        self.failures += not ok
        self.latency.append(latency)
        self.first.append(first)

    def over(self, now: float) -> bool:
        return now >= self.ends or (self.options.requests and len(self.latency) >= self.options.requests)

    def left(self) -> None:
        self.open -= 1
        if not self.open:
            self.done.set()


def quantiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "p50_ms": 1000 * statistics.median(ordered),
        "p99_ms": 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
    }


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/v1/chat/completions")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--requests", type=int, default=0)
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--paced", action="store_true", help="a stream whose events come one by one")
    parser.add_argument(
        "--unique", action="store_true", help="another prompt each time: no decision is cached"
    )
    load = Load(parser.parse_args())
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    for _ in range(load.options.connections):
        await loop.create_connection(lambda: Caller(load), "127.0.0.1", load.options.port)
    await load.done.wait()
    result = {
        "requests": len(load.latency),
        "seconds": time.perf_counter() - began,
        "failures": load.failures,
        "latency": quantiles(load.latency),
        "first_byte": quantiles(load.first),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    uvloop.run(main())
