import asyncio

import pytest

from coe.contracts import Expert
from coe.errors import ExpertRejected
from coe.testing import build, chat, collect, context, create, load


def ask(expert: Expert, prompt: str, *, stream: bool = False) -> str:
    async def complete() -> str:
        return (await collect(await expert.complete(chat(prompt, stream=stream), context()))).text

    return asyncio.run(complete())


def test_answers_streamed_and_not() -> None:
    expert = create(load("coe.experts", "calculator"))
    assert ask(expert, "What is 12 * (3 + 4)?") == "12 * (3 + 4) = 84"
    assert ask(expert, "What is 12 * (3 + 4)?", stream=True) == "12 * (3 + 4) = 84"


def test_the_template_is_the_users() -> None:
    expert = create(load("coe.experts", "calculator"), settings={"template": "{result}!"})
    assert ask(expert, "6*7") == "42!"


def test_refuses_what_is_not_arithmetic() -> None:
    expert = create(load("coe.experts", "calculator"), "sums")
    with pytest.raises(ExpertRejected, match="`sums` only does arithmetic, and there is no") as caught:
        ask(expert, "Tell me a joke.")
    assert (caught.value.status, caught.value.expert, caught.value.param) == (422, "sums", "messages")


def test_says_that_it_is_free_and_what_it_cannot_do() -> None:
    card = create(load("coe.experts", "calculator"), build=build(card={"domains": ("sums",)})).card
    assert card.output_usd_per_mtok == 0
    assert card.capabilities == {"chat", "stream"}
    assert card.domains == ("sums",)
