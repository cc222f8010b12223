from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.contracts import Classification, Features, PoolView, Reason, Router
from coe.errors import ArtifactError, ConfigError, DataError
from coe.testing import create, load, pool_view
from coe_routers.alternatives import (
    Choices,
    CumulativeRouter,
    candidates,
    choices,
    fit_cascade,
    fit_knn,
    fit_ridge,
    fit_tree,
    neighbour_index,
    save_choices,
)
from coe_routers.alternatives._cascade import calibration
from coe_routers.alternatives._knn import nearest
from coe_routers.features import StaticEmbedder
from coe_routers.outcomes import Outcomes
from coe_routers.scores import score_table

from .conftest import CARDS, EXPERTS, synthetic

SEEN = {
    "code": "a python function for a linked list",
    "maths": "the integral of x and a prime number",
    "verse": "a poem about the sea",
}
BEST = {"code": "alpha", "maths": "beta", "verse": "gamma"}


def view() -> PoolView:
    return pool_view(*(CARDS[name] for name in EXPERTS))


def router(kind: str, path: Path, **settings: object) -> Router:
    return create(load("coe.routers", kind), settings={"artifact": path, **settings})


@pytest.mark.parametrize("kind", ["knn", "ridge", "cumulative", "expertise-tree"])
def test_each_topic_goes_to_its_expert(kind: str, saved: Callable[[str], Path]) -> None:
    made = router(kind, saved(kind))
    for topic, text in SEEN.items():
        assert made.route(Features(text=text), view()).expert == BEST[topic]


def test_without_differences_everything_goes_to_the_best_single_expert(embedder: StaticEmbedder) -> None:
    rng = np.random.default_rng(1)
    plain = synthetic(60)
    chance = np.array([0.6, 0.4, 0.4])
    alike = replace(plain, scores=(rng.random(plain.scores.shape) < chance).astype(np.float32))
    for model in (
        fit_knn(alike, embedder=embedder, seed=0)[0],
        fit_ridge(alike, CARDS, embedder=embedder, seed=0)[0],
        fit_tree(alike, embedder=embedder, seed=0)[0],
    ):
        found = model.predict(alike.features())
        assert (found.utility.argmax(axis=1) == 0).all()


@pytest.mark.parametrize("kind", ["knn", "ridge", "cascade", "expertise-tree", "cumulative"])
def test_a_prompt_that_says_nothing_gets_the_overall_order(kind: str, saved: Callable[[str], Path]) -> None:
    decision = router(kind, saved(kind)).route(Features(text=" "), view())
    assert decision.reason is Reason.UNCERTAIN
    assert decision.uncertainty == 1
    if kind != "cumulative":
        assert decision.expert == "alpha"


@pytest.mark.parametrize("kind", ["knn", "ridge", "cascade", "expertise-tree"])
def test_a_changed_file_is_refused(kind: str, saved: Callable[[str], Path], tmp_path: Path) -> None:
    for file in saved(kind).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    content = bytearray((tmp_path / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(bytes(content))
    with pytest.raises(ArtifactError, match="corrupt"):
        router(kind, tmp_path)


def test_the_folder_of_another_kind_is_refused(saved: Callable[[str], Path], two_step: Path) -> None:
    with pytest.raises(ArtifactError, match="of kind `knn-router`, expected `ridge-router`"):
        router("ridge", saved("knn"))
    with pytest.raises(ArtifactError, match="holds no choices"):
        router("cumulative", two_step)


def test_a_missing_artifact_setting_is_named() -> None:
    with pytest.raises(ConfigError, match="artifact"):
        create(load("coe.routers", "knn"), settings={})


# --- k-NN ---


@given(
    st.lists(st.integers(-5, 5), min_size=1, max_size=40).map(lambda v: np.array(v, np.float32)),
    st.integers(1, 50),
)
def test_nearest_is_a_stable_sort(similarity: np.ndarray, count: int) -> None:
    near, places = nearest(similarity, count)
    expected = sorted(range(len(similarity)), key=lambda place: (-similarity[place], place))[:count]
    assert places.tolist() == expected
    assert near.tolist() == similarity[expected].tolist()


@pytest.mark.heavy
def test_faiss_finds_what_numpy_finds(saved: Callable[[str], Path], outcomes: Outcomes) -> None:
    pytest.importorskip("faiss")
    plain, indexed = (router("knn", saved("knn"), search=search) for search in ("numpy", "faiss"))
    assert [each.expert for each in plain.route_batch(outcomes.features(), view())] == [
        each.expert for each in indexed.route_batch(outcomes.features(), view())
    ]


@pytest.mark.heavy
def test_an_approximate_search_finds_most_of_the_nearest() -> None:
    pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(50, 32))
    vectors = (centres[rng.integers(0, 50, 20_000)] + 0.3 * rng.normal(size=(20_000, 32))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    exact, near = neighbour_index(vectors, "faiss"), neighbour_index(vectors, "ivf")
    right = [
        len(set(exact.search(query[None], 50)[1][0]) & set(near.search(query[None], 50)[1][0])) / 50
        for query in vectors[:100]
    ]
    assert np.mean(right) > 0.8
    again = neighbour_index(vectors, "ivf")
    assert (again.search(vectors[:20], 50)[1] == near.search(vectors[:20], 50)[1]).all()
    assert neighbour_index(vectors, "numpy") is None


# --- ridge ---


def test_the_worth_of_cost_moves_prompts_to_cheaper_experts(
    saved: Callable[[str], Path], outcomes: Outcomes
) -> None:
    shares = [
        np.mean([each.expert == "alpha" for each in made.route_batch(outcomes.features(), view())])
        for made in (router("ridge", saved("ridge"), cost_weight=weight) for weight in (0.0, 0.004, 1.0))
    ]
    assert shares[0] > shares[1] > shares[2] == 0


def test_gaps_in_the_scores_are_no_evidence(embedder: StaticEmbedder) -> None:
    whole = synthetic()
    scores = whole.scores.copy()
    scores[np.random.default_rng(0).random(scores.shape) < 0.3] = np.nan
    model, _ = fit_ridge(replace(whole, scores=scores), CARDS, embedder=embedder, seed=0)
    found = model.predict(whole.features())
    assert (found.utility.argmax(axis=1) == whole.category).mean() > 0.9


def test_an_expert_without_any_score_is_named(embedder: StaticEmbedder) -> None:
    whole = synthetic(20)
    scores = whole.scores.copy()
    scores[:, 1] = np.nan
    with pytest.raises(DataError, match="`beta`"):
        fit_knn(replace(whole, scores=scores), embedder=embedder, seed=0)


# --- cascade ---


def test_the_weak_expert_gets_what_it_does_well(embedder: StaticEmbedder) -> None:
    model, facts = fit_cascade(synthetic(), CARDS, embedder=embedder, seed=0, weak="beta", max_loss=0.0)
    assert model.experts == ("beta", "alpha")
    confidence, _ = model.confidence([Features(text=text) for text in SEEN.values()])
    assert confidence[1] > confidence[0] + 0.2
    weak = model.predict([Features(text=text) for text in SEEN.values()]).utility[:, 0]
    assert weak.tolist()[:2] == [0, 1]
    assert 0.2 < facts["weak_share"] < 0.8


def test_a_hopeless_weak_expert_never_answers(embedder: StaticEmbedder) -> None:
    plain = synthetic(60)
    scores = np.tile(np.float32([1, 0, 0]), (len(plain), 1))
    model, facts = fit_cascade(replace(plain, scores=scores), CARDS, embedder=embedder, seed=0)
    assert facts["weak_share"] == 0
    assert not model.predict(plain.features()).utility[:, 0].any()


def test_a_cascade_needs_a_cheaper_expert(embedder: StaticEmbedder) -> None:
    with pytest.raises(DataError, match="cost less than `beta`"):
        fit_cascade(synthetic(20), CARDS, embedder=embedder, seed=0, strong="beta")
    with pytest.raises(DataError, match="No outcomes of `delta`"):
        fit_cascade(synthetic(20), CARDS, embedder=embedder, seed=0, weak="delta")


@given(st.lists(st.tuples(st.floats(-2, 2), st.floats(0, 1)), min_size=1, max_size=60))
def test_calibration_rises_and_keeps_the_mean(pairs: list[tuple[float, float]]) -> None:
    raw, target = np.array(pairs).T
    x, y = calibration(raw, target)
    assert (np.diff(x) >= 0).all()
    assert (np.diff(y) > 0).all()
    assert target.min() - 1e-9 <= y[0] <= y[-1] <= target.max() + 1e-9


# --- cumulative ---


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=12).map(np.array),
    st.floats(0.01, 1),
)
def test_candidates_are_the_fewest_that_reach_p(probability: np.ndarray, p: float) -> None:
    everyone = list(range(len(probability)))
    taken = candidates(probability, everyone, p)
    total = probability.sum()
    assert taken
    assert probability[taken].sum() >= p * total - 1e-9
    assert probability[taken[:-1]].sum() < p * total or len(taken) == 1
    left = [e for e in everyone if e not in taken]
    assert not left or probability[taken].min() >= probability[left].max()


class _Says:
    """A classifier that believes what the prompt says: the probability of its first category."""

    categories = ("first", "second")

    def classify(self, features: Sequence[Features]) -> Classification:
        first = np.array([float(each.text) for each in features], np.float32)
        probabilities = np.stack([first, 1 - first], axis=1)
        return Classification(probabilities, 1 - np.abs(2 * first - 1))


def test_more_doubt_means_more_candidates() -> None:
    known = Choices(
        experts=EXPERTS,
        best=np.array([[0.97, 0.03, 0.0], [0.0, 0.6, 0.4]]),
        value=np.array([[0.9, 0.5, 0.4], [0.3, 0.61, 0.6]]),
        cost=np.array([3.0, 2.0, 1.0]),
    )
    made = CumulativeRouter(_Says(), known, p=0.95, pick="likeliest", revision="r")

    def scored(text: str) -> list[tuple[str, float]]:
        ranked = made.route(Features(text=text), view()).ranked
        assert len(ranked) == 3
        return [(each.expert, each.score) for each in ranked if each.score is not None]

    assert scored("1.0") == [("alpha", 0.9)]
    assert scored("0.0") == [("beta", 0.61), ("gamma", 0.6)]
    assert [name for name, _ in scored("0.5")] == ["alpha", "beta", "gamma"]
    cheap = CumulativeRouter(_Says(), known, p=0.95, pick="cheapest", revision="r")
    assert [cheap.route(Features(text=text), view()).expert for text in ("1.0", "0.0")] == ["alpha", "gamma"]


def test_the_cheapest_candidate_answers_when_asked(saved: Callable[[str], Path]) -> None:
    doubtful = Features(text=" ")
    made = router("cumulative", saved("cumulative"), pick="cheapest")
    assert made.route(doubtful, view()).expert in {"beta", "gamma"}


def test_few_measurements_leave_the_choice_open(outcomes: Outcomes) -> None:
    def sure(rows: np.ndarray) -> float:
        few = outcomes.rows(rows)
        table = score_table(few.scores, few.category, categories=few.categories, experts=few.experts)
        return float(choices(table, np.ones(3), seed=0).best.max(axis=1).min())

    everything = np.arange(len(outcomes))
    assert sure(everything[::30]) < sure(everything) == pytest.approx(1, abs=0.01)


def test_choices_must_fit_the_router(two_step: Path, outcomes: Outcomes) -> None:
    table = score_table(outcomes.scores, outcomes.category, categories=outcomes.categories, experts=EXPERTS)
    found = choices(table, np.ones(3), seed=0)
    with pytest.raises(ArtifactError, match="3 categories, the choices 2"):
        save_choices(two_step, replace(found, best=found.best[:2]))


# --- tree ---


def test_the_tree_names_its_splits(embedder: StaticEmbedder) -> None:
    tree, facts = fit_tree(synthetic(), embedder=embedder, seed=0)
    assert len(tree.value) == len(tree.children) + 1 >= 3
    assert sum(facts["leaf_prompts"]) == 360
    for split in facts["splits"]:
        assert split["p_value"] < 0.05
        assert len(set(split["experts"])) == 2
    found = tree.predict([Features(text=SEEN["code"])])
    assert found.category[0].startswith("leaf-")


@pytest.mark.slow
def test_random_experts_rarely_split(embedder: StaticEmbedder) -> None:
    plain = synthetic(60)
    split = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        alike = replace(plain, scores=rng.integers(0, 2, plain.scores.shape).astype(np.float32))
        split += bool(fit_tree(alike, embedder=embedder, seed=seed)[0].children)
    # At alpha 0.05 two of forty are expected; nine or more have a chance below 0.001.
    assert split <= 8
