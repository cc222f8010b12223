"""Experts on a server that behaves as vLLM does: the kit, adapters, load."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from coe.contracts import Expert, RewardExpert
from coe.errors import ConfigError, ExpertProtocolError, ExpertRejected, ExpertUnavailable
from coe.testing import FakeUpstream, Fault, context
from coe.testing.conformance import ExpertConformance, RewardConformance
from coe.wire import EmbeddingBody, EmbeddingRequest, PromptBody, PromptRequest
from coe_vllm._expert import AdapterExpert, VllmExpert

from .asking import answer, calls, run, server
from .conftest import launched, make_expert

pytestmark = pytest.mark.slow


async def tell(expert: VllmExpert, **facts: Any) -> None:
    """Change the server's state."""
    await expert.backend.api._ask("POST", "/fake", facts)


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not done():
            await asyncio.sleep(0.02)


def adapter(folder: Path, *, rank: int = 4, hidden: int = 8, layer: int = 0, **config: Any) -> Path:
    """An adapter as PEFT saves it, all zeros."""
    folder.mkdir(parents=True, exist_ok=True)
    said = {"peft_type": "LORA", "r": rank, "base_model_name_or_path": "some/model", **config}
    (folder / "adapter_config.json").write_text(json.dumps(said))
    stem = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
    save_file(
        {
            f"{stem}.lora_A.weight": np.zeros((rank, hidden), np.float32),
            f"{stem}.lora_B.weight": np.zeros((hidden, rank), np.float32),
        },
        folder / "adapter_model.safetensors",
    )
    return folder


class TestAttached(ExpertConformance):
    """The kit, on a server that runs already."""

    @pytest.fixture
    def make(self) -> Any:
        with FakeUpstream() as upstream:
            yield lambda: WithoutIntrospection(upstream.base_url)

    @pytest.fixture
    def make_unreachable(self) -> Callable[[], Expert]:
        keys = {"model": "m", "base_url": "http://127.0.0.1:9/v1"}
        return lambda: make_expert("vllm", "base", keys)

    @pytest.fixture
    def make_silent(self) -> Any:
        with FakeUpstream(Fault.HANG) as upstream:
            yield lambda: WithoutIntrospection(upstream.base_url)
            upstream.release()


def WithoutIntrospection(base_url: str) -> Expert:
    """The expert on a server that has chats only, taken for introspected."""
    expert: VllmExpert = make_expert("vllm", "base", {"model": "m", "base_url": base_url})
    expert._url, expert._seen = base_url.removesuffix("/v1"), True
    expert.backend._up = True  # type: ignore[attr-defined]
    return expert


class TestLaunched(ExpertConformance):
    """The kit, on a server that coe launches for each check."""

    @pytest.fixture
    def make(self) -> Callable[[], Expert]:
        return lambda: make_expert("vllm", "base", launched())


class TestAdapter(ExpertConformance):
    """The kit, on an adapter."""

    @pytest.fixture
    def make(self, tmp_path: Path) -> Callable[[], Expert]:
        folder = adapter(tmp_path / "a")

        def make() -> Expert:
            base = make_expert("vllm", "base", launched(args={"enable_lora": True}))
            expert = make_expert(
                "adapter", "a", {"base": "base", "path": str(folder)}, experts={"base": base}
            )
            own = expert.aclose

            async def aclose() -> None:
                await own()
                await base.aclose()

            expert.aclose = aclose
            return expert

        return make


class TestReward(RewardConformance):
    """The kit, on a pooling server."""

    @pytest.fixture
    def make(self) -> Callable[[], RewardExpert]:
        return lambda: make_expert("vllm-reward", "judge", launched())


def test_an_embedding_server_is_asked_under_its_name() -> None:
    async def check() -> None:
        expert = make_expert("vllm-embedding", "vectors", launched())
        payload = {"model": "auto", "input": "hello"}
        request = EmbeddingRequest(EmbeddingBody(model="auto", input="hello"), payload)
        reply = await expert.embeddings(request, context())
        body = json.loads(reply.body)
        assert (body["model"], body["data"][0]["embedding"]) == ("vectors", [0.6, 0.8])
        assert reply.usage.prompt_tokens == 3
        assert expert.awake
        await expert.aclose()

    run(check)


CHAT = [{"role": "user", "content": "why?"}, {"role": "assistant", "content": "because"}]


@pytest.mark.parametrize(
    ("keys", "args", "reward"),
    [
        ({}, {}, len(str(CHAT)) / 100),
        ({"label": 1}, {"labels": 2}, 0.5),
        ({"ask": "score"}, {}, 4.07),
        ({"ask": "pooling"}, {}, len(str(CHAT)) / 100),
    ],
)
def test_a_reward_is_asked_for_where_the_model_gives_it(
    keys: dict[str, Any], args: dict[str, Any], reward: float
) -> None:
    async def check() -> None:
        expert = make_expert("vllm-reward", "judge", {**launched(args=args), **keys})
        np.testing.assert_allclose(await expert.score([CHAT, CHAT], context()), [reward] * 2, rtol=1e-6)
        if keys.get("ask") == "score":
            with pytest.raises(ExpertRejected, match="one question and its answer"):
                await expert.score([CHAT[:1]], context())
        await expert.aclose()

    run(check)


def test_several_labels_without_a_choice_are_no_reward() -> None:
    async def check() -> None:
        expert = make_expert("vllm-reward", "judge", launched(args={"labels": 2}))
        with pytest.raises(ExpertProtocolError, match="`label` says which of several"):
            await expert.score([CHAT], context())
        await expert.aclose()

    run(check)


def test_prompts_are_continued_by_base_models_and_adapters(tmp_path: Path) -> None:
    async def check() -> None:
        async with with_adapters(tmp_path, "a") as (base, adapters):
            for expert, name in ((base, "base"), (adapters["a"], "a")):
                for streamed in (False, True):
                    payload = {"model": "auto", "prompt": "once", "stream": streamed}
                    request = PromptRequest(PromptBody(**payload), payload)
                    assert "complete" in expert.card.capabilities
                    reply = await expert.complete_prompt(request, context())
                    body = reply.body or b"".join([chunk async for chunk in reply.chunks])  # type: ignore[union-attr]
                    texts = re.findall(rb'"text": "([^"]*)"', body)
                    assert b"".join(texts).decode() == f"{name} goes on: once"

    run(check)


def test_a_model_without_a_template_for_chats_continues_prompts_only(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text("{}")
    keys = {**launched(), "config": "."}
    card = make_expert("vllm", "base", keys, base_dir=tmp_path).card
    assert "complete" in card.capabilities
    assert "chat" not in card.capabilities
    given = {**launched(args={"chat_template": "x.jinja"}), "config": "."}
    assert "chat" in make_expert("vllm", "base", given, base_dir=tmp_path).card.capabilities
    (tmp_path / "chat_template.jinja").write_text("")
    assert "chat" in make_expert("vllm", "base", keys, base_dir=tmp_path).card.capabilities


def test_load_and_health_follow_the_server() -> None:
    async def check() -> None:
        async with server(max_num_seqs=4) as expert:
            assert expert.load == 0
            await tell(expert, running=4)
            await until(lambda: expert.load == 1)
            await tell(expert, waiting=1)
            await until(lambda: expert.load == 2)
            await tell(expert, running=0, waiting=0)
            await until(lambda: expert.load == 0)

    run(check)


def test_a_model_that_the_server_has_not_is_named() -> None:
    async def check() -> None:
        async with server() as expert:
            keys = {
                "model": "other",
                "base_url": expert.backend.api.root_url,
                "api_key": expert.backend.api_key,
            }
            attached = make_expert("vllm", "attached", keys)
            with pytest.raises(ExpertUnavailable, match=r"has no model `other`; it has `base`"):
                await attached.start()
            await attached.aclose()
            attached = make_expert("vllm", "attached", {**keys, "model": "base"})
            await attached.start()
            assert attached.card.context_window == 512
            assert await answer(attached) == "base: hello"
            await attached.aclose()

    run(check)


@asynccontextmanager
async def with_adapters(
    tmp_path: Path, names: str, **args: Any
) -> AsyncGenerator[tuple[VllmExpert, dict[str, AdapterExpert]], None]:
    async with server(enable_lora=True, **args) as base:
        yield (
            base,
            {
                name: make_expert(
                    "adapter",
                    name,
                    {"base": "base", "path": str(adapter(tmp_path / name))},
                    experts={"base": base},
                )
                for name in names
            },
        )


def test_adapters_load_on_demand_and_the_least_wanted_leaves(tmp_path: Path) -> None:
    async def check() -> None:
        async with with_adapters(tmp_path, "abc", max_loras=2) as (base, adapters):
            for name in "aab":
                assert await answer(adapters[name]) == f"{name}: hello"
            assert await calls(base) == ["load a", "load b"]
            assert await answer(adapters["c"], stream=True) == "c: hello"
            assert await calls(base) == ["load a", "load b", "unload b", "load c"]
            assert base.slots.loaded == {"a", "c"}
            assert await answer(base) == "base: hello"

    run(check)


def test_an_adapter_in_use_is_not_evicted_and_all_are_served(tmp_path: Path) -> None:
    async def check() -> None:
        async with with_adapters(tmp_path, "abcd", max_loras=2, slow_s=0.05) as (base, adapters):
            names = "abcdabcdaabbccdd"
            texts = await asyncio.gather(*(answer(adapters[name], name) for name in names))
            assert texts == [f"{name}: {name}" for name in names]
            done = await calls(base)
            inside: set[str] = set()
            for call in done:
                verb, name = call.split()
                inside = inside - {name} if verb == "unload" else inside | {name}
                assert len(inside) <= 2

    run(check)


def test_after_a_restart_adapters_are_loaded_anew(tmp_path: Path) -> None:
    async def check() -> None:
        async with with_adapters(tmp_path, "a") as (base, adapters):
            assert await answer(adapters["a"]) == "a: hello"
            pid = base.backend.server.pid  # type: ignore[attr-defined]
            os.kill(pid, signal.SIGKILL)
            await until(lambda: not base.awake)
            await until(lambda: base.awake)
            assert await answer(adapters["a"]) == "a: hello"
            assert await calls(base) == ["load a"]

    run(check)


def test_a_server_without_adapters_says_what_it_needs(tmp_path: Path) -> None:
    async def check() -> None:
        async with server() as base:
            keys = {"base": "base", "path": str(adapter(tmp_path / "a"))}
            expert = make_expert("adapter", "a", keys, experts={"base": base})
            with pytest.raises(ExpertUnavailable, match="start it with --enable-lora"):
                await answer(expert)

    run(check)


@pytest.mark.parametrize(
    ("files", "keys", "words"),
    [
        ({"rank": 32}, {}, r"its rank is 32, the server takes up to 8"),
        ({"hidden": 16}, {}, r"made for hidden size 16, the base has 8"),
        ({"layer": 2}, {}, r"changes layer 2, the base has 2 layers"),
        ({"base_model_name_or_path": "other/thing"}, {}, r"trained on `other/thing`, the base is"),
        ({"base_model_name_or_path": "other/thing"}, {"base_model": "any"}, None),
        ({"base_model_name_or_path": "other/thing"}, {"base_model": "mine/thing"}, None),
        ({"use_dora": True}, {}, "made with `use_dora`"),
        ({"modules_to_save": ["lm_head"]}, {}, "made with `modules_to_save`"),
        ({"bias": "all"}, {}, "changes biases"),
        ({"peft_type": "IA3"}, {}, "of type 'IA3'"),
        ({}, {}, None),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused_with_the_reason(
    tmp_path: Path, files: dict[str, Any], keys: dict[str, Any], words: str | None
) -> None:
    (tmp_path / "model").mkdir()
    config = {"hidden_size": 8, "num_hidden_layers": 2}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    base_keys = {**launched(args={"max_lora_rank": 8}), "config": "model"}
    base = make_expert("vllm", "base", base_keys, base_dir=tmp_path)
    adapter(tmp_path / "a", **files)
    given = {"base": "base", "path": "a", **keys}
    if words is None:
        assert (
            make_expert("adapter", "a", given, experts={"base": base}, base_dir=tmp_path).card.kind
            == "adapter"
        )
        return
    with pytest.raises(ConfigError, match=words):
        make_expert("adapter", "a", given, experts={"base": base}, base_dir=tmp_path)


def test_a_folder_without_an_adapter_is_named(tmp_path: Path) -> None:
    base = make_expert("vllm", "base", launched())
    with pytest.raises(ConfigError, match=r"holds no adapter: there is no adapter_config.json"):
        make_expert("adapter", "a", {"base": "base", "path": "."}, experts={"base": base}, base_dir=tmp_path)
    echo = make_expert("echo", "echo", {})
    with pytest.raises(ConfigError, match="`echo` is not of kind `vllm`"):
        make_expert("adapter", "a", {"base": "echo"}, experts={"echo": echo})
