from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from coe_routers.features import StaticEmbedder
from coe_routers.offline import TrainOptions, train
from coe_routers.outcomes import Outcomes

TOPICS = {
    "code": ("a python function", "a linked list", "a compile error", "a unit test", "a recursive algorithm"),
    "maths": ("an integral", "a prime number", "a quadratic equation", "a matrix determinant", "probability"),
    "verse": ("a poem about the sea", "a sonnet", "a rhyme for a child", "a haiku on rain", "a ballad"),
}


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A router's folder; alpha is best at code, beta at maths, both are fair at verse."""
    rng = np.random.default_rng(0)
    names = tuple(sorted(TOPICS))
    category = np.tile(np.arange(3), 60)
    prompts = tuple(
        f"Help me with {rng.choice(TOPICS[names[c]])} and {rng.choice(TOPICS[names[c]])}, case {number}"
        for number, c in enumerate(category.tolist())
    )
    chance = np.array([[0.9, 0.2], [0.2, 0.9], [0.5, 0.5]])
    outcomes = Outcomes(
        prompt_ids=tuple(f"p{number}" for number in range(len(prompts))),
        prompts=prompts,
        experts=("alpha", "beta"),
        categories=names,
        category=category.astype(np.int32),
        scores=(rng.random((len(prompts), 2)) < chance[category]).astype(np.float32),
    )
    path = tmp_path_factory.mktemp("trained") / "router"
    train(outcomes, {}, path, TrainOptions(), embedder=StaticEmbedder.load())
    return path


@pytest.fixture
def router(trained: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    path = tmp_path / "router"
    path.mkdir()
    for file in trained.iterdir():
        (path / file.name).write_bytes(file.read_bytes())
    return path
