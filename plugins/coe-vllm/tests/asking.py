"""Asking launched servers in tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from coe.contracts import Expert
from coe.testing import chat, collect, context
from coe_vllm._expert import VllmExpert

from .conftest import launched, make_expert


async def answer(expert: Expert, text: str = "hello", **fields: Any) -> str:
    reply = await expert.complete(chat(text, **fields), context())
    return (await collect(reply)).text


async def calls(expert: VllmExpert) -> list[str]:
    return json.loads(await expert.backend.api._ask("GET", "/server_info"))["calls"]


@asynccontextmanager
async def server(**args: Any) -> AsyncGenerator[VllmExpert, None]:
    """A launched server, ready."""
    expert = make_expert("vllm", "base", launched(args=args))
    try:
        await expert.start()
        yield expert
    finally:
        await expert.aclose()


def run(check: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(check())  # type: ignore[arg-type]
