"""Synthetic outcomes in which each of three experts is clearly the best for one topic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from coe.contracts import Card
from coe_routers.alternatives import choices, fit_cascade, fit_knn, fit_ridge, fit_tree, save_choices
from coe_routers.artifact import EmbedderRef, RouterArtifact, save_router
from coe_routers.features import StaticEmbedder
from coe_routers.outcomes import Outcomes
from coe_routers.scores import score_table
from coe_routers.training import fit_classifier

STATIC = EmbedderRef(kind="static")
EXPERTS = ("alpha", "beta", "gamma")
TOPICS = {
    "code": ("python function", "linked list", "compile error", "unit test", "recursive algorithm"),
    "maths": (
        "integral of x",
        "prime number",
        "quadratic equation",
        "matrix determinant",
        "probability of a die",
    ),
    "verse": (
        "poem about the sea",
        "sonnet of autumn",
        "rhyme for a child",
        "haiku on rain",
        "ballad of a knight",
    ),
}
CARDS = {
    name: Card(name=name, params_b=size, active_params_b=size)
    for name, size in zip(EXPERTS, (70.0, 8.0, 8.0), strict=True)
}


def synthetic(per_topic: int = 120, *, strength: float = 0.8, seed: int = 0) -> Outcomes:
    """Prompts on three topics; the topic's expert scores 1 with probability `strength`, others 1 - strength.

    alpha is a little better than the others where it is not best, so it is the best single expert.
    """
    rng = np.random.default_rng(seed)
    names = tuple(sorted(TOPICS))
    category = np.repeat(np.arange(3), per_topic)
    prompts = tuple(
        f"Please help me with this {rng.choice(TOPICS[names[topic]])}, case {rng.integers(1000)}: "
        f"{rng.choice(TOPICS[names[topic]])}"
        for topic in category.tolist()
    )
    chance = np.full((3, 3), 1 - strength)
    np.fill_diagonal(chance, strength)
    chance[:, 0] = np.maximum(chance[:, 0], 1 - strength + 0.1)
    return Outcomes(
        prompt_ids=tuple(f"p{number}" for number in range(len(prompts))),
        prompts=prompts,
        experts=EXPERTS,
        categories=names,
        category=category.astype(np.int32),
        scores=(rng.random((len(prompts), 3)) < chance[category]).astype(np.float32),
    )


@pytest.fixture(scope="session")
def embedder() -> StaticEmbedder:
    return StaticEmbedder.load()


@pytest.fixture(scope="session")
def outcomes() -> Outcomes:
    return synthetic()


@pytest.fixture(scope="session")
def two_step(tmp_path_factory: pytest.TempPathFactory, outcomes: Outcomes, embedder: StaticEmbedder) -> Path:
    """A trained router without a map."""
    labels = [outcomes.categories[index] for index in outcomes.category]
    fitted = fit_classifier(outcomes.features(), labels, embedder=embedder)
    path = tmp_path_factory.mktemp("trained") / "router"
    artifact = RouterArtifact(classifier=fitted.classifier, abstention=fitted.abstention, embedder=STATIC)
    save_router(path, artifact)
    return path


@pytest.fixture(scope="session")
def saved(
    tmp_path_factory: pytest.TempPathFactory, outcomes: Outcomes, embedder: StaticEmbedder, two_step: Path
) -> Callable[[str], Path]:
    """Folder of a fitted router by its kind; each is fitted once."""
    folder = tmp_path_factory.mktemp("alternatives")

    def fit(kind: str) -> Path:
        path = folder / kind
        if path.exists():
            return path
        if kind == "cumulative":
            table = score_table(
                outcomes.scores, outcomes.category, categories=outcomes.categories, experts=outcomes.experts
            )
            path.mkdir()
            for file in two_step.iterdir():
                (path / file.name).write_bytes(file.read_bytes())
            save_choices(path, choices(table, np.array([70.0, 8.0, 8.0]), seed=0))
            return path
        fits = {
            "knn": lambda: fit_knn(outcomes, embedder=embedder, seed=0),
            "ridge": lambda: fit_ridge(outcomes, CARDS, embedder=embedder, seed=0),
            "cascade": lambda: fit_cascade(outcomes, CARDS, embedder=embedder, seed=0),
            "expertise-tree": lambda: fit_tree(outcomes, embedder=embedder, seed=0),
        }
        model, facts = fits[kind]()
        model.save(path, STATIC, facts)
        return path

    return fit
