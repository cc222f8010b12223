"""Experts with one defect each. `fails` names the checks of the kit that must notice, and no others."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, ClassVar

import pytest

from coe.contracts import Card, Context, Expert, Reply
from coe.errors import ExpertRejected, ExpertTimeout, ExpertUnavailable
from coe.testing.conformance import ExpertConformance
from coe.wire import ChatRequest, last_user_text


class Good:
    """Correct; each defect overrides one part."""

    name = "good"

    @property
    def card(self) -> Card:
        return Card(name=self.name)

    async def complete(self, request: ChatRequest, context: Context) -> Reply:
        text = await self.answer(request)
        if request.body.stream:
            return Reply(chunks=self.stream(text))
        return Reply(body=json.dumps(self.completion(text)).encode())

    async def answer(self, request: ChatRequest) -> str:
        return last_user_text(request.body)

    def completion(self, text: str) -> dict[str, Any]:
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {"object": "chat.completion", "model": self.name, "choices": [choice]}

    def stream(self, text: str) -> AsyncIterator[bytes]:
        return _send(self.pieces(text))

    def pieces(self, text: str) -> list[bytes]:
        return [_event({"content": text}), _event({}, "stop"), b"data: [DONE]\n\n"]

    async def aclose(self) -> None:
        pass


def _event(delta: dict[str, Any], finish: str | None = None, id: str = "1") -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return (
        b"data: %b\n\n"
        % json.dumps({"object": "chat.completion.chunk", "id": id, "choices": [choice]}).encode()
    )


async def _send(pieces: list[bytes]) -> AsyncGenerator[bytes, None]:
    for piece in pieces:
        yield piece


class _Kit(ExpertConformance):
    broken: ClassVar[type[Expert]] = Good
    fails: ClassVar[tuple[str, ...]] = ()
    timeout_s = 0.5

    @pytest.fixture
    def make(self) -> Callable[[], Expert]:
        return self.broken


class TestGood(_Kit):
    pass


class NegativePrice(Good):
    @property
    def card(self) -> Card:
        return Card(name="x", input_usd_per_mtok=-1)


class TestNegativePrice(_Kit):
    broken = NegativePrice
    fails = ("test_card_is_valid",)


class WrongObject(Good):
    def completion(self, text: str) -> dict[str, Any]:
        return {**super().completion(text), "object": "text_completion"}


class TestWrongObject(_Kit):
    broken = WrongObject
    fails = ("test_answers_with_one_body",)


class SumsWrong(Good):
    def completion(self, text: str) -> dict[str, Any]:
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 3}
        return {**super().completion(text), "usage": usage}


class TestSumsWrong(_Kit):
    broken = SumsWrong
    fails = ("test_answers_with_one_body",)


class AlwaysStreams(Good):
    async def complete(self, request: ChatRequest, context: Context) -> Reply:
        return Reply(chunks=self.stream(await self.answer(request)))


class TestAlwaysStreams(_Kit):
    broken = AlwaysStreams
    fails = ("test_answers_with_one_body",)


class NeverStreams(Good):
    async def complete(self, request: ChatRequest, context: Context) -> Reply:
        return Reply(body=json.dumps(self.completion(await self.answer(request))).encode())


class TestNeverStreams(_Kit):
    broken = NeverStreams
    fails = ("test_streams_whole_events", "test_a_stream_may_be_closed_early")


class NeverStreamsAndSaysSo(NeverStreams):
    @property
    def card(self) -> Card:
        return Card(name="x", capabilities=frozenset({"chat"}))


class TestNeverStreamsAndSaysSo(_Kit):
    broken = NeverStreamsAndSaysSo


class NoDone(Good):
    def pieces(self, text: str) -> list[bytes]:
        return super().pieces(text)[:-1]


class TestNoDone(_Kit):
    broken = NoDone
    fails = ("test_streams_whole_events",)


class NoReason(Good):
    def pieces(self, text: str) -> list[bytes]:
        return [piece for piece in super().pieces(text) if b'"stop"' not in piece]


class TestNoReason(_Kit):
    broken = NoReason
    fails = ("test_streams_whole_events",)


class CutsTheFirstEvent(Good):
    def pieces(self, text: str) -> list[bytes]:
        first, *rest = super().pieces(text)
        return [first[:9], first[9:], *rest]


class TestCutsTheFirstEvent(_Kit):
    broken = CutsTheFirstEvent
    fails = ("test_streams_whole_events",)


class TwoIds(Good):
    def pieces(self, text: str) -> list[bytes]:
        return [_event({"content": ""}, id="2"), *super().pieces(text)]


class TestTwoIds(_Kit):
    broken = TwoIds
    fails = ("test_streams_whole_events",)


class StreamsSomethingElse(Good):
    def pieces(self, text: str) -> list[bytes]:
        return super().pieces(text[:-1])


class TestStreamsSomethingElse(_Kit):
    broken = StreamsSomethingElse
    fails = ("test_streams_what_it_would_say",)


class TestStreamsSomethingElseAtRandom(_Kit):
    broken = StreamsSomethingElse
    deterministic = False


class ChangesThePayload(Good):
    async def answer(self, request: ChatRequest) -> str:
        request.payload["model"] = self.name
        return await super().answer(request)


class TestChangesThePayload(_Kit):
    broken = ChangesThePayload
    fails = ("test_leaves_the_payload_alone",)


class ReadsStringsOnly(Good):
    async def answer(self, request: ChatRequest) -> str:
        return request.payload["messages"][-1]["content"].strip()


class TestReadsStringsOnly(_Kit):
    broken = ReadsStringsOnly
    fails = ("test_understands_conversations",)


class DislikesFields(Good):
    async def answer(self, request: ChatRequest) -> str:
        if unknown := request.payload.keys() - {"model", "messages", "stream", "user"}:
            raise ExpertRejected(f"What is {unknown}?", status=400)
        return await super().answer(request)


class TestDislikesFields(_Kit):
    broken = DislikesFields
    fails = ("test_accepts_common_fields",)


class MixesAnswers(Good):
    async def answer(self, request: ChatRequest) -> str:
        self.last = await super().answer(request)
        await asyncio.sleep(0.001)
        return self.last


class TestMixesAnswers(_Kit):
    broken = MixesAnswers
    fails = ("test_concurrent_requests_do_not_mix",)


class SaysOneThing(Good):
    async def answer(self, request: ChatRequest) -> str:
        return "42"


class TestSaysOneThing(_Kit):
    """Not broken, but the kit cannot tell: it asks for other prompts."""

    broken = SaysOneThing
    fails = ("test_concurrent_requests_do_not_mix",)


class CannotBeClosed(Good):
    def stream(self, text: str) -> AsyncIterator[bytes]:
        return _Plain(iter(self.pieces(text)))


class _Plain:
    def __init__(self, pieces: Any) -> None:
        self.pieces = pieces

    def __aiter__(self) -> "_Plain":
        return self

    async def __anext__(self) -> bytes:
        for piece in self.pieces:
            return piece
        raise StopAsyncIteration


class TestCannotBeClosed(_Kit):
    broken = CannotBeClosed
    fails = ("test_a_stream_may_be_closed_early",)


class SwallowsCancelling(Good):
    async def answer(self, request: ChatRequest) -> str:
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            raise ExpertUnavailable("gone") from None
        return await super().answer(request)


class TestSwallowsCancelling(_Kit):
    broken = SwallowsCancelling
    fails = ("test_a_call_may_be_cancelled",)


class KeepsItsOnlySlot(Good):
    def __init__(self) -> None:
        self.slot = asyncio.Semaphore(1)

    async def answer(self, request: ChatRequest) -> str:
        await self.slot.acquire()
        await asyncio.sleep(0)
        self.slot.release()
        return await super().answer(request)


class TestKeepsItsOnlySlot(_Kit):
    broken = KeepsItsOnlySlot
    fails = ("test_a_call_may_be_cancelled",)


class ClosesOnce(Good):
    closed = False

    async def aclose(self) -> None:
        assert not self.closed
        self.closed = True


class TestClosesOnce(_Kit):
    broken = ClosesOnce
    fails = ("test_closes_twice",)


class _Unreachable(_Kit):
    @pytest.fixture
    def make_unreachable(self) -> Callable[[], Expert]:
        return self.unreachable

    unreachable: ClassVar[type[Expert]]


class LeaksOSErrors(Good):
    async def answer(self, request: ChatRequest) -> str:
        raise ConnectionRefusedError


class TestLeaksOSErrors(_Unreachable):
    unreachable = LeaksOSErrors
    fails = (
        "test_an_unreachable_backend_is_an_expert_error[False]",
        "test_an_unreachable_backend_is_an_expert_error[True]",
    )


class BlamesTheRequest(Good):
    async def answer(self, request: ChatRequest) -> str:
        raise ExpertRejected("no", status=400)


class TestBlamesTheRequest(_Unreachable):
    unreachable = BlamesTheRequest
    fails = TestLeaksOSErrors.fails


class FailsInTheStream(Good):
    async def answer(self, request: ChatRequest) -> str:
        if not request.body.stream:
            raise ExpertUnavailable("no", expert=self.name)
        return ""


class TestFailsInTheStream(_Unreachable):
    unreachable = FailsInTheStream
    fails = ("test_an_unreachable_backend_is_an_expert_error[True]",)


class _Silent(_Kit):
    @pytest.fixture
    def make_silent(self) -> Callable[[], Expert]:
        return self.silent

    silent: ClassVar[type[Expert]]


class WaitsInVain(Good):
    async def complete(self, request: ChatRequest, context: Context) -> Reply:
        try:
            async with asyncio.timeout(context.remaining_s()):
                await asyncio.Event().wait()
        except TimeoutError:
            raise ExpertTimeout("too late", expert=self.name) from None
        raise AssertionError


class TestWaitsInVain(_Silent):
    silent = WaitsInVain


class IgnoresTheDeadline(Good):
    async def answer(self, request: ChatRequest) -> str:
        return await asyncio.get_running_loop().create_future()


class TestIgnoresTheDeadline(_Silent):
    silent = IgnoresTheDeadline
    fails = ("test_honours_the_deadline[False]", "test_honours_the_deadline[True]")
