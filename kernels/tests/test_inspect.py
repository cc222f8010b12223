"""Sparse layers as configurations have them, and the commands that look at them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from coe.errors import CoeError, DataError
from coe_kernels.checkpoint import sparse_model
from coe_kernels.commands import app
from coe_kernels.recorded import read_histograms
from coe_kernels.tuned import read_table, write_table

QWEN: dict[str, Any] = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "num_hidden_layers": 48,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "hidden_size": 2048,
    "moe_intermediate_size": 768,
    "intermediate_size": 6144,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "hidden_act": "silu",
    "torch_dtype": "bfloat16",
}
MIXTRAL = {
    "architectures": ["MixtralForCausalLM"],
    "num_hidden_layers": 32,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "hidden_size": 4096,
    "intermediate_size": 14336,
}
DEEPSEEK = {
    "num_hidden_layers": 27,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "num_experts_per_tok": 6,
    "hidden_size": 2048,
    "moe_intermediate_size": 1408,
    "intermediate_size": 10944,
    "first_k_dense_replace": 1,
    "quantization_config": {"quant_method": "fp8"},
}


def run(*arguments: object) -> Any:
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return json.loads(done.stdout)


def write(folder: Path, config: dict[str, Any]) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_families_say_the_same_in_other_words() -> None:
    qwen, mixtral, deepseek = (sparse_model(one, "config") for one in (QWEN, MIXTRAL, DEEPSEEK))
    assert (qwen.experts, qwen.top_k, qwen.intermediate, len(qwen.sparse)) == (128, 8, 768, 48)
    assert (mixtral.experts, mixtral.top_k, mixtral.intermediate) == (8, 2, 14336)
    assert (deepseek.sparse[0], len(deepseek.sparse), deepseek.shared) == (1, 26, 2)
    assert deepseek.quantised == "fp8"


def test_layers_that_are_left_out_are_dense() -> None:
    model = sparse_model(
        QWEN | {"num_hidden_layers": 6, "decoder_sparse_step": 2, "mlp_only_layers": [3]}, "c"
    )
    assert model.sparse == (1, 5)
    listed = sparse_model(QWEN | {"num_hidden_layers": 4, "moe_layer_freq": [0, 1, 1, 0]}, "c")
    assert listed.sparse == (1, 2)


@pytest.mark.parametrize(
    ("lost", "words"), [("num_experts", "no mixture"), ("hidden_size", "lacks hidden_size")]
)
def test_what_is_missing_is_named(lost: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        sparse_model({key: value for key, value in QWEN.items() if key != lost}, "config")


def test_inspect_gives_the_floor_that_is_known(tmp_path: Path) -> None:
    found = run("inspect", write(tmp_path, QWEN), "--device", "h100", "--tokens", "1,8", "--json")
    assert [round(row["us"], 1) for row in found["costs"]] == [22.5, 145.4]
    assert found["costs"][0]["distinct"] == 8
    assert found["costs"][0]["bound"] == "memory"
    assert found["kernel"].startswith(("coe-kernels", "vLLM"))


def test_inspect_says_why_a_quantised_model_stays_vllms(tmp_path: Path) -> None:
    found = run("inspect", write(tmp_path, DEEPSEEK), "--json")
    assert found["kernel"] == "vLLM's own"
    assert "fp8" in found["reason"]
    assert found["costs"][0]["us"] is None


def recorded(folder: Path, *histograms: list[int]) -> Path:
    layers = [{"layer": str(n), "histogram": uses} for n, uses in enumerate(histograms)]
    path = folder / "status.json"
    path.write_text(json.dumps({"layers": layers, "declined": {}}))
    return path


def test_recorded_traffic_counts(tmp_path: Path) -> None:
    small = write(tmp_path, QWEN | {"num_experts": 4, "num_experts_per_tok": 2})
    skewed = recorded(tmp_path, [50, 50, 0, 0], [25, 25, 25, 25])
    plain = run("inspect", small, "--tokens", "64", "--json")["costs"][0]
    found = run("inspect", small, "--tokens", "64", "--histogram", skewed, "--json")["costs"][0]
    assert plain["distinct"] == pytest.approx(4)
    assert found["distinct"] == pytest.approx(3)


@pytest.mark.parametrize("uses", [[1, 2, 3], [0, 0, 0, 0], [-1, 2, 0, 0]])
def test_traffic_of_another_model_is_refused(tmp_path: Path, uses: list[int]) -> None:
    with pytest.raises(DataError, match="some uses of 4 experts"):
        read_histograms(recorded(tmp_path, uses), 4)


def test_no_traffic_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no layers"):
        read_histograms(recorded(tmp_path), 4)
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(DataError, match="is not what"):
        read_histograms(tmp_path / "other.json", 4)


def test_tune_carries_a_shipped_table_over(tmp_path: Path) -> None:
    names = ("BLOCK_SIZE_M", "BLOCK_SIZE_N", "BLOCK_SIZE_K", "GROUP_SIZE_M", "num_warps", "num_stages")
    table = {batch: dict(zip(names, (m, 64, 64, 1, 4, 3), strict=True)) for batch, m in ((1, 16), (256, 64))}
    write_table(tmp_path / "shipped", 128, 768, "Some GPU", table)
    model = write(tmp_path, QWEN | {"num_experts": 32})
    options = [
        "--transfer",
        "Some GPU",
        "--shipped",
        tmp_path / "shipped",
        "--out",
        tmp_path / "out",
        "--json",
    ]
    found = run("tune", model, *options)
    written = read_table(Path(found["file"]))
    assert Path(found["file"]).name == "E=32,N=768,device_name=Some_GPU.json"
    assert "not timed" in found["how"]
    assert written[64]["BLOCK_SIZE_M"] == 64, "64 tokens on 32 experts fill them as 256 fill 128"
    with pytest.raises(CoeError, match="no file for unquantised experts on Other"):
        run("tune", model, "--transfer", "Other", *options[2:])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--device", "abacus"], "expected one of A100"),
        (["--gb-s", "20"], "belong together"),
        (["--tokens", "0"], "positive numbers"),
    ],
)
def test_nonsense_is_refused(tmp_path: Path, options: list[str], words: str) -> None:
    with pytest.raises(CoeError, match=words):
        run("inspect", write(tmp_path, QWEN), *options)


def test_histograms_are_arrays(tmp_path: Path) -> None:
    found = read_histograms(recorded(tmp_path, [1, 0, 2, 0]), 4)
    np.testing.assert_array_equal(found["0"], [1, 0, 2, 0])
