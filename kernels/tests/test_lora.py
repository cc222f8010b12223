"""Adapters on the experts of a sparse model, on a CPU: in vLLM, and by the operator. Needs `.venv-vllm`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed: run `make test-kernels`")

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from coe_kernels import reference
from coe_kernels.engine import ops
from coe_kernels.engine.lora import unpacked_w2, unpacked_w13
from coe_kernels.engine.model import write_model
from coe_kernels.telemetry import HERE

pytestmark = [pytest.mark.heavy, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

LAYERS, HIDDEN, INTERMEDIATE, EXPERTS, RANK, ALPHA = 2, 256, 128, 8, 4, 8
PROJECTIONS = {
    "gate_proj": (HIDDEN, INTERMEDIATE),
    "up_proj": (HIDDEN, INTERMEDIATE),
    "down_proj": (INTERMEDIATE, HIDDEN),
}


def write_adapter(folder: Path, seed: int) -> Path:
    """As PEFT saves it: every projection of every expert, strong enough to change what the model says."""
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    for layer in range(LAYERS):
        for expert in range(EXPERTS):
            for name, (inside, outside) in PROJECTIONS.items():
                stem = f"base_model.model.model.layers.{layer}.mlp.experts.{expert}.{name}"
                a = torch.randn(RANK, inside, generator=generator) * inside**-0.5
                b = torch.randn(outside, RANK, generator=generator) * 0.3
                tensors[f"{stem}.lora_A.weight"] = a.bfloat16()
                tensors[f"{stem}.lora_B.weight"] = b.bfloat16()
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    said = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "target_modules": list(PROJECTIONS)}
    (folder / "adapter_config.json").write_text(json.dumps(said))
    return folder


def write_merged(model: Path, adapter: Path, folder: Path) -> Path:
    """The model with the adapter added to its weights."""
    folder.mkdir()
    for file in model.iterdir():
        if file.suffix == ".json":
            (folder / file.name).write_bytes(file.read_bytes())
    weights = load_file(model / "model.safetensors")
    added = load_file(adapter / "adapter_model.safetensors")
    for name in [name for name in added if name.endswith("lora_A.weight")]:
        stem = name.removesuffix(".lora_A.weight")
        a, b = added[name].float(), added[f"{stem}.lora_B.weight"].float()
        target = stem.removeprefix("base_model.model.") + ".weight"
        weights[target] = (weights[target].float() + ALPHA / RANK * (b @ a)).bfloat16()
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def trial(model: Path, *adapters: str, kernels: str = "auto") -> dict[str, Any]:
    env = {**os.environ, "COE_KERNELS": kernels, "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("lora_trial.py")), str(model), *adapters],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    found = [line for line in done.stdout.splitlines() if line.startswith("TRIAL ")]
    assert found, done.stdout[-3000:]
    return {"log": done.stdout, **json.loads(found[-1].removeprefix("TRIAL "))}


def apart(one: list[float], other: list[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def test_adapters_work_where_vllm_alone_fails_and_agree_with_merged_weights(tmp_path: Path) -> None:
    model = tmp_path / "model"
    write_model(model, layers=LAYERS, hidden=HIDDEN, intermediate=INTERMEDIATE, experts=EXPERTS)
    first, second = write_adapter(tmp_path / "a", 1), write_adapter(tmp_path / "b", 2)
    found = trial(model, f"a={first}", f"b={second}")
    assert "Using CoeCpuLoraExperts MoE backend" in found["log"]
    for alone, mixed in zip(found["alone"], found["mixed"], strict=True):
        for one, other in zip(alone, mixed, strict=True):
            common = sorted(set(one) & set(other))
            assert len(common) >= 4, "a batch of all is the same as each alone"
            assert apart([one[token] for token in common], [other[token] for token in common]) < 2e-2
    base, with_first, with_second = found["scored"]
    assert apart(base, with_first) > 0.1, "the adapter matters"
    assert apart(with_first, with_second) > 0.1
    merged = trial(write_merged(model, second, tmp_path / "merged"), kernels="off")
    assert apart(with_second, merged["scored"][0]) < 5e-2
    assert apart(base, merged["scored"][0]) > 0.1


@pytest.fixture
def layer() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    w13 = torch.randn(4, 128, 96, generator=generator).mul_(0.1)
    w2 = torch.randn(4, 96, 64, generator=generator).mul_(0.1)
    return torch.randn(9, 96, generator=generator), w13, w2


def test_packed_weights_are_read_back(layer: tuple[torch.Tensor, ...]) -> None:
    _, w13, w2 = (one.bfloat16() for one in layer)
    packed13 = ops.pack(w13, interleaved=True).view_as(w13)
    packed2 = ops.pack(w2, interleaved=False).view_as(w2)
    for expert in range(4):
        assert torch.equal(unpacked_w13(packed13, expert), w13[expert])
        assert torch.equal(unpacked_w2(packed2, expert), w2[expert])


def test_each_token_gets_its_adapter_and_all_are_counted(layer: tuple[torch.Tensor, ...]) -> None:
    x, w13, w2 = layer
    routing = reference.uniform(9, 4, 2, np.random.default_rng(0))
    weights, ids = torch.from_numpy(routing.weights), torch.from_numpy(routing.ids)
    adapters = torch.tensor([-1, 0, 1, -1, 1, 0, 0, 1, -1])
    generator = torch.Generator().manual_seed(1)
    shapes = [(3, 96), (3, 96), (64, 3), (64, 3), (3, 64), (96, 3)]
    stacks = [torch.randn(2, 4, *shape, generator=generator) * 0.3 for shape in shapes]
    packed = [ops.pack(w13, interleaved=True).view_as(w13), ops.pack(w2, interleaved=False).view_as(w2)]
    HERE.layers.clear()
    number = HERE.add("layer", "ours", 4)
    out = torch.empty_like(x)
    torch.ops.coe.fused_moe_adapters(out, x, *packed, weights, ids, adapters, stacks, 64, 4, number)
    gate_a, up_a, gate_b, up_b, down_a, down_b = stacks
    for token, adapter in enumerate(adapters.tolist()):
        full13, full2 = w13, w2
        if adapter >= 0:
            added = torch.cat([gate_b[adapter] @ gate_a[adapter], up_b[adapter] @ up_a[adapter]], 1)
            full13, full2 = w13 + added, w2 + down_b[adapter] @ down_a[adapter]
        one = reference.Routing(routing.ids[token : token + 1], routing.weights[token : token + 1])
        wanted = reference.fused_moe(x[token : token + 1].numpy(), full13.numpy(), full2.numpy(), one)
        torch.testing.assert_close(out[token].double(), torch.from_numpy(wanted[0]), atol=1e-4, rtol=1e-4)
    counts = HERE.layers[number]
    HERE.layers.clear()
    assert (counts.calls, counts.tokens) == (1, 9)
    assert counts.histogram.tolist() == torch.bincount(ids.flatten().long()).tolist()
