from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from coe.contracts import Card, Features
from coe.errors import ArtifactError, DataError
from coe.testing import build, create, load, pool_view
from coe.testing.conformance import RouterConformance
from coe_routers.evaluation import evaluate
from coe_routers.expected import load_expected
from coe_routers.mapping import Budget, InfeasibleBudget
from coe_routers.offline import (
    TrainOptions,
    discover,
    find_embedder,
    optimize,
    read_state,
    route_file,
    train,
)
from coe_routers.outcomes import read_cards, read_outcomes

EXPERTS = ("large", "coder", "small")


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    """A router's folder to change."""
    return Path(shutil.copytree(trained, tmp_path / "router"))


class TestExpected(RouterConformance):
    experts = EXPERTS

    @pytest.fixture
    def make(self, trained: Path):  # type: ignore[no-untyped-def]
        return lambda: create(load("coe.routers", "expected"), settings={"artifact": trained})

    @pytest.fixture
    def make_other(self, copied: Path):  # type: ignore[no-untyped-def]
        optimize(copied, Budget(max_experts=1), seed=0, resamples=1)
        return lambda: create(load("coe.routers", "expected"), settings={"artifact": copied})


def test_prompts_go_to_the_expert_of_their_topic(trained: Path) -> None:
    router = load_expected(trained, find_embedder)
    decision = router.route(Features(text="a python function with a loop over an array"), pool_view(*EXPERTS))
    assert (decision.category, decision.expert) == ("code", "coder")
    assert decision.ranked[0].score == pytest.approx(0.97, abs=0.06)
    verse = router.route(Features(text="a sonnet to the moon, in verse, with rhyme"), pool_view(*EXPERTS))
    assert (verse.category, verse.expert) == ("poems", "large")


def test_a_two_step_router_reads_the_same_folder(trained: Path) -> None:
    experts = build(experts={name: create(load("coe.experts", "echo")) for name in EXPERTS})
    router = create(load("coe.routers", "two-step"), settings={"artifact": trained}, build=experts)
    decision = router.route(Features(text="a python function with a loop"), pool_view(*EXPERTS))
    assert decision.expert == "coder"


def test_a_router_beats_the_best_single_expert(trained: Path, folder: Path) -> None:
    report = evaluate(trained, read_outcomes([folder / "test.jsonl"]), find_embedder, seed=0)
    rows = {row.policy: row for row in report.rows}
    assert list(rows) == [
        "router",
        "best single",
        "k-NN per prompt",
        "random",
        "category oracle",
        "prompt oracle",
    ]
    assert report.single == "large"
    assert rows["router"].diff_ci95[0] > 0
    assert rows["random"].score < rows["router"].score <= rows["prompt oracle"].score
    assert rows["router"].cost < rows["best single"].cost
    assert report.accuracy > 0.9
    assert report.confusion.sum() == 300
    assert sum(report.experts.values()) == pytest.approx(1.0)


def test_outcomes_of_strangers_are_refused(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "o.jsonl"
    path.write_text(json.dumps({"prompt_id": 1, "prompt": "x", "scores": {"nobody": 1}}))
    with pytest.raises(DataError, match="none of the router's experts"):
        evaluate(trained, read_outcomes([path]), find_embedder, seed=0)


def test_what_is_remembered_is_what_was_recorded(trained: Path, folder: Path) -> None:
    state, outcomes = read_state(trained), read_outcomes([folder / "train.jsonl"])
    np.testing.assert_array_equal(state.evidence.scores, outcomes.scores)
    assert state.evidence.experts == outcomes.experts
    assert list(state.prompt_ids) == list(outcomes.prompt_ids)
    assert dict(state.cards) == dict(read_cards(folder / "models.json"))
    assert state.vectors.shape == (420, 256)
    names = [state.evidence.categories[label] for label in state.evidence.label.tolist()]
    assert names == [outcomes.categories[label] for label in outcomes.category.tolist()]


def test_a_budget_changes_the_map_and_not_the_classifier(copied: Path, folder: Path) -> None:
    model = (copied / "model.safetensors").read_bytes()
    found = optimize(copied, Budget(active_params_b=25), seed=0, resamples=5)
    assert found.spends["active_params_b"] <= 25
    assert found.axis == "usd_per_1k"
    assert len(found.stability) == len(found.choice.map.categories)
    assert (copied / "model.safetensors").read_bytes() == model
    report = evaluate(copied, read_outcomes([folder / "test.jsonl"]), find_embedder, seed=0)
    assert report.single == "large"
    assert "best single in budget" in [row.policy for row in report.rows]


def test_an_infeasible_budget_leaves_the_folder_as_it_is(copied: Path) -> None:
    before = (copied / "manifest.json").read_bytes()
    with pytest.raises(InfeasibleBudget, match="Raise active_params_b to 3"):
        optimize(copied, Budget(active_params_b=1), seed=0)
    assert (copied / "manifest.json").read_bytes() == before


def test_training_is_reproducible(trained: Path, folder: Path, tmp_path: Path) -> None:
    again = train(
        read_outcomes([folder / "train.jsonl"]),
        read_cards(folder / "models.json"),
        tmp_path / "again",
        TrainOptions(),
        embedder=find_embedder("static", {}),
    )
    assert (tmp_path / "again" / "manifest.json").read_bytes() == (trained / "manifest.json").read_bytes()
    assert again.accuracy > 0.9


def test_categories_are_discovered_where_none_are_named(folder: Path, tmp_path: Path) -> None:
    outcomes = read_outcomes([folder / "unlabelled.jsonl"])
    embedder = find_embedder("static", {})
    found = train(outcomes, {}, tmp_path / "router", TrainOptions(), embedder=embedder)
    assert found.discovered
    words = "-".join(found.categories)
    assert sum(any(word in words for word in topic) for topic in (("verse", "rhyme", "moon", "sonnet"),)) == 1
    router = load_expected(tmp_path / "router", find_embedder)
    decision = router.route(Features(text="Please python function class bug array 7"), pool_view(*EXPERTS))
    assert decision.expert == "coder"


def test_discovery_is_seeded() -> None:
    rng = np.random.default_rng(0)
    vectors = np.repeat(np.eye(3, 8, dtype=np.float32), 40, axis=0) + rng.normal(0, 0.02, (120, 8)).astype(
        np.float32
    )
    texts = ["red apple"] * 40 + ["green pear"] * 40 + ["blue plum"] * 40
    found = discover(vectors, texts, seed=1)
    assert found == discover(vectors, texts, seed=1)
    assert len(set(found)) == 3
    assert "apple" in found[0]


def test_tiny_categories_teach_general(folder: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    for row in rows[:4]:
        row["category"] = "rare"
    path = tmp_path / "o.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = train(read_outcomes([path]), {}, tmp_path / "router", TrainOptions(embedder=None), embedder=None)
    assert found.merged == ("rare",)
    assert "rare" not in found.categories


def test_nothing_is_written_when_there_is_too_little_to_learn(folder: Path, tmp_path: Path) -> None:
    outcomes = read_outcomes([folder / "train.jsonl"]).rows(np.arange(6))
    with pytest.raises(DataError, match="fewer than two categories"):
        train(outcomes, {}, tmp_path / "router", TrainOptions(embedder=None), embedder=None)
    assert not (tmp_path / "router").exists()


def test_a_folder_without_outcomes_is_refused(copied: Path) -> None:
    (copied / "evidence.safetensors").unlink()
    with pytest.raises(ArtifactError):
        optimize(copied, Budget(), seed=0)


def test_a_file_is_routed_and_resumed(trained: Path, folder: Path, tmp_path: Path) -> None:
    router = load_expected(trained, find_embedder)
    cards = [Card(name=name) for name in EXPERTS]
    source, whole, cut = folder / "test.jsonl", tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    seen: list[int] = []
    assert route_file(router, cards, source, whole, say=seen.append) == (300, 0)
    assert seen == [256, 300]
    lines = whole.read_bytes().splitlines(keepends=True)
    # Stopped in the middle of line 101.
    cut.write_bytes(b"".join(lines[:100]) + lines[100][:17])
    assert route_file(router, cards, source, cut, say=seen.append) == (200, 100)
    assert cut.read_bytes() == whole.read_bytes()
    first = json.loads(lines[0])
    assert list(first)[:5] == ["prompt_id", "category", "uncertainty", "expert", "reason"]


def test_decisions_of_another_router_are_not_continued(
    trained: Path, copied: Path, folder: Path, tmp_path: Path
) -> None:
    cards = [Card(name=name) for name in EXPERTS]
    target = tmp_path / "d.jsonl"
    route_file(
        load_expected(trained, find_embedder), cards, folder / "test.jsonl", target, say=lambda _: None
    )
    optimize(copied, Budget(max_experts=1), seed=0, resamples=2)
    other = load_expected(copied, find_embedder)
    with pytest.raises(DataError, match=r"d\.jsonl:1: decided by another router"):
        route_file(other, cards, folder / "test.jsonl", target, say=lambda _: None)
    target.write_text("{}\n")
    with pytest.raises(DataError, match=r"d\.jsonl:1: not a decision"):
        route_file(other, cards, folder / "test.jsonl", target, say=lambda _: None)
