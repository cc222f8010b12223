"""Merging adapters, against the matrices that they stand for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from typer.testing import CliRunner

from coe.errors import DataError
from coe_vllm.commands.adapters import app
from coe_vllm.merging import Delta, Lora, Method, merge, read_lora, router_weights, write_lora

STEM = "base_model.model.model.layers.0.self_attn.q_proj"


def lora(seed: int, rank: int = 2, stem: str = STEM) -> Lora:
    numbers = np.random.default_rng(seed)
    up = numbers.normal(size=(6, rank)).astype(np.float32)
    down = numbers.normal(size=(rank, 5)).astype(np.float32)
    return Lora({stem: Delta(up, down)}, {"peft_type": "LORA", "base_model_name_or_path": "m"})


def matrix(one: Lora, stem: str = STEM) -> np.ndarray:
    return one.deltas[stem].up @ one.deltas[stem].down


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.floats(0.05, 0.95), st.integers(1, 6))
def test_the_merged_change_is_the_best_of_its_rank(seed: int, weight: float, rank: int) -> None:
    a, b = lora(seed), lora(seed + 1000)
    merged = merge({"a": a, "b": b}, {"a": weight, "b": 1 - weight}, rank=rank)
    exact = weight * matrix(a) + (1 - weight) * matrix(b)
    found = matrix(merged.lora)
    values = np.linalg.svd(exact, compute_uv=False)
    best = np.sqrt(np.sum(values[rank:] ** 2)) / np.linalg.norm(exact)
    assert np.linalg.norm(found - exact) / np.linalg.norm(exact) == pytest.approx(best, abs=1e-4)
    assert merged.sum.distance == pytest.approx(best, abs=1e-3)
    apart = np.linalg.norm(found - matrix(a)) / np.linalg.norm(matrix(a))
    assert merged.parts["a"].distance == pytest.approx(apart, abs=1e-3)
    cosine = np.sum(found * matrix(b)) / np.linalg.norm(found) / np.linalg.norm(matrix(b))
    assert merged.parts["b"].cosine == pytest.approx(cosine, abs=1e-3)


def test_enough_rank_loses_nothing_of_the_sum_and_weights_are_shares() -> None:
    merged = merge({"a": lora(1), "b": lora(2)}, {"a": 30, "b": 10}, rank=4)
    np.testing.assert_allclose(
        matrix(merged.lora), 0.75 * matrix(lora(1)) + 0.25 * matrix(lora(2)), atol=1e-5
    )
    assert merged.sum.distance < 1e-3


def test_averaging_parameters_adds_cross_terms_and_keeps_equals() -> None:
    same = merge({"a": lora(1), "b": lora(1)}, {"a": 1, "b": 1}, rank=2, method="parameters")
    np.testing.assert_allclose(matrix(same.lora), matrix(lora(1)), atol=1e-5)
    other = merge({"a": lora(1), "b": lora(2)}, {"a": 1, "b": 1}, rank=2, method="parameters")
    up = (lora(1).deltas[STEM].up + lora(2).deltas[STEM].up) / 2
    down = (lora(1).deltas[STEM].down + lora(2).deltas[STEM].down) / 2
    np.testing.assert_allclose(matrix(other.lora), up @ down, atol=1e-5)
    assert other.sum.distance > merge({"a": lora(1), "b": lora(2)}, {"a": 1, "b": 1}, rank=2).sum.distance


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.floats(0.05, 0.95), st.integers(1, 4))
def test_aligned_an_adapter_is_itself_by_whatever_factors(seed: int, weight: float, rank: int) -> None:
    one = lora(seed, rank)
    numbers = np.random.default_rng(seed)
    turn = np.linalg.qr(numbers.normal(size=(rank, rank)))[0].astype(np.float32)
    delta = one.deltas[STEM]
    other = Lora({STEM: Delta(3 * delta.up @ turn.T, turn @ delta.down / 3)}, one.config)
    weights = {"a": weight, "b": 1 - weight}
    merged = merge({"a": one, "b": other}, weights, rank=rank, method="aligned")
    np.testing.assert_allclose(matrix(merged.lora), matrix(one), atol=1e-3)


def test_aligned_parts_lose_less_than_averages_of_their_factors_as_they_are() -> None:
    def lost(method: Method) -> float:
        return sum(
            merge(
                {"a": lora(seed), "b": lora(seed + 1)}, {"a": 2, "b": 1}, rank=2, method=method
            ).sum.distance
            for seed in range(20)
        )

    assert lost("sum") < lost("aligned") < lost("parameters")


def test_aligned_parts_may_have_any_rank_and_the_result_the_one_that_is_asked_for() -> None:
    parts = {"a": lora(1, 3), "b": lora(2, 1)}
    assert merge(parts, {"a": 1, "b": 1}, rank=3, method="aligned").lora.deltas[STEM].rank == 3
    assert merge(parts, {"a": 1, "b": 1}, rank=2, method="aligned").lora.deltas[STEM].rank == 2


def test_a_weight_that_only_one_adapter_changes_is_kept_by_its_share() -> None:
    merged = merge({"a": lora(1), "b": lora(2, stem=STEM.replace("q_", "k_"))}, {"a": 1, "b": 3}, rank=2)
    np.testing.assert_allclose(matrix(merged.lora), 0.25 * matrix(lora(1)), atol=1e-5)
    assert merged.lora.config["target_modules"] == ["k_proj", "q_proj"]


def test_what_cannot_be_merged_is_refused() -> None:
    with pytest.raises(DataError, match="at least two"):
        merge({"a": lora(1)}, {"a": 1}, rank=1)
    with pytest.raises(DataError, match="`b`: every adapter needs a weight"):
        merge({"a": lora(1), "b": lora(2)}, {"a": 1}, rank=1)
    with pytest.raises(DataError, match="must not be negative"):
        merge({"a": lora(1), "b": lora(2)}, {"a": 1, "b": -1}, rank=1)
    with pytest.raises(DataError, match="needs equal ones"):
        merge({"a": lora(1), "b": lora(2, rank=3)}, {"a": 1, "b": 1}, rank=1, method="parameters")
    wide = Lora({STEM: Delta(np.zeros((7, 1), np.float32), np.zeros((1, 5), np.float32))}, {})
    with pytest.raises(DataError, match="not of one base model"):
        merge({"a": lora(1), "b": wide}, {"a": 1, "b": 1}, rank=1)


def save(folder: Path, seed: int) -> Path:
    write_lora(folder, lora(seed))
    return folder


def test_an_adapter_is_read_as_it_was_written(tmp_path: Path) -> None:
    back = read_lora(save(tmp_path / "a", 1))
    np.testing.assert_allclose(matrix(back), matrix(lora(1)), rtol=1e-6)


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({"lora_alpha": 8}, 4.0),
        ({"lora_alpha": 8, "use_rslora": True}, 8 / 2**0.5),
        ({"lora_alpha": 8, "alpha_pattern": {"q_proj": 2}}, 1.0),
    ],
)
def test_the_scale_is_pefts(tmp_path: Path, config: dict[str, object], scale: float) -> None:
    folder = save(tmp_path / "a", 1)
    said = {"peft_type": "LORA", "r": 2, **config}
    (folder / "adapter_config.json").write_text(json.dumps(said))
    np.testing.assert_allclose(matrix(read_lora(folder)), scale * matrix(lora(1)), rtol=1e-5)


def test_bfloat16_is_read_exactly(tmp_path: Path) -> None:
    folder = save(tmp_path / "a", 1)
    raw = bytearray((folder / "adapter_model.safetensors").read_bytes())
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    data, at, entries = b"", 0, {}
    for name, entry in sorted(header.items()):
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        wide = np.frombuffer(bytes(raw[8 + size + begin : 8 + size + end]), np.uint32)
        part = (wide >> 16).astype(np.uint16).tobytes()
        entries[name] = {"dtype": "BF16", "shape": entry["shape"], "data_offsets": [at, at + len(part)]}
        data, at = data + part, at + len(part)
    text = json.dumps(entries).encode()
    (folder / "adapter_model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
    np.testing.assert_allclose(matrix(read_lora(folder)), matrix(lora(1)), rtol=0.02, atol=0.05)


def test_the_command_merges_by_usage_and_says_what_is_lost(tmp_path: Path) -> None:
    paths = [str(save(tmp_path / name, seed)) for name, seed in (("a", 1), ("b", 2))]
    usage = tmp_path / "stats.json"
    usage.write_text(json.dumps({"by_expert": {"a": {"requests": 30}, "b": {"requests": 10}, "c": {}}}))
    out = tmp_path / "out"
    done = CliRunner().invoke(
        app, ["merge", str(out), *paths, "--usage", str(usage), "--rank", "4", "--json"]
    )
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["weights"] == {"a": 30, "b": 10}
    assert said["lost"]["(weighted sum)"]["distance"] < 1e-3
    assert said["lost"]["a"]["cosine"] > said["lost"]["b"]["cosine"]
    exact = 0.75 * matrix(lora(1)) + 0.25 * matrix(lora(2))
    np.testing.assert_allclose(matrix(read_lora(out)), exact, atol=1e-4)
    again = CliRunner().invoke(app, ["merge", str(out), *paths])
    assert isinstance(again.exception, DataError)


def test_adapters_of_a_folder_become_experts_or_say_why_not(tmp_path: Path) -> None:
    import yaml

    save(tmp_path / "good", 1)
    save(tmp_path / "bad", 2)
    (tmp_path / "bad" / "adapter_config.json").write_text('{"peft_type": "IA3"}')
    save_file({"x": np.zeros(1, np.float32)}, save(tmp_path / "empty", 3) / "adapter_model.safetensors")
    done = CliRunner().invoke(app, ["find", str(tmp_path), "--base", "base"])
    assert done.exit_code == 0, done.output
    experts = yaml.safe_load(done.stdout)["experts"]
    assert experts == {"good": {"kind": "adapter", "base": "base", "path": str(tmp_path / "good")}}
    assert "# bad: " in done.stdout
    assert "holds no LoRA matrices" in done.stdout
    strict = CliRunner().invoke(app, ["find", str(tmp_path), "--base", "base", "--max-rank", "1"])
    assert "its rank is 2, the server takes up to 1" in strict.stdout


def decided(category: str, expert: str, **probabilities: float) -> dict[str, object]:
    likely = [{"category": name, "probability": value} for name, value in probabilities.items()]
    return {"category": category, "chosen": expert, "categories": likely}


def test_router_weights_are_mean_probabilities_of_the_categories_that_an_expert_has() -> None:
    rows = [
        decided("law", "a", law=0.9, code=0.1),
        decided("law", "a", law=0.7, code=0.2, talk=0.1),
        decided("code", "b", code=0.6, law=0.4),
        decided("talk", "other", talk=1.0),
    ]
    weights = router_weights(["a", "b"], rows)
    assert weights == pytest.approx({"a": (0.9 + 0.7 + 0.4) / 4, "b": (0.1 + 0.2 + 0.6) / 4})
    with pytest.raises(DataError, match="say nothing of `c`"):
        router_weights(["a", "c"], rows)
    with pytest.raises(DataError, match="without category"):
        router_weights(["a"], [{"chosen": "a"}])


def test_the_command_merges_by_what_the_router_said(tmp_path: Path) -> None:
    paths = [str(save(tmp_path / name, seed)) for name, seed in (("a", 1), ("b", 2))]
    decisions = tmp_path / "decisions.json"
    rows = [decided("law", "a", law=0.8, code=0.2), decided("code", "b", code=1.0)]
    decisions.write_text("\n".join(json.dumps(row, indent=1) for row in rows))
    out = str(tmp_path / "out")
    options = ["--router", str(decisions), "--method", "parameters", "--json"]
    done = CliRunner().invoke(app, ["merge", out, *paths, *options])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["weights"] == pytest.approx({"a": 0.4, "b": 0.6})
    both = CliRunner().invoke(app, ["merge", out + "2", *paths, *options, "--weight", "a=1"])
    assert "Give one of --weight, --usage and --router" in str(both.exception)
    half = CliRunner().invoke(app, ["merge", out + "2", *paths, "--prompts", str(decisions)])
    assert "takes both --prompts and --model" in str(half.exception)
    wrong = CliRunner().invoke(
        app, ["merge", out + "2", *paths, "--prompts", str(decisions), "--model", str(tmp_path)]
    )
    assert "object 1: expected `prompt`" in str(wrong.exception)
