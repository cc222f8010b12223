"""Places and queues, under every order of coming, going and giving up."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from coe.pool._gate import Gate

LIMIT, QUEUE = 2, 3


class Places(RuleBasedStateMachine):
    """Requests come, leave and are cancelled; the gate must agree with a list at every moment."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.gate = Gate(LIMIT, QUEUE)
        self.inside: list[int] = []
        self.waiting: list[tuple[int, asyncio.Task[bool]]] = []
        self.count = 0

    def teardown(self) -> None:
        for _, task in self.waiting:
            task.cancel()
        self.turn()
        self.loop.close()

    def turn(self) -> None:
        for _ in range(4):
            self.loop.run_until_complete(asyncio.sleep(0))

    @rule()
    def come(self) -> None:
        self.count += 1
        task = self.loop.create_task(self.gate.enter(60))
        self.turn()
        if len(self.inside) < LIMIT:
            assert task.result()
            self.inside.append(self.count)
        elif len(self.waiting) < QUEUE:
            assert not task.done()
            self.waiting.append((self.count, task))
        else:
            assert not task.result()

    @precondition(lambda self: self.inside)
    @rule(data=st.data())
    def leave(self, data: Any) -> None:
        self.inside.remove(data.draw(st.sampled_from(self.inside)))
        self.gate.leave()
        self.let_in()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), in_the_same_turn=st.booleans())
    def give_up(self, data: Any, in_the_same_turn: bool) -> None:
        number, task = data.draw(st.sampled_from(self.waiting))
        if in_the_same_turn:
            # A place comes just when it gives up: whichever happens first, the place is not lost.
            self.inside.pop()
            if data.draw(st.booleans()):
                self.gate.leave()
                task.cancel()
            else:
                task.cancel()
                self.gate.leave()
        else:
            task.cancel()
        self.turn()
        assert task.cancelled()
        self.waiting = [each for each in self.waiting if each[0] != number]
        if in_the_same_turn:
            self.let_in()

    def let_in(self) -> None:
        self.turn()
        if self.waiting:
            number, task = self.waiting.pop(0)
            assert task.result()
            self.inside.append(number)

    @invariant()
    def agrees(self) -> None:
        assert self.gate.inside == len(self.inside)
        assert self.gate.waiting == len(self.waiting)


TestPlaces = Places.TestCase
TestPlaces.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_who_waits_too_long_is_turned_away_and_takes_no_place() -> None:
    async def main() -> None:
        gate = Gate(1, 1)
        assert await gate.enter(1)
        assert not await gate.enter(0.001)
        assert (gate.inside, gate.waiting) == (1, 0)
        gate.leave()
        assert gate.inside == 0

    asyncio.run(main())
