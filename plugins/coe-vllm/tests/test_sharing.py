"""Servers that share a memory: taking turns, pinned ones, sleep mode."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from coe.errors import ExpertRejected, ExpertUnavailable
from coe.testing import chat, context
from coe_vllm._expert import VllmExpert
from coe_vllm._memory import SharedMemory

from .asking import answer, calls, run, server
from .conftest import launched, make_expert

pytestmark = pytest.mark.slow


@asynccontextmanager
async def sharing(
    names: str, gpu_gb: float, host_gb: float = 0, **keys: Any
) -> AsyncGenerator[tuple[SharedMemory, dict[str, VllmExpert]], None]:
    """Launched servers of one gigabyte each that share a memory."""
    memory = make_expert("vllm-memory", "gpu", {"gpu_gb": gpu_gb, "host_gb": host_gb, "max_overtaken": 4})
    args = {"enable_sleep_mode": True} if keys.get("sleep") == "mode" else {}
    experts = {
        name: make_expert(
            "vllm",
            name,
            {**launched(args=args), "memory": "gpu", "memory_gb": 1, **keys},
            experts={"gpu": memory},
        )
        for name in names
    }
    try:
        yield memory, experts
    finally:
        for each in (memory, *experts.values()):
            await each.aclose()


def test_processes_take_turns_where_memory_is_short() -> None:
    async def check() -> None:
        async with sharing("abc", gpu_gb=2) as (memory, experts):
            outcomes = await asyncio.gather(
                *(each.start() for each in experts.values()), return_exceptions=True
            )
            assert [isinstance(each, ExpertUnavailable) for each in outcomes] == [False, False, True]
            assert [each.awake for each in experts.values()] == [True, True, False]
            assert await answer(experts["c"]) == "c: hello"
            assert [each.awake for each in experts.values()].count(True) == 2
            assert experts["c"].awake
            names = "abcab"
            texts = await asyncio.gather(*(answer(experts[name], name) for name in names))
            assert texts == [f"{name}: {name}" for name in names]
            assert sum(1 for m in memory.residency.models.values() if m.tier == "gpu") <= 2
            assert memory.residency.models["c"].start_s < 60

    run(check)


def test_a_pinned_server_never_leaves_and_what_cannot_fit_says_so() -> None:
    async def check() -> None:
        memory = make_expert("vllm-memory", "gpu", {"gpu_gb": 1})
        keys = {**launched(), "memory": "gpu", "memory_gb": 1}
        pinned = make_expert("vllm", "p", {**keys, "pinned": True}, experts={"gpu": memory})
        other = make_expert("vllm", "o", keys, experts={"gpu": memory})
        await pinned.start()
        reply = asyncio.create_task(other.complete(chat("x"), context(timeout_s=0.3)))
        with pytest.raises(Exception, match="still being made ready"):
            await reply
        assert pinned.awake
        with pytest.raises(ExpertRejected, match="is memory, not a model"):
            await memory.complete(chat("x"), context())
        for each in (memory, pinned, other):
            await each.aclose()

    run(check)


def test_a_server_that_cannot_wake_fails_its_requests_and_nobody_elses() -> None:
    async def check() -> None:
        async with sharing("ab", gpu_gb=1) as (memory, experts):
            broken = make_expert(
                "vllm",
                "x",
                {**launched(args={"fail": "no memory"}), "memory": "gpu", "memory_gb": 1},
                experts={"gpu": memory},
            )
            with pytest.raises(ExpertUnavailable, match="no memory"):
                await broken.complete(chat("x"), context())
            assert await answer(experts["a"]) == "a: hello"
            await broken.aclose()

    run(check)


def test_sleep_mode_moves_weights_to_host_memory_and_back() -> None:
    async def check() -> None:
        # While they change places both take RAM.
        async with sharing("ab", gpu_gb=1, host_gb=2, sleep="mode") as (memory, experts):
            a, b = experts["a"], experts["b"]
            assert await answer(a) == "a: hello"
            pid = a.backend.server.pid  # type: ignore[attr-defined]
            assert await answer(b) == "b: hello"
            assert not a.awake
            assert memory.residency.models["a"].tier == "host"
            assert a.backend.server.pid == pid, "it sleeps, and its process stays"  # type: ignore[attr-defined]
            assert await answer(a) == "a: hello"
            assert await calls(a) == ["sleep 1", "wake_up"]
            assert memory.residency.models["b"].tier == "host"

    run(check)


def test_a_server_that_is_not_ours_drops_its_weights_and_reads_them_again() -> None:
    async def check() -> None:
        async with server(enable_sleep_mode=True) as first:
            memory = make_expert("vllm-memory", "gpu", {"gpu_gb": 1, "host_gb": 0})
            there = {"base_url": first.backend.api.root_url, "api_key": first.backend.api_key}
            keys = {
                **there,
                "model": "base",
                "memory": "gpu",
                "memory_gb": 1,
                "sleep": "mode",
                "poll_s": 0.05,
            }
            attached = make_expert("vllm", "attached", keys, experts={"gpu": memory})
            other = make_expert(
                "vllm", "other", {**launched(), "memory": "gpu", "memory_gb": 1}, experts={"gpu": memory}
            )
            await attached.start()
            assert memory.residency.models["attached"].tier == "gpu"
            assert await answer(other) == "other: hello"
            assert memory.residency.models["attached"].tier == "disk"
            assert await answer(attached) == "base: hello"
            assert await calls(first) == [
                "sleep 2",
                "wake_up tags=weights",
                "reload_weights",
                "wake_up tags=kv_cache",
            ]
            for each in (memory, attached, other):
                await each.aclose()

    run(check)
