"""The expert: arithmetic in, the exact result out."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import msgspec
from pydantic import BaseModel, Field

from coe.contracts import Build, Card, Context, Reply
from coe.errors import ExpertRejected
from coe.wire import ChatRequest, Usage, last_user_text
from coe_calculator._arithmetic import NoArithmetic, evaluate, find, written


class CalculatorSettings(BaseModel):
    """How the result is put."""

    template: str = Field(
        default="{expression} = {result}",
        description="The answer; {expression} and {result} are filled in.",
    )


def create_calculator(name: str, settings: CalculatorSettings, build: Build) -> Calculator:
    """The plugin's factory."""
    defaults = Card(
        name=name,
        # No `tools`, `vision` or `json_schema`: a request that needs them is never sent here.
        capabilities=frozenset({"chat", "stream"}),
        params_b=0,
        active_params_b=0,
        input_usd_per_mtok=0,
        output_usd_per_mtok=0,
        domains=("arithmetic",),
        locality="local",
        description="Does arithmetic exactly.",
    )
    return Calculator(build.card(defaults), settings)


class Calculator:
    """Answers the sum in the last user turn, and refuses what holds none."""

    def __init__(self, card: Card, settings: CalculatorSettings) -> None:
        self._card = card
        self._template = settings.template

    @property
    def card(self) -> Card:
        """Its declared facts."""
        return self._card

    async def complete(self, request: ChatRequest, context: Context) -> Reply:
        """Calculate. Raises `ExpertRejected` when there is nothing to calculate."""
        prompt = last_user_text(request.body)
        try:
            expression = find(prompt)
            result = written(evaluate(expression))
        except NoArithmetic as error:
            raise ExpertRejected(
                f"`{self._card.name}` only does arithmetic, and {error}.",
                status=422,
                expert=self._card.name,
                param="messages",
            ) from None
        answer = self._template.replace("{expression}", expression).replace("{result}", result)
        usage = _usage(len(prompt.split()), len(answer.split()))
        if request.body.stream:
            return Reply(chunks=self._stream(answer, context.request_id), usage=usage)
        message = {"role": "assistant", "content": answer}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        body = self._object("chat.completion", context.request_id, choice)
        return Reply(body=msgspec.json.encode({**body, "usage": usage}), usage=usage)

    async def aclose(self) -> None:
        """Nothing to free."""

    async def _stream(self, answer: str, request_id: str) -> AsyncGenerator[bytes, None]:
        deltas: list[tuple[dict[str, str], str | None]] = [
            ({"role": "assistant", "content": answer}, None),
            ({}, "stop"),
        ]
        for delta, reason in deltas:
            choice = {"index": 0, "delta": delta, "finish_reason": reason}
            chunk = self._object("chat.completion.chunk", request_id, choice)
            yield b"data: " + msgspec.json.encode(chunk) + b"\n\n"
        yield b"data: [DONE]\n\n"

    def _object(self, kind: str, request_id: str, choice: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{request_id}",
            "object": kind,
            "created": 0,
            "model": self._card.name,
            "choices": [choice],
        }


def _usage(prompt: int, completion: int) -> Usage:
    # A calculator has no tokenizer: words are the nearest thing, and cost nothing.
    return Usage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)
