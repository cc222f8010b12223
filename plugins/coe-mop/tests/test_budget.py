"""The budget is hard, and a run that was interrupted ends as one that was not."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mop_pupil import Failing, PowerCut, Pupil, made_with, no_wait

from coe.contracts import Embedder
from coe.errors import ArtifactError, DataError, ExpertRejected, ExpertUnavailable
from coe_mop._build import BuildSettings
from coe_mop._caller import Ask, Caller
from coe_mop._ledger import BudgetSpent, Ledger
from coe_mop._plan import make_plan


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 5000),
    st.integers(1, 64),
    st.integers(1, 500),
    st.integers(0, 200),
    st.integers(1, 16),
)
def test_a_plan_never_exceeds_its_budget(
    budget: int, regions: int, validation: int, held_back: int, concurrency: int
) -> None:
    try:
        plan = make_plan(budget, regions, validation=validation, held_back=held_back, concurrency=concurrency)
    except DataError:
        return  # refused: nothing is spent
    assert plan.total(regions) + plan.reserve <= budget
    assert plan.proposals >= 1
    assert plan.checked >= min(3, validation)
    assert plan.reported <= held_back
    ape = plan.proposals * (1 + plan.ape_screened)
    assert ape <= max(plan.search_calls(regions) + plan.proposals, (budget - plan.reserve) // 2)


@pytest.mark.parametrize(
    "budget", [80, pytest.param(200, marks=pytest.mark.slow), pytest.param(700, marks=pytest.mark.slow)]
)
def test_a_build_never_exceeds_its_budget(budget: int, embedder: Embedder) -> None:
    base = Pupil()
    made, ledger = made_with(base, BuildSettings(budget=budget, concurrency=3), embedder)
    assert base.calls == ledger.spent <= budget
    assert base.most_at_once <= 3
    assert made.bundle.about["calls"] == base.calls


@pytest.mark.slow
def test_failures_count(embedder: Embedder) -> None:
    base = Failing()
    with pytest.raises((BudgetSpent, ExpertUnavailable)):
        made_with(base, BuildSettings(budget=120, demos=2), embedder)
    assert base.calls <= 120


CHOSEN = BuildSettings(budget=200, concurrency=2, identities=True)


@pytest.fixture(scope="module")
def whole(embedder: Embedder, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, int]:
    """The manifest (with the hash of all else) of a build that nothing interrupts, and its calls."""
    made, ledger = made_with(Pupil(), CHOSEN, embedder)
    folder = tmp_path_factory.mktemp("whole") / "mop"
    made.bundle.write(folder, {})
    return (folder / "manifest.json").read_bytes(), ledger.spent


def interrupted(stop_at: int, lost: int, embedder: Embedder, folder: Path) -> tuple[bytes, int]:
    """The same build, cut off at a call and its file within the last `lost` bytes, then run again."""
    calls = folder / "calls.jsonl"
    with pytest.raises(PowerCut):
        made_with(Pupil(fail_after=stop_at), CHOSEN, embedder, calls)
    calls.write_bytes(calls.read_bytes()[: -lost or None])
    second = Pupil()
    resumed, ledger = made_with(second, CHOSEN, embedder, calls)
    assert ledger.spent <= CHOSEN.budget
    resumed.bundle.write(folder / "mop", {})
    return (folder / "mop/manifest.json").read_bytes(), second.calls


def test_an_interrupted_build_ends_the_same(
    whole: tuple[bytes, int], embedder: Embedder, tmp_path: Path
) -> None:
    manifest, second_calls = interrupted(23, 0, embedder, tmp_path)
    assert manifest == whole[0]
    assert second_calls < whole[1]


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(stop_at=st.integers(0, 100), lost=st.integers(0, 40))
def test_a_build_interrupted_anywhere_ends_the_same(
    stop_at: int,
    lost: int,
    whole: tuple[bytes, int],
    embedder: Embedder,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    assert interrupted(min(stop_at, whole[1] - 1), lost, embedder, folder)[0] == whole[0]


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(0, 400))
def test_a_ledger_cut_anywhere_opens(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("ledger") / "calls.jsonl"
    with Ledger(path, "pupil", 100) as ledger:
        for key in "abc":
            ledger.spend(key)
            ledger.keep(key, f"answer to {key} ü\n")
    raw = path.read_bytes()[:cut]
    path.write_bytes(raw)
    with Ledger(path, "pupil", 100) as ledger:
        for key in "abc":
            if (known := ledger.known(key)) is not None:
                assert known == f"answer to {key} ü\n"
        before = ledger.spent
        ledger.spend("d")
        ledger.keep("d", "d")
    with Ledger(path, "pupil", 100) as ledger:
        assert (ledger.spent, ledger.known("d")) == (before + 1, "d")


def test_a_ledger_is_private_and_of_one_base(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    with Ledger(path, "pupil", 1) as ledger:
        ledger.spend("a")
        with pytest.raises(BudgetSpent):
            ledger.spend("b")
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(ArtifactError, match="keeps the calls of `pupil`"), Ledger(path, "other", 1):
        pass
    path.write_text("no json\n")
    with pytest.raises(ArtifactError, match="does not hold kept calls"), Ledger(path, "pupil", 1):
        pass


def test_equal_calls_are_made_once_and_refusals_are_not_repeated() -> None:
    class Refusing(Pupil):
        async def complete(self, request, context):
            self.calls += 1
            raise ExpertRejected("too long", status=400, expert="pupil")

    async def ask(base: Pupil) -> list[str]:
        caller = Caller(base, Ledger(None, "pupil", 10), sleep=no_wait)
        asks = [Ask([{"role": "user", "content": text}], 8) for text in ("a", "b", "a")]
        return await caller.ask_all(asks)

    base = Pupil()
    assert asyncio.run(ask(base)) == ["no idea"] * 3
    assert base.calls == 2
    refusing = Refusing()
    with pytest.raises(ExpertRejected):
        asyncio.run(ask(refusing))
    assert refusing.calls <= 2
