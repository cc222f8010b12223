"""Adapters on a language model: a random small one, and the small real one where it was made."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import pytest
from reward_data import pairs, ratings, write

from coe.errors import ArtifactError, ConfigError
from coe.testing import build
from coe_dmoerm._items import Data, read_data
from coe_dmoerm._saved import read_model
from coe_dmoerm.lora._model import train_adapters
from coe_dmoerm.lora._train import LoraSettings

pytestmark = pytest.mark.heavy

REAL = Path(platformdirs.user_cache_dir("coe")) / "vllm-tests-1" / "smollm2"
"""SmolLM2-135M-Instruct, as plugins/coe-vllm/tests/models.py writes it."""


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of two layers with the real one's tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("base") / "tiny"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(str(REAL)).save_pretrained(folder)
    return folder


def trained(base: Path, data: Data, out: Path, **changes: Any) -> None:
    settings = LoraSettings(**{"steps": 60, "rate": 3e-3, **changes})
    train_adapters(data, base, (64, 4), settings, out, {}, lambda _: None)


def rewards(folder: Path, data: Data, base: Path | None = None) -> np.ndarray[Any, np.dtype[np.float64]]:
    opened = read_model(folder, build().embedder, base)
    return np.array([each.reward for each in opened.model.score(data.items)])


@pytest.fixture(scope="session")
def lessons(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return read_data([write(tmp_path_factory.mktemp("data") / "pairs.jsonl", pairs())])


def accuracy(found: np.ndarray[Any, np.dtype[np.float64]], data: Data) -> float:
    return float(np.mean([found[pair.better] > found[pair.worse] for pair in data.pairs]))


def test_the_real_model_learns_and_scores_the_same_after_a_reload(tmp_path: Path, lessons: Data) -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[2]); from test_lora import *; "
        "data = read_data([Path(sys.argv[1])]); print(json.dumps(list(rewards(Path(sys.argv[3]), data))))"
    )
    trained(REAL, lessons, tmp_path / "model", steps=10, rate=1e-3)
    held = write(tmp_path / "held.jsonl", pairs(12, seed=5))
    data = read_data([held])
    found = rewards(tmp_path / "model", data)
    assert accuracy(found, data) > 0.9
    command = [sys.executable, "-c", script, str(held), str(Path(__file__).parent), str(tmp_path / "model")]
    again = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    np.testing.assert_allclose(json.loads(again.stdout), found, atol=1e-5)


def test_all_three_phases_are_trained_and_kept(tmp_path: Path, tiny: Path) -> None:
    data = read_data([write(tmp_path / "r.jsonl", ratings())])
    trained(tiny, data, tmp_path / "model")
    opened = read_model(tmp_path / "model", build().embedder)
    assert opened.model.heads == dict.fromkeys(("explain", "greet"), ("clear", "polite", "preference"))
    found = opened.model.score(data.items)
    assert accuracy(np.array([each.reward for each in found]), data) > 0.6
    spread = [np.std([each.aspects[name] for each in found]) for name in ("clear", "polite", "preference")]
    assert min(spread) > 1e-4
    one = [opened.model.score([item])[0].reward for item in data.items[:6]]
    np.testing.assert_allclose(one, [each.reward for each in found[:6]], atol=1e-5)
    assert not [
        path for path in (tmp_path / "model").iterdir() if path.suffix not in (".json", ".safetensors")
    ]


def test_labels_by_capability_train_its_adapter(tmp_path: Path, tiny: Path) -> None:
    rows = [{**row, "aspect": "polite"} for row in pairs()]
    data = read_data([write(tmp_path / "p.jsonl", rows)])
    trained(tiny, data, tmp_path / "model")
    opened = read_model(tmp_path / "model", build().embedder)
    assert opened.model.heads == {"writing": ("polite", "preference")}


def test_another_base_is_refused_and_a_moved_one_is_found(tmp_path: Path, tiny: Path, lessons: Data) -> None:
    moved = tmp_path / "moved"
    moved.symlink_to(tiny)
    trained(tiny, lessons, tmp_path / "model", steps=2)
    np.testing.assert_array_equal(
        rewards(tmp_path / "model", lessons, moved), rewards(tmp_path / "model", lessons)
    )
    with pytest.raises(ArtifactError, match="another language model"):
        read_model(tmp_path / "model", build().embedder, REAL)
    with pytest.raises(ArtifactError, match="is gone"):
        read_model(tmp_path / "model", build().embedder, tmp_path / "absent")
    with pytest.raises(ConfigError, match="holds no language model"):
        trained(tmp_path, lessons, tmp_path / "other")
    assert not (tmp_path / "other").exists()
