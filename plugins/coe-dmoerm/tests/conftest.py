"""A small model, trained once."""

from __future__ import annotations

from pathlib import Path

import pytest
from reward_data import ratings, write

from coe.contracts import Embedder
from coe.testing import create, load
from coe_dmoerm._items import Data, read_data
from coe_dmoerm._model import RewardModel, TrainSettings, train
from coe_dmoerm._saved import write_model


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    return create(load("coe.embedders", "static"))


@pytest.fixture(scope="session")
def lessons(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return read_data([write(tmp_path_factory.mktemp("data") / "ratings.jsonl", ratings())])


@pytest.fixture(scope="session")
def model(lessons: Data, embedder: Embedder) -> RewardModel:
    return train(lessons, embedder, TrainSettings())


@pytest.fixture(scope="session")
def model_dir(model: RewardModel, embedder: Embedder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "rewards"
    write_model(path, model, ("static", embedder.fingerprint), {})
    return path
