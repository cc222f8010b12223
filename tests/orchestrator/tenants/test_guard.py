"""A tenant's limits while its requests are served: real engine, real experts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import pytest

from coe.contracts import Excluded
from coe.errors import BudgetExceeded, ModelNotFound, NoEligibleExpert, RateLimited
from coe.testing import chat, context

if TYPE_CHECKING:
    from conftest import Open, Shop

Run = Callable[[Coroutine[Any, Any, None]], None]

# A prompt of 8 bytes is 2 tokens, as it is 2 words for the echo; an answer is reckoned as `max_tokens`.
EXPERTS = """
plugins: {allow: [coe-test-plugin]}
experts:
  big: {kind: echo, card: {input_usd_per_mtok: 1000000, output_usd_per_mtok: 1000000}}
  small: {kind: echo, card: {input_usd_per_mtok: 100000, output_usd_per_mtok: 100000}}
  free: {kind: echo}
routers:
  auto: {kind: first}
  paid: {kind: first, experts: [big, small]}
  costly: {kind: first, experts: [big]}
tenants:
  policies:
"""
PROMPT = "one  two"


def spent(shop: Shop, tenant: str = "acme") -> float:
    return shop.tenants._used[tenant].spend.own / 1e9


# --- who may answer


def test_only_allowed_experts_answer_and_the_others_are_named(open_shop: Open, run: Run) -> None:
    async def scenario() -> None:
        shop = open_shop(EXPERTS + "    acme: {experts: [small, free]}\n")
        served = await shop.ask()
        assert served.card.name == "small"
        assert [(each.expert, each.why) for each in served.routed.decision.excluded] == [
            ("big", "is not allowed for this tenant")
        ]
        assert [each.expert for each in served.routed.decision.ranked] == ["small", "free"]
        assert (await shop.ask("other")).card.name == "big"
        with pytest.raises(ModelNotFound, match=r"`big`, or this key may not use it.*`auto`"):
            await shop.ask(model="big")
        with pytest.raises(NoEligibleExpert, match="`big` is not allowed for this tenant"):
            await shop.ask(model="costly")
        await shop.aclose()

    run(scenario())


def test_only_allowed_models_may_be_asked_for(open_shop: Open, run: Run) -> None:
    async def scenario() -> None:
        shop = open_shop(EXPERTS + "    acme: {models: [paid, free]}\n")
        assert (await shop.ask(model="paid")).card.name == "big"
        assert (await shop.ask(model="free")).card.name == "free"
        for name in ("auto", "big", "nobody"):
            with pytest.raises(ModelNotFound) as caught:
                await shop.ask(model=name)
            assert "small" not in str(caught.value)
        assert [shop.tenants.may_ask("acme", name) for name in ("paid", "auto")] == [True, False]
        await shop.aclose()

    run(scenario())


def test_a_view_narrowed_for_a_tenant_has_a_digest_of_its_own(open_shop: Open, run: Run) -> None:
    async def scenario() -> None:
        shop = open_shop(
            EXPERTS + "    acme: {experts: [small, free]}\n    default: {requests_per_minute: 9}\n"
        )
        view = shop.engine.pool.view()
        guards = [shop.tenants.guard(tenant) for tenant in ("acme", "acme", "other")]
        one, again, other = [guard.narrow(view)[0] for guard in guards if guard]
        assert one.digest == again.digest != view.digest
        assert list(one.experts) == ["small", "free"]
        assert other is view
        await shop.aclose()

    run(scenario())


def test_the_default_policy_counts_each_tenant_by_itself(open_shop: Open, run: Run) -> None:
    async def scenario() -> None:
        shop = open_shop(EXPERTS + "    default: {requests_per_minute: 2}\n    acme: {}\n")
        for tenant in ("one", "two"):
            await shop.ask(tenant)
            await shop.ask(tenant)
            with pytest.raises(RateLimited):
                await shop.ask(tenant)
        for _ in range(5):
            await shop.ask("acme")
        counters = shop.tenants.stats().policies
        assert (counters["default"].requests, counters["default"].rate_limited) == (6, 2)
        assert counters["acme"].requests == 5
        assert set(counters) == {"default", "acme"}
        await shop.aclose()

    run(scenario())


# --- limits per minute


def test_requests_per_minute_refill(open_shop: Open, run: Run) -> None:
    async def scenario() -> None:
        shop = open_shop(EXPERTS + "    acme: {requests_per_minute: 6}\n")
        await shop.answers(6)
        with pytest.raises(RateLimited) as caught:
            await shop.ask()
        assert caught.value.retry_after_s == pytest.approx(10)
        shop.clock.advance(10.01)
        await shop.ask()
        with pytest.raises(RateLimited):
            await shop.ask()
        await shop.aclose()

    run(scenario())


def test_tokens_are_settled_with_what_was_used(open_shop: Open, run: Run) -> None:
    async def scenario() -> None:
        shop = open_shop(EXPERTS + "    acme: {tokens_per_minute: 100}\n")
        # Reckoned as 2 + 90, used 2 + 2: then there is room for as much again.
        for _ in range(2):
            await shop.ask(prompt=PROMPT, max_tokens=90)
        # Used 4 each so far; a prompt that its answer repeats is charged twice, though nothing limited it.
        await shop.ask(prompt="a " * 40)
        guard = shop.tenants.guard("acme")
        assert guard is not None
        with pytest.raises(RateLimited) as caught:
            await shop.engine.complete(chat(PROMPT, max_tokens=12), context(), guard=guard)
        assert caught.value.limits["x-ratelimit-remaining-tokens"] == "12"
        await shop.ask(prompt=PROMPT, max_tokens=10)
        await shop.aclose()

    run(scenario())


def test_several_choices_take_several_times_the_tokens(open_shop: Open, run: Run) -> None:
    async def scenario() -> None:
        shop = open_shop(EXPERTS + "    acme: {tokens_per_minute: 100}\n")
        with pytest.raises(RateLimited, match="needs about 122 tokens"):
            await shop.ask(prompt=PROMPT, max_tokens=40, n=3)
        await shop.aclose()

    run(scenario())


@pytest.mark.parametrize("wanted", [-(10**6), 10**18, 2**63 - 1])
def test_numbers_that_a_caller_chooses_give_no_tokens_away(open_shop: Open, run: Run, wanted: int) -> None:
    async def scenario() -> None:
        shop = open_shop(EXPERTS + "    acme: {tokens_per_minute: 100, budget_usd: {amount: 1, per: day}}\n")
        for fields in ({"max_tokens": wanted}, {"max_tokens": 10, "n": wanted}):
            try:
                await shop.ask(prompt=PROMPT, model="free", **fields)
            except RateLimited:
                continue
        assert spent(shop) == 0
        bucket = shop.tenants._used["acme"].tokens
        assert 0 <= bucket.used_s(shop.clock()) <= 60
        await shop.aclose()

    run(scenario())


def test_asking_for_a_decision_takes_a_request_and_no_tokens(open_shop: Open, run: Run) -> None:
    async def scenario() -> None:
        shop = open_shop(EXPERTS + "    acme: {requests_per_minute: 3, tokens_per_minute: 10}\n")
        for _ in range(3):
            guard = shop.tenants.guard("acme", answers=False)
            await shop.engine.route(chat("x" * 400), "acme", guard=guard)
        with pytest.raises(RateLimited, match="3 requests a minute"):
            await shop.engine.route(chat("x"), "acme", guard=shop.tenants.guard("acme", answers=False))
        await shop.aclose()

    run(scenario())


# --- budgets


def test_what_was_used_is_charged_not_what_was_reckoned(open_shop: Open, run: Run) -> None:
    async def scenario() -> None:
        shop = open_shop(EXPERTS + "    acme: {budget_usd: {amount: 100, per: day}}\n")
        await shop.ask(prompt=PROMPT, max_tokens=50)
        assert spent(shop) == 4
        await shop.ask(prompt=PROMPT, max_tokens=50, stream=True)
        assert spent(shop) == 8
        counters = shop.tenants.stats().policies["acme"]
        assert (counters.prompt_tokens, counters.completion_tokens, counters.spent_nano) == (4, 4, 8 * 10**9)
        await shop.aclose()

    run(scenario())


def test_before_the_cap_a_cheaper_expert_answers_and_after_it_nobody(open_shop: Open, run: Run) -> None:
    async def scenario() -> None:
        shop = open_shop(EXPERTS + "    acme: {budget_usd: {amount: 10, per: day}}\n")
        fields = {"model": "paid", "prompt": PROMPT, "max_tokens": 2}
        # 4 USD each while 4 are left, then 0.4 each while 0.4 are left.
        assert await shop.answers(7, **fields) == ["big"] * 2 + ["small"] * 5
        with pytest.raises(BudgetExceeded) as caught:
            await shop.ask(**fields)
        error = caught.value
        assert (error.code, error.status, error.type) == ("budget_exceeded", 429, "insufficient_quota")
        assert "10 USD a day" in str(error)
        assert "renews on 2026-03-10" in str(error)
        assert spent(shop) == 10
        await shop.aclose()

    run(scenario())


def test_near_the_cap_only_the_cheapest_is_asked(open_shop: Open, run: Run) -> None:
    async def scenario() -> None:
        policy = "{budget_usd: {amount: 100, per: day, step_down_at: 0.08}, experts: [big, small]}"
        shop = open_shop(EXPERTS + f"    acme: {policy}\n")
        fields = {"model": "paid", "prompt": PROMPT, "max_tokens": 2}
        assert await shop.answers(4, **fields) == ["big", "big", "small", "small"]
        served = await shop.ask(**fields)
        assert served.routed.decision.excluded == (
            Excluded("big", "is not the cheapest, and most of the budget is spent"),
        )
        # Who asks for one expert gets it: there is none that is cheaper.
        assert (await shop.ask(**{**fields, "model": "big"})).card.name == "big"
        assert shop.tenants.stats().policies["acme"].stepped_down == 3
        await shop.aclose()

    run(scenario())


def test_the_decision_says_who_was_too_dear(open_shop: Open, run: Run) -> None:
    async def scenario() -> None:
        shop = open_shop(EXPERTS + "    acme: {budget_usd: {amount: 3, per: day}}\n")
        served = await shop.ask(prompt=PROMPT, max_tokens=2)
        assert served.card.name == "small"
        assert [(each.expert, each.why) for each in served.routed.decision.excluded] == [
            ("big", "may cost 4.000000 USD, and 3.000000 USD are left")
        ]
        assert shop.tenants.stats().policies["acme"].stepped_down == 1
        await shop.aclose()

    run(scenario())


def test_a_free_expert_goes_on_after_the_cap(open_shop: Open, run: Run) -> None:
    async def scenario() -> None:
        shop = open_shop(EXPERTS + "    acme: {budget_usd: {amount: 4, per: day}}\n")
        assert await shop.answers(3, prompt=PROMPT, max_tokens=2) == ["big", "free", "free"]
        await shop.aclose()

    run(scenario())


def test_without_stepping_down_the_cap_is_an_error(open_shop: Open, run: Run) -> None:
    async def scenario() -> None:
        shop = open_shop(EXPERTS + "    acme: {budget_usd: {amount: 4, per: month}, step_down: false}\n")
        await shop.ask(prompt=PROMPT, max_tokens=2)
        with pytest.raises(
            BudgetExceeded, match=r"`big` may cost 4\.0+ USD, and 0\.0+ USD are left.*2026-04-01"
        ):
            await shop.ask(prompt=PROMPT, max_tokens=2)
        assert shop.tenants.stats().policies["acme"].budget_exceeded == 1
        await shop.aclose()

    run(scenario())


def test_a_budget_renews(open_shop: Open, run: Run) -> None:
    async def scenario() -> None:
        shop = open_shop(EXPERTS + "    acme: {budget_usd: {amount: 4, per: day}}\n")
        fields = {"model": "big", "prompt": PROMPT, "max_tokens": 2}
        await shop.ask(**fields)
        with pytest.raises(BudgetExceeded):
            await shop.ask(**fields)
        shop.wall.advance(12 * 3600)
        await shop.ask(**fields)
        await shop.aclose()

    run(scenario())


def test_an_expert_without_a_price_is_not_asked_for_a_budget(open_shop: Open, run: Run) -> None:
    async def scenario() -> None:
        text = EXPERTS.replace("  free: {kind: echo}", "  free: {kind: echo, card: {locality: remote}}")
        shop = open_shop(text + "    acme: {budget_usd: {amount: 1, per: day}}\n")
        with pytest.raises(NoEligibleExpert, match="`free` has no price, and the tenant has a budget"):
            await shop.ask(model="free")
        assert (await shop.ask("other", model="free")).card.name == "free"
        await shop.aclose()

    run(scenario())


def test_requests_at_the_same_time_do_not_overspend(open_shop: Open, run: Run) -> None:
    async def scenario() -> None:
        text = EXPERTS.replace("big: {kind: echo,", "big: {kind: echo, delay_s: 0.01,")
        shop = open_shop(text + "    acme: {budget_usd: {amount: 12, per: day}}\n")
        asked = [shop.ask(model="big", prompt=PROMPT, max_tokens=2) for _ in range(10)]
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert sum(isinstance(each, BudgetExceeded) for each in results) == 7
        assert spent(shop) == 12
        await shop.aclose()

    run(scenario())


# --- the share of strong experts

STRONG = "strong_share: {experts: [big], max_share: 0.2, window: 10}"


def test_strong_experts_answer_their_share(open_shop: Open, run: Run) -> None:
    async def scenario() -> None:
        shop = open_shop(EXPERTS + f"    acme: {{{STRONG}}}\n")
        answers = await shop.answers(40, model="paid")
        assert answers[:10] == ["big"] * 2 + ["small"] * 8
        for start in range(30):
            assert answers[start : start + 10].count("big") == 2
        await shop.aclose()

    run(scenario())


def test_beyond_the_share_and_without_another_expert_it_is_an_error_for_a_while(
    open_shop: Open, run: Run
) -> None:
    async def scenario() -> None:
        shop = open_shop(EXPERTS + f"    acme: {{{STRONG}}}\n")
        for _ in range(2):
            assert await shop.answers(2, model="costly") == ["big", "big"]
            for _ in range(8):
                with pytest.raises(BudgetExceeded, match="`big` is strong, and 2 of the last 10 requests"):
                    await shop.ask(model="costly")
        await shop.aclose()

    run(scenario())


def test_a_sticky_session_does_not_bypass_the_share(open_shop: Open, run: Run) -> None:
    async def scenario() -> None:
        shop = open_shop(EXPERTS + f"    acme: {{{STRONG}}}\n")
        answers = await shop.answers(10, model="paid", session="s")
        assert answers == ["big"] * 2 + ["small"] * 8
        await shop.aclose()

    run(scenario())
