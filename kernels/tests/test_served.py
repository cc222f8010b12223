"""A sparse model that vLLM serves with our kernels, behind `coe serve`. Needs `.venv-vllm`."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed: run `make test-kernels`")

import httpx

from coe_kernels.cpu import Isa, Type, best_isa, library
from coe_kernels.engine.model import write_model

pytestmark = pytest.mark.heavy

START_S = 400
CONFIG = """
plugins: {{allow: [coe-vllm]}}
experts:
  sparse:
    kind: vllm
    model: {model}
    layer_counts: true
    launch:
      preset: cpu
      args: {{max_model_len: 256, enable_prefix_caching: false}}
      env: {{HF_HUB_OFFLINE: "1", COE_KERNELS: auto}}
      log_file: vllm.log
routers: {{auto: {{kind: two-step}}}}
server: {{port: 0, request_timeout_s: 300}}
"""
SAMPLE = re.compile(r"^coe_expert_layer_(\w+)_total\{([^}]*)\} (\S+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Its address, and the folder where vLLM's log is."""
    folder = tmp_path_factory.mktemp("gateway")
    write_model(folder / "model")
    (folder / "coe.yaml").write_text(CONFIG.format(model=folder / "model"))
    process = subprocess.Popen(
        [Path(sys.executable).with_name("coe"), "serve"],
        cwd=folder,
        env={**os.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    log: list[str] = []
    assert process.stdout is not None
    reader = threading.Thread(target=log.extend, args=(process.stdout,), daemon=True)
    try:
        reader.start()
        until_s = time.monotonic() + START_S
        while not (found := re.search(r"serves (http://\S+)/v1", "".join(log))):
            assert process.poll() is None, "".join(log)
            assert time.monotonic() < until_s, "".join(log)
            time.sleep(0.1)
        while httpx.get(f"{found[1]}/health/ready").status_code != 200:
            assert time.monotonic() < until_s, "".join(log)
            time.sleep(0.2)
        yield found[1], folder
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        finally:
            process.kill()
        reader.join(10)
        process.stdout.close()


def counted(url: str) -> dict[tuple[str, str], float]:
    """The gateway's counters of layers by kind and layer, uses of all parts added up."""
    sums: dict[tuple[str, str], float] = {}
    for kind, labels, value in SAMPLE.findall(httpx.get(f"{url}/metrics").text):
        layer = re.search(r'layer="([^"]*)"', labels)
        assert layer is not None
        sums[kind, layer[1]] = sums.get((kind, layer[1]), 0) + float(value)
    return sums


def test_the_gateway_counts_every_token_of_every_layer(gateway: tuple[str, Path]) -> None:
    url, folder = gateway
    words = " ".join(f"w{number}" for number in (5, 17, 301, 42, 7))
    body = {"model": "sparse", "messages": [{"role": "user", "content": words}], "max_tokens": 8}
    body |= {"temperature": 0, "ignore_eos": True}
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=300)
    assert answer.status_code == 200, answer.text
    usage = answer.json()["usage"]
    assert usage["completion_tokens"] == 8
    steps, tokens = 8, usage["prompt_tokens"] + 7
    log = (folder / "vllm.log").read_text()
    if best_isa(library(), Type.BFLOAT16) not in (Isa.AMX, Isa.AVX512_BF16):
        assert "Using CoeCpuExperts MoE backend" not in log
        return
    assert "Using CoeCpuExperts MoE backend" in log
    until_s = time.monotonic() + 60
    while not (sums := counted(url)) or any(
        value < steps for (kind, _), value in sums.items() if kind == "calls"
    ):
        assert time.monotonic() < until_s, "the gateway did not ask for the layers' counts"
        time.sleep(0.5)
    layers = sorted({layer for _, layer in sums})
    assert len(layers) == 2
    for layer in layers:
        assert sums["calls", layer] == steps
        assert sums["tokens", layer] == tokens
        assert sums["uses", layer] == 2 * tokens, "two experts of each token are in the histogram"


def test_the_server_behind_it_is_asked_by_the_command_too(gateway: tuple[str, Path]) -> None:
    log = (gateway[1] / "vllm.log").read_text()
    found = re.search(r"http://127\.0\.0\.1:\d+", log)
    assert found is not None, "vLLM's log names where it listens"
    command = [Path(sys.executable).with_name("coe"), "kernels", "status", "--url", found[0], "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert '"layers"' in done.stdout
