"""Bundles in service: conformance, and what the base is sent."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from mop_pupil import Pupil

from coe.contracts import Expert, Features, Reason, Router
from coe.errors import ConfigError
from coe.testing import build, chat, collect, context, create, load, pool_view
from coe.testing.conformance import ExpertConformance, RouterConformance
from coe_mop._bundle import read_bundle


def echo() -> Expert:
    return create(load("coe.experts", "echo"), "base")


def expert(bundle: Path, base: Expert, **settings: object) -> Expert:
    host = build(experts={"base": base})
    return create(
        load("coe.experts", "mop"), "mop", {"bundle": str(bundle), "base": "base", **settings}, host
    )


def router(bundle: Path, min_margin: float | None = None) -> Router:
    regions = len(read_bundle(bundle, build().embedder)[0].prompts)
    names = [f"r{number}" for number in range(regions)]
    host = build(experts={name: Pupil() for name in [*names, "one"]})
    settings = {"bundle": str(bundle), "regions": names, "single": "one", "min_margin": min_margin}
    return create(load("coe.routers", "mop"), "mop", settings, host)


class TestExpertOfTheWholeBundle(ExpertConformance):
    @pytest.fixture
    def make(self, bundle_dir: Path) -> Callable[[], Expert]:
        return lambda: expert(bundle_dir, echo())


class TestExpertOfOneRegion(ExpertConformance):
    @pytest.fixture
    def make(self, bundle_dir: Path) -> Callable[[], Expert]:
        return lambda: expert(bundle_dir, echo(), region=0)


class TestRouter(RouterConformance):
    experts = ("r0", "r1", "one", "stranger")

    @pytest.fixture
    def make(self, bundle_dir: Path) -> Callable[[], Router]:
        return lambda: router(bundle_dir)

    @pytest.fixture
    def make_other(self, bundle_dir: Path) -> Callable[[], Router]:
        return lambda: router(bundle_dir, min_margin=0.9)


@pytest.mark.parametrize("question", ["17 + 4", "silver spoon"])
def test_the_base_is_sent_what_was_scored(question: str, bundle_dir: Path) -> None:
    bundle, embedder = read_bundle(bundle_dir, build().embedder)
    routed = bundle.route([question], embedder)
    base = Pupil()

    async def ask() -> str:
        reply = await expert(bundle_dir, base).complete(chat(question), context())
        return (await collect(reply)).text

    assert asyncio.run(ask()) in ("21", "SILVER SPOON")
    assert base.asked == [bundle.prompts[int(routed.region[0])].messages(question)]


def test_the_router_takes_the_region_and_abstains(bundle_dir: Path) -> None:
    bundle, embedder = read_bundle(bundle_dir, build().embedder)
    region = int(bundle.route(["12 + 30"], embedder).region[0])
    view = pool_view(*[f"r{number}" for number in range(len(bundle.prompts))], "one")
    sure = router(bundle_dir, 0.0).route(Features(text="12 + 30"), view)
    assert (sure.expert, sure.reason, sure.category) == (f"r{region}", Reason.CATEGORY, f"region-{region}")
    unsure = router(bundle_dir, 1.0).route(Features(text="12 + 30"), view)
    assert (unsure.expert, unsure.reason) == ("one", Reason.UNCERTAIN)
    assert unsure.ranked[1].expert == f"r{region}"


def test_wrong_settings_say_what_is_wrong(bundle_dir: Path) -> None:
    with pytest.raises(ConfigError, match="region is 99; the bundle has 0 to"):
        expert(bundle_dir, Pupil(), region=99)
    host = build(experts={"base": Pupil()})
    with pytest.raises(ConfigError, match="names 1 experts; the bundle has"):
        create(
            load("coe.routers", "mop"),
            "mop",
            {"bundle": str(bundle_dir), "regions": ["base"], "single": "base"},
            host,
        )
