"""In the installed vLLM, with a small random mixture of experts. Needs `.venv-vllm` (`make test-kernels`)."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed: run `make test-kernels`")

import numpy as np
import torch
from typer.testing import CliRunner

from coe_kernels import plugin, reference, tuned
from coe_kernels.commands import app
from coe_kernels.cpu import Isa, Type, best_isa, library
from coe_kernels.engine import contract, ops
from coe_kernels.engine.model import write_model
from coe_kernels.telemetry import HERE
from coe_kernels.verify import Trial, judge, read_trial

# What torch and vLLM say of their own use of torch.
pytestmark = [pytest.mark.heavy, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

TRIAL_S = 600


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    write_model(folder)
    return folder


def trial(model: Path, chosen: str, *options: str, weights: str = "same") -> Trial:
    env = {
        **os.environ,
        "COE_KERNELS": chosen,
        "COE_KERNELS_WEIGHTS": weights,
        "HF_HUB_OFFLINE": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "coe_kernels.engine.trial", str(model), *options],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TRIAL_S,
    )
    return read_trial(done.stdout)


@pytest.fixture(scope="module")
def plain(model: Path) -> Trial:
    """vLLM alone, not compiled."""
    return trial(model, "off")


def takes_over() -> bool:
    """Whether this machine's CPU has a kernel that the rule lets take over."""
    return best_isa(library(), Type.BFLOAT16) in (Isa.AMX, Isa.AVX512_BF16)


@pytest.mark.parametrize("options", [("--reload",), ("--compile",)], ids=["reloaded", "compiled"])
def test_vllm_runs_our_kernels_and_says_the_same(model: Path, plain: Trial, options: tuple[str, ...]) -> None:
    theirs = trial(model, "off", "--compile") if "--compile" in options else plain
    ours = trial(model, "auto", *options)
    if not takes_over():
        assert ours.experts == theirs.experts
        assert "vLLM's" in "".join(ours.result["after"]["declined"])
        return
    failed = [check for check in judge(ours, theirs) if not check.passed]
    assert failed == []
    uses = [sum(layer["histogram"]) for layer in ours.result["after"]["layers"]]
    tokens = [layer["tokens"] for layer in ours.result["after"]["layers"]]
    assert uses == [2 * count for count in tokens], "two experts of each token are in the histogram"


def test_the_names_that_the_plugin_relies_on_exist() -> None:
    assert contract.missing() == []
    assert contract.tested("0.32.0")
    assert contract.tested("0.32.1+cpu")
    assert not contract.tested("0.33.0")
    assert not contract.tested("0.320.0")


def test_a_lost_name_or_parameter_is_said_and_vllm_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "vllm.model_executor.custom_op"
    monkeypatch.setattr(
        contract, "NAMES", {module: {"CustomOp.register_oot": ("colour",), "Gone": ()}, "vllm.gone": {}}
    )
    monkeypatch.setenv("COE_KERNELS", "auto")
    lacks = contract.missing()
    assert lacks[0] == f"{module}.CustomOp.register_oot(colour)"
    assert lacks[1] == f"{module}.Gone"
    assert lacks[2].startswith("vllm.gone (")
    assert "this vLLM lacks" in str(plugin._install())


def test_installing_twice_or_with_nonsense_never_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm.model_executor.custom_op import op_registry_oot

    from coe_kernels.engine.method import CoeFusedMoEMethod

    monkeypatch.setenv("COE_KERNELS", "nonsense")
    plugin.install()
    assert "UnquantizedFusedMoEMethod" not in op_registry_oot
    monkeypatch.setenv("COE_KERNELS", "auto")
    monkeypatch.setattr(contract, "TESTED", "0.1")
    plugin.install()
    assert "UnquantizedFusedMoEMethod" not in op_registry_oot
    monkeypatch.undo()
    plugin.install()
    plugin.install()
    assert op_registry_oot["UnquantizedFusedMoEMethod"] is CoeFusedMoEMethod


def test_vllm_finds_and_reads_what_tune_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm.model_executor.layers.fused_moe import fused_moe

    gpu = "NVIDIA H100 80GB HBM3"
    monkeypatch.setattr(fused_moe, "get_device_name_as_file_name", lambda: tuned.device_in_names(gpu))
    assert fused_moe.get_config_file_name(96, 768, None) == tuned.file_name(96, 768, gpu)
    options = ["--transfer", gpu, "--out", str(tmp_path / "store"), "--json"]
    write_model(tmp_path / "model", intermediate=768, experts=96)
    done = CliRunner().invoke(app, ["tune", str(tmp_path / "model"), *options])
    assert done.exit_code == 0, done.output
    monkeypatch.setenv("VLLM_TUNED_CONFIG_FOLDER", str(tmp_path / "store"))
    found = fused_moe.get_moe_configs(96, 768, None)
    assert found == tuned.read_table(Path(json.loads(done.stdout)["file"]))
    assert tuned.nearest(found, 40) == fused_moe.try_get_optimal_moe_config(
        (96, 1536, 256), (96, 256, 768), 2, None, 40
    )


@pytest.fixture
def operands() -> Iterator[tuple[torch.Tensor, ...]]:
    generator = torch.Generator().manual_seed(0)
    w13 = torch.randn(4, 128, 96, generator=generator).mul_(0.1).bfloat16()
    w2 = torch.randn(4, 96, 64, generator=generator).mul_(0.1).bfloat16()
    x = torch.randn(9, 96, generator=generator).bfloat16()
    HERE.layers.clear()
    yield x, w13, w2
    HERE.layers.clear()


def test_the_operator_compiles_and_counts(operands: tuple[torch.Tensor, ...]) -> None:
    x, w13, w2 = operands
    routing = reference.uniform(9, 4, 2, np.random.default_rng(0))
    weights, ids = torch.from_numpy(routing.weights), torch.from_numpy(routing.ids)
    packed = ops.pack(w13, interleaved=True), ops.pack(w2, interleaved=False)
    layer = HERE.add("layer", "ours", 4)

    def twice(x: torch.Tensor) -> torch.Tensor:
        return 2 * ops.fused_moe(x + 0, *packed, weights, ids, 64, 4, layer)

    eager = twice(x)
    compiled = torch.compile(twice, fullgraph=True)(x)
    torch.testing.assert_close(compiled, eager)
    wanted = reference.fused_moe(*(one.float().numpy() for one in (x, w13, w2)), routing)
    torch.testing.assert_close(eager.float() / 2, torch.from_numpy(wanted).float(), atol=2e-2, rtol=2e-2)
    assert (HERE.layers[layer].calls, HERE.layers[layer].tokens) == (2, 18)
    assert HERE.layers[layer].histogram.tolist() == [
        2 * uses for uses in torch.bincount(ids.flatten().long())
    ]
    torch.library.opcheck(
        torch.ops.coe.fused_moe.default,
        (torch.empty_like(x), x, *packed, weights, ids, 64, 4, -1),
        test_utils=("test_schema", "test_faketensor"),
    )


def test_operands_that_do_not_belong_together_are_refused(operands: tuple[torch.Tensor, ...]) -> None:
    x, w13, w2 = operands
    packed = ops.pack(w13, interleaved=True), ops.pack(w2, interleaved=False)
    weights, ids = torch.ones(9, 2), torch.zeros(9, 2, dtype=torch.int32)
    with pytest.raises(ValueError, match="not those of 5 experts"):
        ops.fused_moe(x, *packed, weights, ids, 64, 5)
    with pytest.raises(ValueError, match="not those of 4 experts"):
        ops.fused_moe(x.float(), *packed, weights, ids, 64, 4)
    with pytest.raises(ValueError, match="are not for x"):
        ops.fused_moe(x, *packed, weights[:8], ids[:8], 64, 4)


def test_vllm_runs_weights_of_8_bits(model: Path, plain: Trial) -> None:
    if best_isa(library(), Type.BFLOAT16) is Isa.PORTABLE:
        pytest.skip("this CPU has no vector kernels; the portable one is tried without vLLM")
    ours = trial(model, "auto", weights="int8")
    kernels = {layer["kernel"] for layer in ours.result["after"]["layers"]}
    assert kernels == {f"{best_isa(library(), Type.BFLOAT16).name} int8"}
    pairs = zip(ours.result["logprobs"], plain.result["logprobs"], strict=True)
    # Not the largest: where the router is undecided, another expert answers.
    assert 0 < statistics.median(abs(one - other) for one, other in pairs) < 0.05


def test_bench_prints_the_fields_that_are_promised() -> None:
    command = "from coe.cli import main; main()"
    sizes = ["--tokens", "1,3", "--hidden", "64", "--intermediate", "32", "--experts", "4", "--top-k", "2"]
    done = subprocess.run(
        [sys.executable, "-c", command, "kernels", "bench", "--json", "--seconds", "0", "--int8", *sizes],
        capture_output=True,
        text=True,
        timeout=TRIAL_S,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout.splitlines()[-1])["rows"]
    assert [row["tokens"] for row in rows] == [1, 3]
    promised = (
        "device dtype tokens hidden intermediate experts top_k us ratio_vllm ratio_zentorch floor_fraction"
    )
    for row in rows:
        assert set(promised.split()) <= set(row)
        assert row["us"] > 0
        assert row["error"] < 4e-2
        assert row["ratio_bfloat16"] > 0
