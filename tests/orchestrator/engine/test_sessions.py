"""Which expert each session is with."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from coe.contracts import Decision
from coe.engine._sessions import TRUST_S, Sessions
from coe.testing import Clock, chat


class Shared:
    """A cache that replicas share."""

    def __init__(self) -> None:
        self.kept: dict[bytes, Decision] = {}
        self.asked = 0
        self.broken = False

    async def get(self, key: bytes) -> Decision | None:
        self.asked += 1
        if self.broken:
            raise OSError("away")
        return self.kept.get(key)

    async def set(self, key: bytes, decision: Decision, ttl_s: float) -> None:
        if self.broken:
            raise OSError("away")
        self.kept[key] = decision

    async def aclose(self) -> None: ...


def turns(*contents: str, system: str = "", model: str = "auto") -> Any:
    """A conversation: user and assistant in turn."""
    messages = [{"role": "system", "content": system}] if system else []
    messages += [
        {"role": ("user", "assistant")[number % 2], "content": content}
        for number, content in enumerate(contents)
    ]
    return chat(messages, model=model).body


def digest(sessions: Sessions, tenant: str, session: str | None, body: Any) -> bytes:
    key = sessions.key(tenant, session, body)
    assert key is not None
    return key.digest


def test_a_conversation_is_known_by_system_prompt_and_first_turn() -> None:
    sessions = Sessions(Clock())
    first = digest(sessions, "t", None, turns("hi", system="Be brief."))
    assert digest(sessions, "t", None, turns("hi", "ho", "and then?", system="Be brief.")) == first
    others = [
        digest(sessions, "t", None, turns("hi")),
        digest(sessions, "t", None, turns("hi!", system="Be brief.")),
        digest(sessions, "u", None, turns("hi", system="Be brief.")),
        digest(sessions, "t", None, turns("hi", system="Be brief.", model="other")),
        digest(sessions, "t", "hi", turns("hi", system="Be brief.")),
        digest(sessions, "t", None, turns("Be brief.hi")),
    ]
    assert len({first, *others}) == len(others) + 1


def test_a_conversation_that_begins_is_with_nobody() -> None:
    async def scenario() -> None:
        sessions = Sessions(Clock(), fingerprints=True)
        begins, goes_on = (sessions.key("t", None, turns(*said)) for said in (["hi"], ["hi", "ho", "x"]))
        assert begins is not None
        assert goes_on is not None
        await sessions.keep(begins, "a")
        assert await sessions.expert(begins) is None
        assert await sessions.expert(goes_on) == "a"

    asyncio.run(scenario())


def test_without_a_user_turn_there_is_no_conversation() -> None:
    assert Sessions(Clock()).key("t", None, chat([{"role": "system", "content": "x"}]).body) is None


def test_sessions_end_and_the_oldest_go_first() -> None:
    async def scenario() -> None:
        clock = Clock()
        sessions = Sessions(clock, ttl_s=100, most=2)
        keys = [sessions.key("t", name, turns("x")) for name in "abc"]
        a, b, c = (key for key in keys if key is not None)
        for key in (a, b, a, c):
            await sessions.keep(key, "e")
        assert [await sessions.expert(key) for key in (a, b, c)] == ["e", None, "e"]
        for _ in range(4):  # each request puts the end off
            clock.advance(51)
            await sessions.keep(a, "e")
        assert await sessions.expert(a) == "e"
        assert await sessions.expert(c) is None
        clock.advance(100)
        assert await sessions.expert(a) is None

    asyncio.run(scenario())


def test_replicas_hear_of_each_other_once_their_own_word_is_old() -> None:
    async def scenario() -> None:
        clock, shared = Clock(), Shared()
        one, two = (Sessions(clock, shared=shared) for _ in range(2))
        key = one.key("t", "s", turns("x"))
        assert key is not None
        await one.keep(key, "a")
        assert await two.expert(key) == "a"
        await two.keep(key, "b")
        assert await one.expert(key) == "a"
        asked = shared.asked
        clock.advance(TRUST_S)
        assert await one.expert(key) == "b"
        assert shared.asked == asked + 1

    asyncio.run(scenario())


@pytest.mark.parametrize("broken", [True, False])
def test_when_the_shared_cache_is_away_each_goes_by_what_it_knows(broken: bool) -> None:
    async def scenario() -> None:
        clock, shared = Clock(), Shared()
        sessions = Sessions(clock, shared=shared)
        key = sessions.key("t", "s", turns("x"))
        assert key is not None
        shared.broken = broken
        await sessions.keep(key, "a")
        shared.kept.clear()
        clock.advance(TRUST_S)
        assert await sessions.expert(key) == "a"

    asyncio.run(scenario())
