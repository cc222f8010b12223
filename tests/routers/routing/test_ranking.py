from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from coe.contracts import Card, ExpertState, PoolView, Ranked, Reason
from coe.testing import pool_view
from coe_routers.routing import rank


def names(view: PoolView, category: str, mapped: Mapping[str, Sequence[str]]) -> tuple[list[str], Reason]:
    expert_map = {key: tuple(map(Ranked, experts)) for key, experts in mapped.items()}
    ranking = rank(category, view, expert_map, 0.0)
    return [each.expert for each in ranking.ranked], ranking.reason


def test_the_maps_experts_come_first_in_their_order_then_general_then_the_pool() -> None:
    view = pool_view("a", "b", "c", "d")
    found = names(view, "math", {"math": ["c", "gone", "b"], "general": ["d"]})
    assert found == (["c", "b", "d", "a"], Reason.CATEGORY)


def test_without_an_eligible_expert_of_the_category_general_decides() -> None:
    view = pool_view("a", "b", "c")
    found = names(view, "math", {"math": ["gone"], "general": ["c"]})
    assert found == (["c", "a", "b"], Reason.UNMAPPED)


def test_without_a_map_the_domains_of_the_cards_decide() -> None:
    view = pool_view(
        "any", Card(name="all", domains=("general",)), Card(name="sums", domains=("math", "physics"))
    )
    assert names(view, "math", {}) == (["sums", "all", "any"], Reason.CATEGORY)
    assert names(view, "law", {}) == (["all", "any", "sums"], Reason.UNMAPPED)
    assert names(view, "general", {}) == (["all", "any", "sums"], Reason.CATEGORY)


def test_the_map_overrides_the_domains() -> None:
    view = pool_view(Card(name="sums", domains=("math",)), "b")
    assert names(view, "math", {"math": ["b"]})[0] == ["b", "sums"]


def test_one_expert_is_the_only_one() -> None:
    assert names(pool_view("a"), "math", {"math": ["a"]}) == (["a"], Reason.ONLY_ELIGIBLE)


def test_an_unhealthy_expert_comes_last_in_its_group() -> None:
    view = pool_view(ExpertState(Card(name="a"), healthy=False), "b", "c")
    assert names(view, "math", {"math": ["a", "b"]})[0] == ["b", "a", "c"]


ASLEEP = ExpertState(Card(name="best"), awake=False)
SCORES = {"math": (Ranked("best", 0.80), Ranked("near", 0.77), Ranked("far", 0.60))}


def test_an_awake_expert_within_the_tolerance_is_preferred() -> None:
    ranking = rank("math", pool_view(ASLEEP, "near", "far"), SCORES, 0.05)
    assert [each.expert for each in ranking.ranked] == ["near", "best", "far"]
    assert ranking.reason is Reason.AWAKE
    assert ranking.ranked[0].score == 0.77


def test_a_sleeping_expert_is_kept_when_the_others_are_too_much_worse() -> None:
    ranking = rank("math", pool_view(ASLEEP, "near", "far"), SCORES, 0.02)
    assert (ranking.ranked[0].expert, ranking.reason) == ("best", Reason.CATEGORY)


def test_an_expert_without_a_score_is_never_swapped() -> None:
    unscored = {"math": (Ranked("best"), Ranked("near"))}
    ranking = rank("math", pool_view(ASLEEP, "near"), unscored, 1.0)
    assert (ranking.ranked[0].expert, ranking.reason) == ("best", Reason.CATEGORY)


NAMES = st.sampled_from(["a", "b", "c", "d", "e"])
STATES = st.lists(
    st.builds(
        lambda name, domains, healthy, awake: ExpertState(
            Card(name=name, domains=tuple(domains)), healthy, awake
        ),
        NAMES,
        st.lists(st.sampled_from(["math", "law", "general"]), max_size=2),
        st.booleans(),
        st.booleans(),
    ),
    min_size=1,
    unique_by=lambda state: state.card.name,
)
MAPS = st.dictionaries(
    st.sampled_from(["math", "general"]),
    st.lists(st.builds(Ranked, NAMES, st.none() | st.floats(0, 1)), max_size=4).map(tuple),
)


@given(STATES, MAPS, st.sampled_from(["math", "law", "general"]), st.floats(0, 1))
def test_every_eligible_expert_is_ranked_once(
    states: list[ExpertState], expert_map: dict[str, tuple[Ranked, ...]], category: str, tolerance: float
) -> None:
    view = pool_view(*states)
    ranked = [each.expert for each in rank(category, view, expert_map, tolerance).ranked]
    assert sorted(ranked) == sorted(view.experts)


def test_a_replica_with_less_load_goes_first() -> None:
    big, small = Card(name="first", params_b=7), Card(name="other", params_b=1)
    twin = Card(name="second", params_b=7, description="on another machine")
    view = pool_view(ExpertState(big, load=1), ExpertState(small), ExpertState(twin))
    ranking = rank("math", view, {"math": (Ranked("first", 0.8), Ranked("other", 0.8))}, 0.0)
    assert [each.expert for each in ranking.ranked] == ["second", "first", "other"]
    assert (ranking.reason, ranking.ranked[0].score) == (Reason.LESS_LOADED, 0.8)


def test_without_load_or_without_an_idler_replica_the_best_stays() -> None:
    busy, twin = ExpertState(Card(name="first"), load=1), Card(name="second")
    for view in (
        pool_view("first", "second"),
        pool_view(busy, ExpertState(twin, load=1)),
        pool_view(busy, ExpertState(twin, healthy=False)),
        pool_view(busy, ExpertState(twin, awake=False)),
        pool_view(busy, Card(name="second", params_b=1)),
    ):
        ranking = rank("math", view, {"math": (Ranked("first"),)}, 0.0)
        assert ranking.ranked[0] == Ranked("first")
        assert ranking.reason is Reason.CATEGORY
