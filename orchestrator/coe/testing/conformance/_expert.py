"""What every expert that answers chats must do."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar, TypeVar, cast, get_args

import pytest

from coe.contracts import Capability, Card, Context, Expert, ExpertKind, Reply, Startable
from coe.errors import ExpertError, ExpertTimeout
from coe.testing._collect import Collected, collect, events
from coe.testing._make import chat, context
from coe.wire import ChatRequest

T = TypeVar("T")
FINISH_REASONS = ("stop", "length", "tool_calls", "content_filter", "function_call")


class ExpertConformance:
    """Checks of an `Expert`. Override `make`; the rest where it applies.

    Attributes:
        prompts: user messages that get an answer, each a different one.
        deterministic: whether the same prompt gets the same answer every time.
        fields: further fields of every request, for example `{"temperature": 0, "max_tokens": 16}`.
        timeout_s: longest time for one check, in seconds.
    """

    prompts: ClassVar[Sequence[str]] = tuple(f"Please repeat: nonce-{number:04x}" for number in range(16))
    deterministic: ClassVar[bool] = True
    fields: ClassVar[dict[str, Any]] = {}
    timeout_s: ClassVar[float] = 30

    @pytest.fixture
    def make(self) -> Callable[[], Expert]:
        """Makes a new expert. Called inside the event loop."""
        raise NotImplementedError("override the fixture `make`")

    @pytest.fixture
    def make_unreachable(self) -> Callable[[], Expert] | None:
        """Makes an expert whose backend cannot be reached; None for one without a backend."""
        return None

    @pytest.fixture
    def make_silent(self) -> Callable[[], Expert] | None:
        """Makes an expert whose backend takes requests and never answers; None for one without a backend."""
        return None

    # --- the card

    def test_is_an_expert(self, make: Callable[[], Expert]) -> None:
        """It has the members of the contract."""

        async def check(expert: Expert) -> None:
            assert isinstance(expert, Expert), f"{type(expert).__name__} lacks card, complete or aclose"

        self._with(make, check)

    def test_card_is_valid(self, make: Callable[[], Expert]) -> None:
        """Known words, no negative numbers, and the same card each time."""

        async def check(expert: Expert) -> None:
            card: Any = expert.card
            assert isinstance(card, Card)
            assert card.name, "a card needs a name"
            assert card.kind in get_args(ExpertKind)
            assert card.capabilities <= set(get_args(Capability)), "unknown capabilities"
            assert card.capabilities & {"chat", "score", "embed"}, "an expert can do something"
            assert card.context_window is None or card.context_window > 0
            for name in ("params_b", "active_params_b", "input_usd_per_mtok", "output_usd_per_mtok"):
                value: float | None = getattr(card, name)
                assert value is None or value >= 0, f"{name} is negative"
            if card.params_b is not None and card.active_params_b is not None:
                assert card.active_params_b <= card.params_b, "more active parameters than parameters"
            assert card == expert.card, "the card changes"

        self._with(make, check)

    # --- answers

    def test_answers_with_one_body(self, make: Callable[[], Expert]) -> None:
        """A request that is not streamed gets one chat.completion object."""

        async def check(expert: Expert) -> None:
            reply = await expert.complete(self._chat(self.prompts[0]), self._context())
            assert reply.chunks is None, "a request that was not streamed got a stream"
            assert isinstance(reply.body, bytes)
            completion = (await collect(reply)).objects[0]
            assert completion.get("object") == "chat.completion"
            assert isinstance(completion.get("model"), str), "`model` says who answered"
            choice = _only_choice(completion)
            assert choice.get("finish_reason") in FINISH_REASONS
            message = choice.get("message")
            assert isinstance(message, dict)
            assert cast("dict[str, Any]", message).get("role") == "assistant"
            _check_usage(reply, completion)
            assert reply.cost_usd is None or reply.cost_usd >= 0, "a call cannot cost less than nothing"

        self._with(make, check)

    def test_streams_whole_events(self, make: Callable[[], Expert]) -> None:
        """A streamed request gets chunk objects, the first piece holding a whole one, and `[DONE]` last."""

        async def check(expert: Expert) -> None:
            _need_streaming(expert)
            reply = await expert.complete(self._chat(self.prompts[0], stream=True), self._context())
            assert reply.body is None, "a streamed request got a body"
            got = await collect(reply)
            assert all(isinstance(piece, bytes) for piece in cast("list[Any]", got.pieces))
            first = got.pieces[0]
            end = max(first.rfind(b"\n\n") + 2, first.rfind(b"\r\n\r\n") + 4)
            assert events(first[:end]), f"the first piece holds no whole event: {first[:80]!r}"
            assert got.done, "the stream does not end with `data: [DONE]`"
            assert {chunk.get("object") for chunk in got.objects} == {"chat.completion.chunk"}
            assert len({chunk.get("id") for chunk in got.objects}) == 1, "the chunks of a stream share one id"
            reasons = [
                choice.get("finish_reason") for chunk in got.objects for choice in chunk.get("choices", [])
            ]
            ends = [reason for reason in reasons if reason is not None]
            assert len(ends) == 1, "exactly one chunk says why the stream ended"
            assert ends[0] in FINISH_REASONS

        self._with(make, check)

    def test_streams_what_it_would_say(self, make: Callable[[], Expert]) -> None:
        """Streamed or not, the answer is the same."""

        async def check(expert: Expert) -> None:
            _need_streaming(expert)
            self._need_determinism()
            for prompt in self.prompts[:3]:
                whole = await self._ask(expert, prompt)
                streamed = await self._ask(expert, prompt, stream=True)
                assert streamed.text == whole.text

        self._with(make, check)

    def test_leaves_the_payload_alone(self, make: Callable[[], Expert]) -> None:
        """The payload is shared with fallbacks and the journal: it is never changed in place."""

        async def check(expert: Expert) -> None:
            for stream in (False, *([True] if "stream" in expert.card.capabilities else [])):
                request = self._chat(self.prompts[0], stream=stream, user="somebody")
                before = copy.deepcopy(request.payload)
                await collect(await expert.complete(request, self._context()))
                assert request.payload == before, "the payload was changed"

        self._with(make, check)

    def test_understands_conversations(self, make: Callable[[], Expert]) -> None:
        """System messages, several turns and content in parts are answered."""

        async def check(expert: Expert) -> None:
            prompt = self.prompts[0]
            parts = [{"type": "text", "text": prompt}]
            conversations: list[list[dict[str, Any]]] = [
                [{"role": "system", "content": "Be brief."}, {"role": "user", "content": prompt}],
                [
                    {"role": "user", "content": self.prompts[1]},
                    {"role": "assistant", "content": "Done."},
                    {"role": "user", "content": prompt},
                ],
                [{"role": "user", "content": parts}],
            ]
            for messages in conversations:
                request = chat(messages, **self.fields)
                _only_choice((await collect(await expert.complete(request, self._context()))).objects[0])

        self._with(make, check)

    def test_accepts_common_fields(self, make: Callable[[], Expert]) -> None:
        """Sampling fields are honoured or ignored, not stumbled over."""

        async def check(expert: Expert) -> None:
            common: dict[str, Any] = {"temperature": 0, "top_p": 1, "max_tokens": 16, "seed": 1, "n": 1}
            request = self._chat(self.prompts[0], **common)
            _only_choice((await collect(await expert.complete(request, self._context()))).objects[0])

        self._with(make, check)

    def test_concurrent_requests_do_not_mix(self, make: Callable[[], Expert]) -> None:
        """Asked all at once, each prompt gets the answer that it gets alone."""

        async def check(expert: Expert) -> None:
            self._need_determinism()
            streamed = "stream" in expert.card.capabilities
            asked = [(prompt, bool(number % 2) and streamed) for number, prompt in enumerate(self.prompts)]
            alone = [(await self._ask(expert, prompt, stream=stream)).text for prompt, stream in asked]
            assert len(set(alone)) > 1, "every prompt got the same answer: override `prompts`"
            together = await asyncio.gather(
                *(self._ask(expert, prompt, stream=stream) for prompt, stream in asked)
            )
            assert [each.text for each in together] == alone, "answers went to the wrong requests"

        self._with(make, check)

    # --- stopping

    def test_a_stream_may_be_closed_early(self, make: Callable[[], Expert]) -> None:
        """Closing the iterator cancels the call, and the expert goes on serving."""

        async def check(expert: Expert) -> None:
            _need_streaming(expert)
            reply = await expert.complete(self._chat(self.prompts[0], stream=True), self._context())
            chunks = reply.chunks
            assert chunks is not None
            await anext(chunks)
            assert hasattr(chunks, "aclose"), "the iterator has no aclose(): write it as an async generator"
            await chunks.aclose()
            await self._ask(expert, self.prompts[1])

        self._with(make, check)

    def test_a_call_may_be_cancelled(self, make: Callable[[], Expert]) -> None:
        """Cancelling is not swallowed, and the expert goes on serving."""

        async def check(expert: Expert) -> None:
            task = asyncio.ensure_future(expert.complete(self._chat(self.prompts[0]), self._context()))
            await asyncio.sleep(0)
            task.cancel()
            (outcome,) = await asyncio.gather(task, return_exceptions=True)
            # An expert that answers without waiting is done before it can be cancelled.
            assert isinstance(outcome, asyncio.CancelledError | Reply), f"cancelling raised {outcome!r}"
            await self._ask(expert, self.prompts[1])

        self._with(make, check)

    def test_closes_twice(self, make: Callable[[], Expert]) -> None:
        """Closing again does no harm."""

        async def check(expert: Expert) -> None:
            await self._ask(expert, self.prompts[0])
            await expert.aclose()

        self._with(make, check)

    # --- failing

    @pytest.mark.parametrize("stream", [False, True])
    def test_an_unreachable_backend_is_an_expert_error(
        self, make_unreachable: Callable[[], Expert] | None, stream: bool
    ) -> None:
        """`complete` raises a retryable `ExpertError`, for a stream too, so that fallback is possible."""
        if make_unreachable is None:
            pytest.skip("no `make_unreachable`")

        async def check(expert: Expert) -> None:
            if stream:
                _need_streaming(expert)
            with pytest.raises(ExpertError) as caught:
                await expert.complete(self._chat(self.prompts[0], stream=stream), self._context())
            assert caught.value.retryable, "another expert may be asked when this one cannot be reached"
            assert caught.value.expert in (None, expert.card.name), "the error names another expert"

        self._with(make_unreachable, check, start=False)

    @pytest.mark.parametrize("stream", [False, True])
    def test_honours_the_deadline(self, make_silent: Callable[[], Expert] | None, stream: bool) -> None:
        """A backend that never answers costs no more than the deadline, and is an `ExpertTimeout`."""
        if make_silent is None:
            pytest.skip("no `make_silent`")

        async def check(expert: Expert) -> None:
            if stream:
                _need_streaming(expert)
            with pytest.raises(ExpertTimeout):
                await expert.complete(self._chat(self.prompts[0], stream=stream), context(timeout_s=0.2))

        self._with(make_silent, check)

    def test_a_silent_call_may_be_cancelled(self, make_silent: Callable[[], Expert] | None) -> None:
        """Cancelling a call that waits for its backend ends it at once."""
        if make_silent is None:
            pytest.skip("no `make_silent`")

        async def check(expert: Expert) -> None:
            task = asyncio.ensure_future(expert.complete(self._chat(self.prompts[0]), self._context()))
            await asyncio.sleep(0.05)
            assert not task.done(), "the backend was to be silent"
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        self._with(make_silent, check)

    # --- how the checks ask

    def _chat(self, prompt: str, **more: Any) -> ChatRequest:
        return chat(prompt, **{**self.fields, **more})

    def _context(self) -> Context:
        return context(timeout_s=self.timeout_s)

    async def _ask(self, expert: Expert, prompt: str, *, stream: bool = False) -> Collected:
        return await collect(await expert.complete(self._chat(prompt, stream=stream), self._context()))

    def _need_determinism(self) -> None:
        if not self.deterministic:
            pytest.skip("not deterministic")

    def _with(
        self, make: Callable[[], Expert], check: Callable[[Expert], Awaitable[None]], *, start: bool = True
    ) -> None:
        async def run() -> None:
            expert = make()
            try:
                if start and isinstance(expert, Startable):
                    await expert.start()
                async with asyncio.timeout(self.timeout_s):
                    await check(expert)
            finally:
                await expert.aclose()

        asyncio.run(run())


def _need_streaming(expert: Expert) -> None:
    if "stream" not in expert.card.capabilities:
        pytest.skip("does not declare `stream`")


def _only_choice(completion: dict[str, Any]) -> dict[str, Any]:
    choices: Any = completion.get("choices")
    assert isinstance(choices, list), "`choices` is a list"
    assert len(cast("list[Any]", choices)) == 1, "one choice, unless `n` asks for more"
    return cast("list[dict[str, Any]]", choices)[0]


def _check_usage(reply: Reply, completion: dict[str, Any]) -> None:
    usage: dict[str, int] | None = completion.get("usage")
    if usage is None:
        return
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    if reply.usage is not None:
        assert reply.usage.total_tokens == usage["total_tokens"], "`Reply.usage` and the body disagree"
