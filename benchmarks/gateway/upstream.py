"""A fake upstream that costs as little as Python can: fixed bytes for every chat completion.

python benchmarks/gateway/upstream.py --port 9000 [--chunks 64]
"""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import cast

import uvloop

HEAD_END = b"\r\n\r\n"
PACE_S = 0.002
"""Between the events of a stream for the user `paced`."""


def completion(tokens: int) -> bytes:
    """A whole reply with headers."""
    message = {"role": "assistant", "content": " ".join(["token"] * tokens)}
    usage = {"prompt_tokens": 300, "completion_tokens": tokens, "total_tokens": 300 + tokens}
    body = {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": 1,
        "model": "mock",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": usage,
    }
    data = json.dumps(body).encode()
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(data) + data
    )


def stream(chunks: int) -> list[bytes]:
    """Headers, then one piece per event, in chunked encoding."""
    pieces = [
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
    ]
    for number in range(chunks):
        delta = {"content": " token"} if number else {"role": "assistant", "content": ""}
        event = {
            "id": "chatcmpl-bench",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "mock",
            "choices": [{"index": 0, "delta": delta, "finish_reason": None}],
        }
        pieces.append(_chunk(b"data: " + json.dumps(event).encode() + b"\n\n"))
    pieces.append(_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
    return pieces


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n" % len(data) + data + b"\r\n"


class Upstream(asyncio.Protocol):
    """Answers each request on a connection in turn."""

    whole: bytes
    pieces: list[bytes]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head_end = self.buffer.find(HEAD_END)
        if head_end < 0:
            return
        head = self.buffer[:head_end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        body = self.buffer[head_end + 4 :]
        if len(body) < length:
            return
        self.buffer = body[length:]
        if b'"stream":true' in body or b'"stream": true' in body:
            if b'"user":"paced"' in body:
                asyncio.get_running_loop().create_task(self.paced())
            else:
                # One write per event, as an engine would: the gateway sees them as the socket joins them.
                for piece in self.pieces:
                    self.transport.write(piece)
        else:
            self.transport.write(self.whole)

    async def paced(self) -> None:
        for piece in self.pieces:
            self.transport.write(piece)
            await asyncio.sleep(PACE_S)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--chunks", type=int, default=64)
    options = parser.parse_args()
    Upstream.whole = completion(64)
    Upstream.pieces = stream(options.chunks)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", options.port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
