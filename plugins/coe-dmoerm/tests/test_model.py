"""What a trained model knows, and that it is the same after a reload."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reward_data import pairs, ratings, write

from coe.contracts import Embedder
from coe.errors import ArtifactError
from coe.testing import build
from coe_dmoerm._bradley_terry import fit_linear
from coe_dmoerm._evaluate import evaluate, pair_outcomes
from coe_dmoerm._items import Data, Item, Pair, read_data
from coe_dmoerm._model import RewardModel, TrainSettings, train
from coe_dmoerm._reader import read_raw
from coe_dmoerm._saved import read_model


def rewards_of(model: RewardModel, data: Data, embedder: Embedder) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([each.reward for each in model.score(data.items, embedder)])


@pytest.fixture(scope="module")
def unseen(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return read_data([write(tmp_path_factory.mktemp("unseen") / "r.jsonl", ratings(seed=1))])


def test_unseen_answers_are_ordered_by_task(model: RewardModel, unseen: Data, embedder: Embedder) -> None:
    found = evaluate(unseen, rewards_of(model, unseen, embedder))
    assert found["tasks"]["explain"]["pair_accuracy"] > 0.8
    assert found["tasks"]["greet"]["pair_accuracy"] > 0.8
    low, high = found["pair_accuracy_ci95"]
    assert low < found["pair_accuracy"] < high


def test_capabilities_are_told_apart(model: RewardModel, embedder: Embedder) -> None:
    def scored(response: str) -> Mapping[str, float]:
        item = Item("i", "explain", "Explain how the river works.", "", response, {})
        return model.score([item], embedder)[0].aspects

    polite, rude = scored("river garden bridge market."), scored("river garden bridge market or what?")
    short, long = scored("river."), scored("river garden bridge market window engine letter " * 4)
    assert polite["polite"] > rude["polite"]
    assert long["clear"] > short["clear"]
    assert set(polite) == {"clear", "polite", "preference"}


def test_an_answer_without_a_task_is_routed(model: RewardModel, unseen: Data, embedder: Embedder) -> None:
    bare = [Item(each.item_id, None, each.prompt, "", each.response, {}) for each in unseen.items]
    found = model.score(bare, embedder)
    assert np.mean([a.task == b.task for a, b in zip(found, unseen.items, strict=True)]) > 0.95
    assert all(0 < each.confidence <= 1 for each in found)


def test_a_task_that_nobody_trained_is_routed(model: RewardModel, embedder: Embedder) -> None:
    item = Item("i", "poetry", "Explain how the river works.", "", "river.", {})
    assert model.score([item], embedder)[0].task in model.scorers


def test_one_by_one_or_together_is_the_same(model: RewardModel, unseen: Data, embedder: Embedder) -> None:
    some = unseen.items[:9]
    together = [each.reward for each in model.score(some, embedder)]
    alone = [model.score([each], embedder)[0].reward for each in some]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert model.score([], embedder) == []


def test_pairs_alone_train_a_model(tmp_path: Path, embedder: Embedder) -> None:
    data = read_data([write(tmp_path / "p.jsonl", pairs())])
    made = train(data, embedder, TrainSettings(aggregator="linear"))
    held = read_data([write(tmp_path / "q.jsonl", pairs(seed=5))])
    assert pair_outcomes(held, rewards_of(made, held, embedder)).mean() > 0.9
    assert list(made.scorers) == ["writing"]


def test_a_single_pair_is_enough_not_to_fail(tmp_path: Path, embedder: Embedder) -> None:
    data = read_data([write(tmp_path / "p.jsonl", pairs(1))])
    made = train(data, embedder, TrainSettings())
    assert np.isfinite(rewards_of(made, data, embedder)).all()


def test_training_twice_gives_the_same(tmp_path: Path, embedder: Embedder) -> None:
    data = read_data([write(tmp_path / "p.jsonl", pairs(12))])
    raw = read_raw(data.items, embedder)
    one, other = (train(data, embedder, TrainSettings(seed=3), raw=raw) for _ in range(2))
    np.testing.assert_array_equal(rewards_of(one, data, embedder), rewards_of(other, data, embedder))


def test_a_reloaded_model_scores_the_same(
    model: RewardModel, model_dir: Path, unseen: Data, embedder: Embedder
) -> None:
    opened = read_model(model_dir, build().embedder)
    found = [each.reward for each in opened.model.score(unseen.items)]
    np.testing.assert_array_equal(found, rewards_of(model, unseen, embedder))


def test_a_changed_or_foreign_folder_is_refused(model_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="is no reward model"):
        read_model(tmp_path, build().embedder)
    copy = tmp_path / "copy"
    copy.mkdir()
    manifest = json.loads((model_dir / "manifest.json").read_text())
    tensors = (model_dir / "model.safetensors").read_bytes()
    (copy / "manifest.json").write_text(json.dumps(manifest))
    (copy / "model.safetensors").write_bytes(tensors[:-1] + b"\x7f")
    with pytest.raises(ArtifactError, match="was changed"):
        read_model(copy, build().embedder)
    (copy / "model.safetensors").write_bytes(tensors)
    (copy / "manifest.json").write_text(json.dumps({**manifest, "schema": 99}))
    with pytest.raises(ArtifactError, match="of schema 99"):
        read_model(copy, build().embedder)
    changed = {**manifest, "about": {**manifest["about"], "fingerprint": "other"}}
    (copy / "manifest.json").write_text(json.dumps(changed))
    with pytest.raises(ArtifactError, match="other vectors of the embedder `static`"):
        read_model(copy, build().embedder)


@given(st.lists(st.integers(-40, 40), min_size=4, max_size=12), st.integers(-1000, 1000))
@settings(max_examples=20, deadline=None)
def test_adding_a_constant_changes_no_ranking(eighths: list[int], constant: int) -> None:
    items = tuple(Item(str(row), "t", "p", "", "x " * row, {}) for row in range(len(eighths)))
    data = Data(items, tuple(Pair(row, row + 1) for row in range(len(eighths) - 1)))
    rewards = np.array(eighths) / 8
    assert evaluate(data, rewards) == evaluate(data, rewards + constant / 8)


def test_bradley_terry_finds_the_log_odds() -> None:
    rows = np.array([[1.0]] * 75 + [[-1.0]] * 25)
    assert fit_linear(rows, 0.0)[0] == pytest.approx(np.log(3), abs=1e-3)


def test_a_length_bias_is_reported() -> None:
    items = tuple(Item(str(row), "t", f"p{row // 2}", "", "x " * (row % 2 + 1), {}) for row in range(8))
    better = [Pair(0, 1), Pair(2, 3), Pair(4, 5), Pair(7, 6)]
    found = evaluate(Data(items, tuple(better)), np.array([len(each.response) for each in items], float))
    assert found["pair_accuracy"] == 0.25
    assert found["length"] == {
        "longer_preferred_by_people": 0.25,
        "longer_preferred_by_reward": 1.0,
        "accuracy_when_longer_is_better": 1.0,
        "accuracy_when_shorter_is_better": 0.0,
    }
