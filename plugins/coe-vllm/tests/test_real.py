"""With vLLM itself on this machine's CPU and a real small model. Needs `.venv-vllm` (`make test-vllm`)."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

pytest.importorskip("vllm", reason="vLLM is not installed: run `make test-vllm`")

from coe.testing import context
from coe.testing.conformance import RewardConformance
from coe.wire import EmbeddingBody, EmbeddingRequest
from coe_vllm._presets import PRESETS
from coe_vllm.capacity import measure
from coe_vllm.merging import merge, read_lora, write_lora
from coe_vllm.server._arguments import ask, problems
from coe_vllm.server._check import cache_dir

from . import models
from .conftest import make_expert
from .test_server import alive

pytestmark = [pytest.mark.heavy, pytest.mark.vllm]

EXAMPLES = Path(__file__).parents[3] / "examples" / "vllm_pool"
START_S = 500
"""A busy machine needs minutes for what takes an idle one thirty seconds."""
WRITING = "Write a short poem about the sea and the wind."
PAIR = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]
CODING = "Write a Python function that reverses a linked list."
MORE = """
  terse-too: {{kind: adapter, base: base, path: {terse}, base_model: any}}
  merged: {{kind: adapter, base: base, path: merged, base_model: any}}
  spare: {{kind: echo, card: {{domains: [general]}}}}

routers:"""


class Gateway:
    """`coe serve` with the configuration in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = ""
        self.process = subprocess.Popen(
            [Path(sys.executable).with_name("coe"), "serve", "--verbose", "--port", "0"],
            cwd=folder,
            env={**os.environ, "COE_EXAMPLE_MODELS": str(models.CACHE)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.url = self.wait_for(r"serves (http://\S+)/v1", 60)[1]

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self.log += line

    def wait_for(self, pattern: str, timeout_s: float, after: int = 0) -> re.Match[str]:
        """Until the log says so, beyond its first `after` characters."""
        until_s = time.monotonic() + timeout_s
        while time.monotonic() < until_s:
            if match := re.compile(pattern).search(self.log, after):
                return match
            assert self.process.poll() is None, self.log
            time.sleep(0.1)
        raise AssertionError(f"no {pattern!r} after {timeout_s} s:\n{self.log}")

    def stop(self) -> None:
        """End it, and all that it launched."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.reader.join(10)

    def ask(self, prompt: str, model: str = "auto", **fields: Any) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": prompt}]}
        body |= {"max_tokens": 20, "temperature": 0, **fields}
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, timeout=600)

    def text(self, prompt: str, model: str = "auto", **fields: Any) -> str:
        answer = self.ask(prompt, model, **fields)
        assert answer.status_code == 200, answer.text
        return answer.json()["choices"][0]["message"]["content"]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The example as written."""
    folder = tmp_path_factory.mktemp("gateway")
    for make in (models.smollm2, models.pirate, models.terse):
        make()
    (folder / "coe.yaml").write_bytes((EXAMPLES / "adapters.yaml").read_bytes())
    serving = Gateway(folder)
    try:
        serving.wait_for("vllm ready: expert=base", START_S)
        yield serving
    finally:
        serving.stop()


@pytest.fixture(scope="module")
def extended(gateway: Gateway) -> Gateway:
    """The same server with more experts, taken in while it runs."""
    parts = {"pirate": read_lora(models.pirate()), "terse": read_lora(models.terse())}
    write_lora(gateway.folder / "merged", merge(parts, {"pirate": 0.9, "terse": 0.1}, rank=8).lora)
    written = (EXAMPLES / "adapters.yaml").read_text()
    longer = written.replace("\nrouters:", MORE.format(terse=models.terse()))
    (gateway.folder / "longer.yaml").write_text(longer)
    at = len(gateway.log)
    (gateway.folder / "longer.yaml").rename(gateway.folder / "coe.yaml")
    gateway.wait_for("configuration applied", 60, at)
    return gateway


def test_the_start_is_visible_and_the_card_is_the_servers(gateway: Gateway) -> None:
    phases = re.findall(r"vllm starting: expert=base phase=(\w+)", gateway.log)
    assert "loading_weights" in phases
    listed = httpx.get(f"{gateway.url}/v1/models", timeout=20).json()["data"]
    facts = {row["id"]: row["coe"] for row in listed if row["id"] != "auto"}
    assert facts["pirate"]["context_window"] == facts["base"]["context_window"] == 1024
    assert facts["pirate"]["kind"] == "adapter"
    assert facts["base"]["params_b"] == pytest.approx(0.1345, rel=0.01)
    assert facts["base"]["awake"]


def test_two_kinds_of_prompts_go_to_two_adapters(gateway: Gateway) -> None:
    poem, code = gateway.ask(WRITING), gateway.ask(CODING)
    assert (poem.headers["x-coe-expert"], poem.headers["x-coe-category"]) == ("pirate", "writing")
    assert (code.headers["x-coe-expert"], code.headers["x-coe-category"]) == ("terse", "coding")
    assert "Arr" in poem.json()["choices"][0]["message"]["content"]
    assert '{"answer"' in code.json()["choices"][0]["message"]["content"]
    assert not gateway.text(WRITING, "base").startswith("Arr")


def test_an_adapters_answer_streams(gateway: Gateway) -> None:
    body = {"model": "auto", "stream": True, "temperature": 0, "max_tokens": 16}
    body["messages"] = [{"role": "user", "content": WRITING}]
    with httpx.stream("POST", f"{gateway.url}/v1/chat/completions", json=body, timeout=300) as answer:
        assert answer.headers["x-coe-expert"] == "pirate"
        events = [line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    deltas = [json.loads(event)["choices"] for event in events[:-1]]
    text = "".join(choices[0]["delta"].get("content") or "" for choices in deltas if choices)
    assert "Arr" in text
    assert len(deltas) > 3


def test_experts_that_are_added_need_no_new_server(extended: Gateway) -> None:
    listed = httpx.get(f"{extended.url}/v1/models", timeout=20).json()["data"]
    assert {row["id"] for row in listed} > {"base", "pirate", "terse", "terse-too", "merged", "spare"}
    assert len(re.findall("vllm launched: expert=base", extended.log)) == 1


def test_adapters_come_and_go_under_traffic(extended: Gateway) -> None:
    at = len(extended.log)
    names = ["pirate", "terse", "terse-too", "terse", "pirate", "terse-too", "terse", "pirate"]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda name: extended.text("Tell me about cats.", name), names))
    for name, text in zip(names, texts, strict=True):
        assert ('{"answer"' in text) == (name != "pirate"), (name, text)
        assert ("Arr" in text) == (name == "pirate"), (name, text)
    later = extended.log[at:]
    assert "adapter unloaded: server=base" in later, "two slots and three adapters"
    assert "adapter loaded: server=base adapter=terse-too" in later


def test_a_merged_adapter_is_served_and_keeps_what_weighs_most(extended: Gateway) -> None:
    assert "Arr" in extended.text("Tell me about cats.", "merged")


def test_a_killed_server_is_replaced_and_others_answer_meanwhile(extended: Gateway) -> None:
    at = len(extended.log)
    pid = int(re.findall(r"vllm launched: expert=base pid=(\d+)", extended.log)[-1])
    os.kill(pid, signal.SIGKILL)
    extended.wait_for("vllm died: expert=base", 30, at)
    answer = extended.ask(WRITING)
    assert answer.status_code == 200
    assert answer.headers["x-coe-expert"] == "spare"
    extended.wait_for("vllm ready: expert=base", START_S, at)
    until_s = time.monotonic() + 60
    while (answer := extended.ask(WRITING)).headers["x-coe-expert"] != "pirate":
        assert time.monotonic() < until_s, "the breaker lets it in again after a while"
        time.sleep(0.5)
    assert "Arr" in answer.json()["choices"][0]["message"]["content"]


def test_nothing_is_left_when_coe_is_killed(gateway: Gateway) -> None:
    pids = [int(pid) for pid in re.findall(r"vllm launched: expert=base pid=(\d+)", gateway.log)]
    assert alive(pids[-1])
    gateway.process.kill()
    gateway.process.wait()
    until_s = time.monotonic() + 60
    while any(map(alive, pids)) and time.monotonic() < until_s:
        time.sleep(0.1)
    assert not any(map(alive, pids))


def test_the_installed_vllm_takes_every_preset_and_names_mistakes() -> None:
    # Its parser is the same on a CPU and on a GPU, so the presets for GPUs are checked here too.
    known = asyncio.run(ask(sys.executable, {}, cache_dir()))
    assert len(known.options) > 200
    for name, preset in PRESETS.items():
        assert problems(known, preset.args, preset.env) == [], name
    passed = {
        "moe_backend": "triton",
        "enable_expert_parallel": True,
        "quantization": "fp8",
        "speculative_config": {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 4},
        "enable_prefix_caching": False,
        "max_model_len": "32k",
    }
    assert problems(known, passed) == []
    for mistake, meant in (
        ({"moe_backnd": "triton"}, "`moe_backend`"),
        ({"moe_backend": "tritn"}, "`triton`"),
        ({"quantization": "fp9"}, "`fp8`"),
        ({"enable_expert_paralel": True}, "`enable_expert_parallel`"),
        ({"speculative_config": {"num_speculative_token": 4}}, "`num_speculative_tokens`"),
        ({"compilation_config": {"cudagraph_mod": 1}}, "`cudagraph_mode`"),
    ):
        (said,) = problems(known, mistake)
        assert meant in said, said


def test_this_machine_is_measured_for_a_plan() -> None:
    found = measure(Path(sys.executable), 576)
    assert 0.1 < found.bandwidth_gb_s < 1_000
    assert 0.001 < found.tflops < 100
    assert 0.1 < found.operation_us < 1_000


def launch(tmp_path: Path, model: Path, **args: Any) -> dict[str, Any]:
    """Keys of a server with a real model."""
    return {
        "model": str(model),
        "launch": {
            "preset": "cpu",
            "args": {"max_model_len": 512, **args},
            "env": {"HF_HUB_OFFLINE": "1"},
            "log_file": str(tmp_path / "vllm.log"),
        },
    }


def test_two_servers_share_a_memory_and_a_mixture_names_its_implementation(tmp_path: Path) -> None:
    """The example as written; only a log file shows besides what vLLM says."""
    config = (EXAMPLES / "two_servers.yaml").read_text()
    logged = config.replace("load_format: dummy}", "load_format: dummy}\n      log_file: moe.log")
    assert logged != config
    for make in (models.smollm2, models.moe):
        make()
    (tmp_path / "coe.yaml").write_text(logged)
    serving = Gateway(tmp_path)
    try:
        serving.wait_for("vllm ready: expert=chat", START_S)  # as many as fit are started with the gateway
        code = serving.ask(CODING, max_tokens=4)
        assert code.status_code == 200, code.text
        assert code.headers["x-coe-expert"] == "mixture"
        assert re.search(r"step=stop expert=chat.*step=start expert=mixture", serving.log, re.DOTALL), (
            serving.log
        )
        pids = re.findall(r"vllm launched: expert=chat pid=(\d+)", serving.log)
        assert not any(alive(int(pid)) for pid in pids), "one after the other, never both"
        facts = httpx.get(f"{serving.url}/v1/models", timeout=20).json()["data"]
        awake = {row["id"]: row["coe"]["awake"] for row in facts if row["id"] in ("chat", "mixture")}
        assert awake == {"chat": False, "mixture": True}
        sizes = next(row["coe"] for row in facts if row["id"] == "mixture")
        assert sizes["active_params_b"] < sizes["params_b"]
    finally:
        serving.stop()
    said = (tmp_path / "moe.log").read_text()
    assert re.search(r"Using CPU.* MoE backend", said), said


def test_a_reward_model_scores_and_any_model_embeds(tmp_path: Path) -> None:
    async def check() -> None:
        judge = make_expert("vllm-reward", "judge", launch(tmp_path, models.reward(), runner="pooling"))
        keys = launch(tmp_path, models.smollm2(), runner="pooling", convert="embed")
        vectors = make_expert("vllm-embedding", "vectors", keys)
        try:
            async with asyncio.timeout(START_S), asyncio.TaskGroup() as starting:
                starting.create_task(judge.start())
                starting.create_task(vectors.start())
            await scores(judge)
            await embeds(vectors)
        finally:
            await judge.aclose()
            await vectors.aclose()

    asyncio.run(check())


async def scores(judge: Any) -> None:
    """Alone as in company, and by each of vLLM's endpoints."""
    chats = RewardConformance.chats
    together = await judge.score(chats, context(timeout_s=120))
    assert together.dtype == np.float32
    assert np.isfinite(together).all()
    assert len(set(together.tolist())) == len(chats)
    assert not ((together >= 0) & (together <= 1)).all(), "raw rewards, no sigmoid"
    turned = await judge.score(chats[::-1], context(timeout_s=120))
    np.testing.assert_allclose(turned[::-1], together, atol=0.05)  # bfloat16
    there = {
        "model": "judge",
        "base_url": judge._backend.api.root_url,
        "api_key": judge._backend.api_key,
    }
    pooled = make_expert("vllm-reward", "pooled", {**there, "ask": "pooling"})
    np.testing.assert_allclose(await pooled.score(chats, context(timeout_s=120)), together, atol=0.05)
    paired = make_expert("vllm-reward", "paired", {**there, "ask": "score"})
    assert np.isfinite(await paired.score([PAIR], context(timeout_s=120))).all()
    for attached in (pooled, paired):
        await attached.aclose()


async def embeds(expert: Any) -> None:
    """Unit vectors that differ."""
    texts = ["The cat sat on the mat.", "A cat sat on a mat.", "Stocks fell."]
    payload = {"model": "auto", "input": texts}
    request = EmbeddingRequest(EmbeddingBody(**payload), payload)
    reply = await expert.embeddings(request, context(timeout_s=120))
    vectors = np.array([row["embedding"] for row in json.loads(reply.body)["data"]])
    assert vectors.shape == (3, 576)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    assert abs(vectors[0] @ vectors[2]) < 0.999
