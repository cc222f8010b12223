"""Limits that replicas share through a real Redis, and what happens when it fails."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import pytest

from coe.errors import BudgetExceeded, ConfigError, RateLimited
from coe.tenants._scripts import ENTER, SCRIPTS
from coe.tenants._shared import SharedLimits
from coe.testing import chat, context

if TYPE_CHECKING:
    from conftest import Open, Shop

Run = Callable[[Coroutine[Any, Any, None]], None]

EXPERTS = """
plugins: {allow: [coe-test-plugin]}
experts:
  big: {kind: echo, card: {input_usd_per_mtok: 1000000, output_usd_per_mtok: 1000000}}
  small: {kind: echo, card: {input_usd_per_mtok: 0, output_usd_per_mtok: 0}}
routers: {auto: {kind: first}}
tenants:
  policies:
"""
PROMPT = "one  two"
_names = (f"shared-{number}-{time.time_ns()}" for number in itertools.count())


@pytest.fixture
def tenant() -> str:
    """A tenant that no other test has."""
    return next(_names)


@pytest.fixture
def pair(open_shop: Open, redis_url: str, tenant: str) -> Callable[[str], tuple[Shop, Shop]]:
    """Two replicas that share the limits of one tenant."""

    def make(policy: str) -> tuple[Shop, Shop]:
        text = EXPERTS + f"    {tenant}: {{{policy}}}\n"
        return open_shop(text, redis=redis_url), open_shop(text, redis=redis_url)

    return make


async def alternately(shops: tuple[Shop, ...], count: int, tenant: str, **fields: Any) -> list[str]:
    """Who answers; the name of the error where nobody does."""
    for shop in shops:
        await shop.tenants.start()
    told: list[str] = []
    for shop in itertools.islice(itertools.cycle(shops), count):
        try:
            told.append((await shop.ask(tenant, **fields)).card.name)
        except (RateLimited, BudgetExceeded) as error:
            told.append(type(error).__name__)
    return told


async def close(*shops: Shop) -> None:
    for shop in shops:
        await shop.aclose()


def own_spending(shop: Shop, tenant: str) -> int:
    return shop.tenants._used[tenant].spend.own


# --- two replicas


def test_requests_are_counted_together(
    pair: Callable[[str], tuple[Shop, Shop]], tenant: str, run: Run
) -> None:
    async def scenario() -> None:
        shops = pair("requests_per_minute: 6")
        told = await alternately(shops, 10, tenant)
        assert told == ["big"] * 6 + ["RateLimited"] * 4
        assert shops[0].tenants.stats().policies[tenant].rate_limited == 2
        await close(*shops)

    run(scenario())


def test_tokens_are_counted_together_and_settled(
    pair: Callable[[str], tuple[Shop, Shop]], tenant: str, run: Run, redis_url: str
) -> None:
    async def scenario() -> None:
        one, two = shops = pair("tokens_per_minute: 60")
        # Reckoned as 52, used 4.
        assert await alternately((one,), 1, tenant, prompt=PROMPT, max_tokens=50) == ["big"]
        await one.tenants.aclose()
        assert await alternately((two,), 1, tenant, prompt=PROMPT, max_tokens=53) == ["big"]
        with pytest.raises(RateLimited) as caught:
            # This replica alone would have room for 56.
            await two.ask(tenant, prompt=PROMPT, max_tokens=54)
        assert 52 <= int(caught.value.limits["x-ratelimit-remaining-tokens"]) < 56
        await close(*shops)

    run(scenario())


def test_a_budget_is_spent_together(pair: Callable[[str], tuple[Shop, Shop]], tenant: str, run: Run) -> None:
    async def scenario() -> None:
        shops = pair("budget_usd: {amount: 20, per: day}")
        told = await alternately(shops, 8, tenant, model="big", prompt=PROMPT, max_tokens=2)
        assert told == ["big"] * 5 + ["BudgetExceeded"] * 3
        assert sum(own_spending(each, tenant) for each in shops) == 20_000_000_000
        await close(*shops)

    run(scenario())


def test_replicas_at_the_same_time_do_not_overspend(
    pair: Callable[[str], tuple[Shop, Shop]], tenant: str, run: Run
) -> None:
    async def scenario() -> None:
        shops = pair("budget_usd: {amount: 20, per: day}")
        for each in shops:
            await each.tenants.start()
        asked = [
            shop.ask(tenant, model="big", prompt=PROMPT, max_tokens=2) for _ in range(20) for shop in shops
        ]
        results = await asyncio.gather(*asked, return_exceptions=True)
        refused = [each for each in results if isinstance(each, BaseException)]
        assert all(isinstance(each, BudgetExceeded) for each in refused)
        spent = sum(own_spending(each, tenant) for each in shops)
        assert spent == 4_000_000_000 * (40 - len(refused)) <= 20_000_000_000
        await close(*shops)

    run(scenario())


def test_what_one_replica_spent_steps_the_other_down(
    pair: Callable[[str], tuple[Shop, Shop]], tenant: str, run: Run
) -> None:
    async def scenario() -> None:
        one, two = shops = pair("budget_usd: {amount: 8, per: day}")
        fields = {"prompt": PROMPT, "max_tokens": 2}
        assert await alternately((one,), 2, tenant, **fields) == ["big", "big"]
        # It learns of it when it asks, and takes the cheaper expert at once.
        assert await alternately((two,), 2, tenant, **fields) == ["small", "small"]
        await close(*shops)

    run(scenario())


def test_the_share_of_strong_experts_is_one_for_all(
    pair: Callable[[str], tuple[Shop, Shop]], tenant: str, run: Run
) -> None:
    async def scenario() -> None:
        shops = pair("strong_share: {experts: [big], max_share: 0.2, window: 10}")
        told = await alternately(shops, 30, tenant)
        assert told == (["big"] * 2 + ["small"] * 8) * 3
        await close(*shops)

    run(scenario())


def test_tenants_do_not_count_for_each_other(open_shop: Open, redis_url: str, tenant: str, run: Run) -> None:
    async def scenario() -> None:
        shop = open_shop(EXPERTS + "    default: {requests_per_minute: 2}\n", redis=redis_url)
        for each in ("a", "b"):
            assert await alternately((shop,), 3, tenant + each) == ["big", "big", "RateLimited"]
        await close(shop)

    run(scenario())


def test_a_flood_does_not_reach_redis(
    pair: Callable[[str], tuple[Shop, Shop]], tenant: str, run: Run
) -> None:
    async def scenario() -> None:
        shops = pair("requests_per_minute: 2")
        await alternately(shops[:1], 50, tenant)
        stats = shops[0].tenants.stats().shared
        assert stats is not None
        assert stats.answered == 2
        await close(*shops)

    run(scenario())


# --- Redis fails


@pytest.fixture
def hurt(open_shop: Open, redis_server: Any) -> Callable[..., Shop]:
    """A replica whose Redis the test may hurt."""
    return lambda policy, **more: open_shop(
        EXPERTS + f"    acme: {{{policy}}}\n", redis=redis_server.url, **more
    )


def shared_stats(shop: Shop) -> Any:
    return shop.tenants.stats().shared


def test_without_redis_local_limits_go_on_and_it_is_counted(
    hurt: Callable[..., Shop], redis_server: Any, run: Run
) -> None:
    async def scenario() -> None:
        shop = hurt("requests_per_minute: 5, budget_usd: {amount: 8, per: day}")
        fields = {"prompt": PROMPT, "max_tokens": 2}
        assert await alternately((shop,), 1, "acme", **fields) == ["big"]
        redis_server.kill()
        # What was used before counts: 4 USD and 4 requests are left.
        told = [*await alternately((shop,), 5, "acme", **fields)]
        assert told == ["big", "small", "small", "small", "RateLimited"]
        assert shared_stats(shop).errors > 0
        await close(shop)

    run(scenario())


def test_a_silent_redis_holds_nobody_up_and_is_left_alone(
    hurt: Callable[..., Shop], redis_server: Any, run: Run
) -> None:
    async def scenario() -> None:
        shop = hurt("requests_per_minute: 1000", timeout_ms=5)
        await shop.tenants.start()
        redis_server.pause()
        for _ in range(20):
            await shop.ask()
        stats = shared_stats(shop)
        # Five wait for the deadline, then the breaker is open.
        assert (stats.timeouts, stats.skipped) == (5, 15)
        redis_server.resume()
        for _ in range(50):  # Five milliseconds are not always enough on a busy machine.
            shop.clock.advance(3)
            await shop.ask()
            if shared_stats(shop).answered:
                break
        assert shared_stats(shop).answered > 0
        await close(shop)

    run(scenario())


def test_who_goes_away_while_redis_is_asked_reserves_nothing(
    hurt: Callable[..., Shop], redis_server: Any, run: Run
) -> None:
    async def scenario() -> None:
        shop = hurt("budget_usd: {amount: 9, per: day}")
        await shop.tenants.start()
        redis_server.pause()
        task = asyncio.create_task(shop.ask(prompt=PROMPT, max_tokens=2))
        while not (own := shop.tenants._used.get("acme")) or not own.spend.own:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert own_spending(shop, "acme") == 0
        redis_server.resume()
        await close(shop)

    run(scenario())


def test_a_flush_forgets_no_spending_of_living_replicas(open_shop: Open, redis_server: Any, run: Run) -> None:
    async def scenario() -> None:
        text = EXPERTS + "    acme: {budget_usd: {amount: 20, per: day}}\n"
        shops = one, two = open_shop(text, redis=redis_server.url), open_shop(text, redis=redis_server.url)
        fields = {"model": "big", "prompt": PROMPT, "max_tokens": 2}
        assert await alternately(shops, 4, "acme", **fields) == ["big"] * 4
        with redis_server.client() as client:
            client.flushall()
            client.script_flush()
        # 16 USD are spent. Each replica says again what it spent as soon as it asks.
        assert await alternately(shops, 4, "acme", **fields) == ["big", *["BudgetExceeded"] * 3]
        await close(one, two)

    run(scenario())


def test_wrong_data_in_redis_stops_nobody(open_shop: Open, redis_server: Any, run: Run) -> None:
    async def scenario() -> None:
        policy = "requests_per_minute: 3, strong_share: {experts: [big], max_share: 0.5, window: 10}"
        shop = open_shop(EXPERTS + f"    acme: {{{policy}}}\n", redis=redis_server.url)
        with redis_server.client() as client:
            for name in ("requests", "tokens", "count", "strong"):
                client.hset(f"coe:tenant:acme:{name}", "not", "ours")
        assert await alternately((shop,), 4, "acme") == ["big"] * 3 + ["RateLimited"]
        assert shared_stats(shop).errors > 0
        with redis_server.client() as client:
            client.flushall()
            client.set("coe:tenant:acme:requests", "no number")
            client.lpush("coe:tenant:acme:strong", "no number")
        shop.clock.advance(60)
        assert await alternately((shop,), 1, "acme") == ["big"]
        await close(shop)

    run(scenario())


def test_the_scripts_are_there_before_the_first_request(
    hurt: Callable[..., Shop], redis_server: Any, run: Run
) -> None:
    async def scenario() -> None:
        shop = hurt("requests_per_minute: 5")
        await shop.tenants.start()
        with redis_server.client() as client:
            assert client.script_exists(*(each.sha for each in SCRIPTS)) == [True] * 3
        await close(shop)

    run(scenario())


def test_starting_without_redis_is_noted(
    hurt: Callable[..., Shop], redis_server: Any, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        shop = hurt("requests_per_minute: 5")
        redis_server.kill()
        await shop.tenants.start()
        await shop.ask()
        await close(shop)

    run(scenario())
    assert "redis_away endpoint=127.0.0.1:" in caplog.text


def test_the_password_is_never_shown(caplog: pytest.LogCaptureFixture, run: Run) -> None:
    url = "redis://user:hunter2-hunter2@127.0.0.1:9/0"

    async def scenario() -> None:
        shared = SharedLimits(url, time.monotonic, failures=1)
        with caplog.at_level(logging.DEBUG):
            assert await shared.ask(ENTER, ["a", "b", "c", "d"], [1, 0, 0, -1, 0]) is None
        await shared.aclose()

    run(scenario())
    assert "redis_away endpoint=127.0.0.1:9" in caplog.text
    assert "hunter2" not in caplog.text
    with pytest.raises(ConfigError) as caught:
        SharedLimits("nonsense://hunter2", time.monotonic)
    assert "hunter2" not in str(caught.value)


# --- the scripts do what the process does


def test_redis_and_the_process_agree(redis_url: str, tenant: str, open_shop: Open, run: Run) -> None:
    """The same requests, limited here and limited there, are admitted alike."""

    async def scenario() -> None:
        policy = "requests_per_minute: 20, tokens_per_minute: 100"
        text = EXPERTS + f"    {tenant}: {{{policy}}}\n"
        here, there = open_shop(text), open_shop(text, redis=redis_url)
        await there.tenants.start()
        for wanted in (10, 30, 90, 0, 20, 70, 5, 40, 1, 1, 1, 1, 95, 0, 0, 30):
            told: list[str] = []
            for shop in (here, there):
                try:
                    guard = shop.tenants.guard(tenant)
                    await shop.engine.complete(
                        chat(PROMPT, max_tokens=wanted or None), context(tenant=tenant), guard=guard
                    )
                    told.append("admitted")
                except RateLimited as error:
                    told.append(str(error).split("Try")[0])
            assert told[0] == told[1], wanted
        await close(here, there)

    run(scenario())


def test_keys_expire_in_redis(redis_server: Any, open_shop: Open, run: Run) -> None:
    async def scenario() -> None:
        policy = (
            "requests_per_minute: 9, tokens_per_minute: 99, budget_usd: {amount: 50, per: day}, "
            "strong_share: {experts: [big], max_share: 0.5, window: 10}"
        )
        shop = open_shop(EXPERTS + f"    acme: {{{policy}}}\n", redis=redis_server.url)
        await alternately((shop,), 2, "acme", prompt=PROMPT, max_tokens=2)
        await close(shop)
        with redis_server.client() as client:
            keys = {key.decode(): client.ttl(key) for key in client.scan_iter()}
        assert set(keys) == {
            f"coe:tenant:acme:{each}" for each in ("requests", "tokens", "count", "strong", "usd:2026-03-09")
        }
        assert all(ttl > 0 for ttl in keys.values())
        assert keys["coe:tenant:acme:requests"] <= 60

    run(scenario())
