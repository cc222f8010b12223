"""Best of n, cascade and ensemble: which answer wins, what is spent, and that nothing runs on."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategy_experts import Judge, Talker

from coe.contracts import Expert, Reply
from coe.errors import ConfigError, ExpertRejected, ExpertUnavailable
from coe.testing import build, chat, collect, context, create, load

GOOD = {"fine": 1.0, "best": 3.0, "poor": -2.0}


def made(kind: str, experts: list[Talker], judge: Judge | None = None, **keys: Any) -> Expert:
    pool: dict[str, Any] = {expert.card.name: expert for expert in experts}
    if judge is not None:
        pool["judge"] = judge
        keys["reward"] = "judge"
    settings_of = {"experts": [expert.card.name for expert in experts], **keys}
    return create(load("coe.experts", kind), kind, settings_of, build(experts=pool))


def ask(expert: Expert, **fields: Any) -> tuple[str, Reply]:
    async def run() -> tuple[str, Reply]:
        reply = await expert.complete(chat("Which?", **fields), context())
        return (await collect(reply)).text, reply

    return asyncio.run(run())


# --- best of n


def test_the_best_answer_wins_and_all_are_kept() -> None:
    experts = [Talker("a", "fine"), Talker("b", "best", usd=2), Talker("c", None)]
    text, reply = ask(made("best_of_n", experts, Judge(GOOD)))
    assert text == "best"
    assert reply.usage is not None
    assert reply.usage.total_tokens == 20
    assert reply.cost_usd == pytest.approx(30e-6)
    assert {(each.expert, each.reward, each.chosen, each.error) for each in reply.candidates} == {
        ("a", 1.0, False, ""),
        ("b", 3.0, True, ""),
        ("c", None, False, "expert_unavailable"),
    }


def test_one_expert_is_asked_with_other_seeds() -> None:
    talker = Talker("a", "fine", "best", "poor")
    text, _ = ask(made("best_of_n", [talker], Judge(GOOD), n=3), seed=7)
    assert text == "best"
    assert [payload.get("seed") for payload in talker.asked] == [7, 8, 9]
    assert [payload.get("temperature") for payload in talker.asked] == [None, 0.8, 0.8]
    assert all("stream" not in payload for payload in talker.asked)


def test_the_winner_is_streamed() -> None:
    expert = made("best_of_n", [Talker("a", "fine"), Talker("b", "best")], Judge(GOOD))

    async def run() -> None:
        request = chat("Which?", stream=True, stream_options={"include_usage": True})
        got = await collect(await expert.complete(request, context()))
        assert (got.text, got.done) == ("best", True)
        assert got.objects[-1]["usage"]["total_tokens"] == 20

    asyncio.run(run())


def test_an_accepted_answer_ends_the_other_calls() -> None:
    slow = Talker("b", "best", delays=[60.0])
    text, reply = ask(made("best_of_n", [Talker("a", "fine"), slow], Judge(GOOD), accept=0.5))
    assert (text, slow.running) == ("fine", 0)
    assert [each.error for each in reply.candidates] == ["", "cancelled"]


def test_no_more_run_at_once_than_allowed() -> None:
    talker = Talker("a", "fine")
    ask(made("best_of_n", [talker], Judge(GOOD), n=5, parallel=2))
    assert (len(talker.asked), talker.most) == (5, 2)


def test_without_a_judge_that_works_the_first_answer_counts() -> None:
    experts = [Talker("a", None), Talker("b", "fine"), Talker("c", "best")]
    text, reply = ask(made("best_of_n", experts, Judge({}, broken=True), parallel=1))
    assert text == "fine"
    assert [each.reward for each in reply.candidates] == [None, None, None]


def test_when_all_fail_the_last_error_is_told() -> None:
    with pytest.raises(ExpertUnavailable, match="a is down"):
        ask(made("best_of_n", [Talker("a", None)], Judge(GOOD)))


@given(st.permutations(["fine", "best", "poor", "other"]), st.integers(-1000, 1000))
@settings(max_examples=10, deadline=None)
def test_a_constant_added_to_all_rewards_changes_no_choice(texts: list[str], constant: int) -> None:
    for kind, keys in (("best_of_n", {}), ("ensemble", {"by_reward": 1.0})):
        experts = [Talker(name, text) for name, text in zip("abcd", texts, strict=True)]
        plain, _ = ask(made(kind, experts, Judge(GOOD), **keys))
        moved, _ = ask(made(kind, experts, Judge(GOOD, constant), **keys))
        assert plain == moved == "best"


# --- caps and cancellation


@given(
    kind=st.sampled_from(["best_of_n", "cascade", "ensemble"]),
    calls=st.integers(1, 6),
    tokens=st.integers(1, 3000),
    usd=st.floats(0, 2e-3),
    sizes=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 300)), min_size=2, max_size=4),
    longest=st.integers(300, 800),
    delays=st.lists(st.sampled_from([0.0, 0.001]), min_size=1, max_size=3),
)
@settings(max_examples=25, deadline=None)
def test_caps_are_never_exceeded(
    kind: str,
    calls: int,
    tokens: int,
    usd: float,
    sizes: list[tuple[int, int]],
    longest: int,
    delays: list[float],
) -> None:
    experts = [
        Talker(f"e{at}", "fine", "best", tokens=size, usd=at + 0.5, delays=delays)
        for at, size in enumerate(sizes)
    ]
    extra: dict[str, Any] = {"best_of_n": {"n": 6}, "cascade": {"thresholds": [9.0] * (len(sizes) - 1)}}.get(
        kind, {}
    )
    caps = {"calls": calls, "tokens": tokens, "usd": usd}
    expert = made(kind, experts, Judge(GOOD), caps=caps, max_tokens=longest, **extra)
    with contextlib.suppress(ExpertRejected):  # not even one call
        ask(expert)
    made_calls = [(each.card, each.tokens) for each in experts for _ in each.asked]
    assert len(made_calls) <= calls
    assert sum(sum(size) for _, size in made_calls) <= tokens
    assert sum(sum(size) * (card.input_usd_per_mtok or 0) for card, size in made_calls) / 1e6 <= usd + 1e-12


def test_what_a_call_left_over_lets_the_next_one_be_made() -> None:
    # One call reserves some 300 tokens and takes 10.
    talker = Talker("a", "fine")
    ask(made("best_of_n", [talker], Judge(GOOD), n=3, max_tokens=200, caps={"tokens": 400}))
    assert len(talker.asked) == 3


@pytest.mark.parametrize("kind", ["best_of_n", "cascade", "ensemble"])
def test_cancellation_leaves_no_call_running(kind: str) -> None:
    experts = [Talker("a", "poor", delays=[60.0]), Talker("b", "best", delays=[60.0])]
    expert = made(kind, experts, Judge(GOOD), **({"thresholds": [0.0]} if kind == "cascade" else {}))

    async def run() -> None:
        task = asyncio.ensure_future(expert.complete(chat("Which?"), context()))
        while not experts[0].running:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [each.running for each in experts] == [0, 0]
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())


def test_a_limit_in_dollars_needs_prices() -> None:
    class Unpriced(Talker):
        def __init__(self) -> None:
            super().__init__("a", "fine")
            self.card = type(self.card)(name="a")

    with pytest.raises(ConfigError, match=r"caps\.usd: `a` has no price"):
        made("best_of_n", [Unpriced()], Judge(GOOD), caps={"usd": 1.0})


def test_several_choices_are_refused() -> None:
    with pytest.raises(ExpertRejected, match="gives one answer"):
        ask(made("best_of_n", [Talker("a", "fine")], Judge(GOOD)), n=2)


# --- cascade


@pytest.mark.parametrize(
    ("threshold", "text", "asked"), [(0.5, "fine", (1, 0)), (2.0, "best", (1, 1)), (9.0, "best", (1, 1))]
)
def test_the_next_expert_is_asked_where_the_answer_falls_short(
    threshold: float, text: str, asked: tuple[int, int]
) -> None:
    cheap, dear = Talker("a", "fine"), Talker("b", "best")
    found, _ = ask(made("cascade", [cheap, dear], Judge(GOOD), thresholds=[threshold]))
    assert (found, (len(cheap.asked), len(dear.asked))) == (text, asked)


def test_without_a_judge_the_answers_own_confidence_counts() -> None:
    sure, unsure = Talker("a", "fine", logprob=-0.1), Talker("a", "fine", logprob=-3.0)
    for cheap, text in ((sure, "fine"), (unsure, "best")):
        found, reply = ask(made("cascade", [cheap, Talker("b", "best", logprob=-0.1)], thresholds=[0.5]))
        assert found == text
        assert cheap.asked[0]["logprobs"] is True
        assert reply.candidates[0].reward is not None


def test_a_failed_step_is_passed_over_and_a_forbidden_one_too() -> None:
    found, _ = ask(made("cascade", [Talker("a", None), Talker("b", "best")], Judge(GOOD), thresholds=[0.0]))
    assert found == "best"
    found, _ = ask(
        made(
            "cascade",
            [Talker("a", "poor"), Talker("b", "best")],
            Judge(GOOD),
            thresholds=[0],
            caps={"calls": 1},
        )
    )
    assert found == "poor"


def test_thresholds_must_fit() -> None:
    with pytest.raises(ConfigError, match=r"thresholds holds 2 numbers; expected 1"):
        made("cascade", [Talker("a", "x"), Talker("b", "y")], Judge({}), thresholds=[1, 2])


# --- ensemble


def test_answers_that_say_the_same_add_up() -> None:
    experts = [Talker("a", "It is 5"), Talker("b", '{"answer": "7"}'), Talker("c", "So #### 7.")]
    text, _ = ask(made("ensemble", experts))
    assert text == '{"answer": "7"}'


def test_weights_and_selection_are_set_apart() -> None:
    experts = [Talker("a", "5"), Talker("b", "7"), Talker("c", "7")]
    assert ask(made("ensemble", experts, weights={"a": 3.0}))[0] == "5"
    experts = [Talker("a", "5"), Talker("b", "7"), Talker("c", "7")]
    ask(made("ensemble", experts, select=2))
    assert [len(each.asked) for each in experts] == [1, 1, 0]
    with pytest.raises(ConfigError, match="`z` is not among the experts"):
        made("ensemble", experts, weights={"z": 1.0})
