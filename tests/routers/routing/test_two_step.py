from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coe.contracts import Card, Features, Ranked, Reason, Router
from coe.errors import ArtifactError, ConfigError
from coe.testing import build, create, load, pool_view
from coe.testing.conformance import RouterConformance
from coe_routers.artifact import EmbedderRef, RouterArtifact, save_router
from coe_routers.routing import TwoStepRouter
from coe_routers.training import Fitted

VIEW = pool_view(
    Card(name="coder", domains=("coding",)),
    Card(name="poet", domains=("writing", "language")),
    Card(name="anyone", domains=("general",)),
)
CODE = "Write a python function that sorts a list of numbers"
POEM = "Write a poem about the moon"
MIXED = [CODE, POEM, "hello", "", "Was ist das?", "What is 2+2?", "def f(x): return x" * 900]


def router(**given: object) -> TwoStepRouter:
    experts = build(
        experts={name: create(load("coe.experts", "echo")) for name in ("coder", "poet", "anyone")}
    )
    return create(load("coe.routers", "two-step"), settings=given, build=experts)


class TestTwoStep(RouterConformance):
    experts = tuple(VIEW.experts.values())

    @pytest.fixture
    def make(self) -> Callable[[], Router]:
        return router

    @pytest.fixture
    def make_other(self) -> Callable[[], Router]:
        return lambda: router(map={"coding": "poet"})


def test_the_category_picks_the_expert() -> None:
    decision = router().route(Features(text=CODE), VIEW)
    assert (decision.category, decision.expert, decision.reason) == ("coding", "coder", Reason.CATEGORY)
    assert decision.probabilities[0][0] == "coding"
    assert [each.expert for each in decision.ranked] == ["coder", "anyone", "poet"]


def test_the_configured_map_wins_over_the_domains() -> None:
    decision = router(map={"coding": "poet", "writing": ["anyone", "poet"]}).route(Features(text=CODE), VIEW)
    assert decision.expert == "poet"


def test_an_uncertain_prompt_is_general_and_the_limit_can_be_set() -> None:
    decision = router().route(Features(text=""), VIEW)
    assert (decision.category, decision.expert, decision.reason) == ("general", "anyone", Reason.UNCERTAIN)
    assert decision.uncertainty == 1
    assert router(uncertainty_limit=1).route(Features(text=""), VIEW).category != "general"
    assert router(uncertainty_limit=0).route(Features(text=CODE), VIEW).category == "general"


def test_a_session_keeps_its_expert_while_it_is_eligible() -> None:
    two_step = router()
    decision = two_step.route(Features(text=CODE, sticky_expert="poet"), VIEW)
    assert (decision.expert, decision.reason, decision.category) == ("poet", Reason.SESSION, "coding")
    assert [each.expert for each in decision.ranked] == ["poet", "coder", "anyone"]
    assert two_step.route(Features(text=CODE, sticky_expert="gone"), VIEW).reason is Reason.CATEGORY


def test_pools_with_the_same_digest_share_a_ranking_and_others_do_not() -> None:
    two_step = router()
    assert two_step.route(Features(text=CODE), VIEW).expert == "coder"
    assert two_step.route(Features(text=CODE), pool_view("anyone", "poet")).expert == "anyone"
    assert two_step.route(Features(text=CODE), VIEW).expert == "coder"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(MIXED) | st.text(max_size=60), max_size=6))
def test_a_batch_decides_as_one_by_one(texts: list[str]) -> None:
    two_step = SHARED
    features = [Features(text=text) for text in texts]
    assert two_step.route_batch(features, VIEW) == [two_step.route(each, VIEW) for each in features]


SHARED = router()


def test_a_misspelt_category_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"`routers\.test\.map`.*`codding`.*Did you mean `coding`\?"):
        router(map={"codding": "coder"})
    with pytest.raises(ConfigError, match=r"Its categories: .*general"):
        router(map={"xyz": "coder"})


def test_an_unknown_expert_of_the_map_is_named() -> None:
    with pytest.raises(ConfigError, match="`codr`"):
        router(map={"coding": ["coder", "codr"]})


@pytest.mark.parametrize("wrong", [{"map": {"coding": []}}, {"awake_tolerance": 2}, {"artefact": "x"}])
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        router(**wrong)


def test_an_artifact_brings_its_own_map_and_the_configuration_overrides_it(
    tmp_path: Path, fitted: Fitted
) -> None:
    saved = RouterArtifact(
        classifier=fitted.classifier,
        abstention=fitted.abstention,
        embedder=EmbedderRef(kind="static"),
        expert_map={"cooking": (Ranked("poet", 0.9), Ranked("coder", 0.5)), "sport": (Ranked("coder", 0.7),)},
    )
    save_router(tmp_path / "mine", saved)
    recipe, race = (
        Features(text="bake a cake with butter and flour"),
        Features(text="team wins the league match"),
    )
    experts = build(experts={"anyone": create(load("coe.experts", "echo"))}, base_dir=tmp_path)
    plugin = load("coe.routers", "two-step")
    plain = create(plugin, settings={"artifact": "mine"}, build=experts)
    assert plain.route(recipe, VIEW).ranked[:2] == (Ranked("poet", 0.9), Ranked("coder", 0.5))
    changed = create(plugin, settings={"artifact": "mine", "map": {"cooking": "anyone"}}, build=experts)
    assert changed.route(recipe, VIEW).expert == "anyone"
    assert changed.route(race, VIEW).expert == "coder"
    assert changed.revision != plain.revision


def test_a_missing_artifact_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="is not an artifact"):
        create(load("coe.routers", "two-step"), settings={"artifact": str(tmp_path)})
