from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from coe.contracts import GENERAL, Features, Ranked
from coe.errors import ArtifactError, ConfigError
from coe.testing import create, load, pool_view
from coe_routers.artifact import read_facts, save_expert_map
from coe_routers.offline import find_embedder
from coe_routers.placement import (
    Entry,
    Placement,
    add_unmeasured,
    affinities,
    keep_unmeasured,
    place,
    remove_unmeasured,
    unmeasured,
)

POEMS = ("Write a poem on the sea for me", "I need a sonnet, or a haiku on rain")


def placement(expert: str = "new", **affinity: float) -> Placement:
    return Placement(
        expert=expert, source="examples", affinity={"code": 0.0, "maths": 0.0, "verse": 0.0, **affinity}
    )


def ranked(path: Path, category: str) -> list[tuple[str, bool]]:
    """Experts of a category in order, each with whether it has a score."""
    return [(name, score is not None) for name, score in read_facts(path).expert_map[category]]


# --- where it seems to belong ---


def test_examples_place_an_expert_where_such_prompts_are(router: Path) -> None:
    found = place(router, find_embedder, expert="poet", examples=POEMS, description="solves equations")
    assert found.source == "examples"
    assert found.categories[0] == "verse"
    assert found.affinity["verse"] > 0.3 > 0 > found.affinity["maths"]


def test_a_description_will_do(router: Path) -> None:
    found = place(router, find_embedder, expert="coder", description="Python functions and unit tests")
    assert found.source == "description"
    assert found.categories[0] == "code"


@pytest.mark.parametrize("text", ["", "  \n", "\u2603"])
def test_texts_that_say_nothing_are_refused(router: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="`new`"):
        place(router, find_embedder, expert="new", description=text)


def test_affinity_ignores_what_all_prompts_share() -> None:
    rng = np.random.default_rng(0)
    shared = np.full(8, 5.0)
    vectors = (shared + np.repeat(np.eye(8)[:2], 20, axis=0) + 0.01 * rng.standard_normal((40, 8))).astype(
        np.float32
    )
    label = np.repeat([0, 1], 20)
    found = affinities(vectors[:3], vectors, label, 3)
    assert found[0] > 0.99
    assert found[1] < -0.99
    assert found[2] == -1


# --- in the map ---


def test_an_unmeasured_expert_stands_behind_the_measured_and_has_no_score(router: Path) -> None:
    revision = read_facts(router).facts
    add_unmeasured(router, placement(verse=0.9))
    for category in ("code", "maths", "verse", GENERAL):
        order = ranked(router, category)
        assert order[-1] == ("new", False)
        assert all(measured for _, measured in order[:-1])
    assert unmeasured(router)["new"].affinity["verse"] == 0.9
    assert read_facts(router).facts["verdict"] == revision["verdict"]


def test_the_unmeasured_are_ordered_by_resemblance(router: Path) -> None:
    add_unmeasured(router, placement("near", verse=0.9, code=-0.5))
    add_unmeasured(router, placement("far", verse=0.1, code=0.5))
    assert [name for name, _ in ranked(router, "verse")][-2:] == ["near", "far"]
    assert [name for name, _ in ranked(router, "code")][-2:] == ["far", "near"]


def test_only_the_user_puts_it_first(router: Path) -> None:
    add_unmeasured(router, placement(verse=0.9), first_in=["verse"])
    assert ranked(router, "verse")[0] == ("new", False)
    assert ranked(router, "code")[-1] == ("new", False)
    add_unmeasured(router, placement(verse=0.9))
    assert ranked(router, "verse")[-1] == ("new", False)
    assert len(unmeasured(router)) == 1


@pytest.mark.parametrize("kind", ["two-step", "expected"])
def test_routing_takes_measured_experts_first(kind: str, router: Path) -> None:
    add_unmeasured(router, placement(verse=0.9))
    made = create(load("coe.routers", kind), settings={"artifact": router})
    view = pool_view("new", "alpha", "beta")
    for text in (*POEMS, "Help me with a python function", "anything"):
        decision = made.route(Features(text=text), view)
        assert decision.expert != "new"
        assert {each.expert: each.score for each in decision.ranked}["new"] is None


def test_removing_gives_the_old_map_back(router: Path) -> None:
    before = read_facts(router).expert_map
    add_unmeasured(router, placement())
    remove_unmeasured(router, "new")
    assert read_facts(router).expert_map == before
    assert unmeasured(router) == {}
    with pytest.raises(ConfigError, match="no unmeasured expert"):
        remove_unmeasured(router, "new")


def test_a_measured_expert_cannot_be_unmeasured(router: Path) -> None:
    with pytest.raises(ConfigError, match="`alpha` has been measured"):
        add_unmeasured(router, placement("alpha"))


def test_an_unknown_category_is_named(router: Path) -> None:
    with pytest.raises(ConfigError, match="`poetry` is no category"):
        add_unmeasured(router, placement(), first_in=["poetry"])


def test_damaged_entries_are_refused(router: Path) -> None:
    save_expert_map(router, {}, facts={"unmeasured": {"new": {"affinity": 1}}})
    with pytest.raises(ArtifactError, match="unmeasured"):
        unmeasured(router)


def test_a_map_solved_anew_keeps_them() -> None:
    solved = {"verse": (Ranked("alpha", 0.7), Ranked("new", 0.6)), GENERAL: (Ranked("beta", 0.5),)}
    entries = {"poet": Entry(source="examples", affinity={"verse": 0.4}, first_in=(GENERAL,))}
    kept = keep_unmeasured(solved, entries)
    assert [each.expert for each in kept["verse"]] == ["alpha", "new", "poet"]
    assert [each.expert for each in kept[GENERAL]] == ["poet", "beta"]
