"""Nothing that cannot serve a request is ever a candidate."""

from __future__ import annotations

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from coe.contracts import Capability, Card, ExpertState, Features
from coe.pool import eligible
from coe.testing import pool_view

capabilities = st.frozensets(st.sampled_from(get_args(Capability)))


@st.composite
def states(draw: st.DrawFn) -> list[ExpertState]:
    return [
        ExpertState(
            Card(
                name=f"e{number}",
                capabilities=draw(capabilities),
                context_window=draw(st.none() | st.integers(1, 100)),
            ),
            healthy=draw(st.booleans()),
        )
        for number in range(draw(st.integers(0, 5)))
    ]


@given(states(), capabilities, st.integers(0, 120))
def test_the_pool_is_split_exactly(
    experts: list[ExpertState], required: frozenset[Capability], tokens: int
) -> None:
    view = pool_view(*experts)
    fit, excluded = eligible(Features(text="", required=required, tokens=tokens), view)
    assert [*fit.experts] == [name for name in view.experts if name in fit.experts]
    assert {*fit.experts} | {each.expert for each in excluded} == {*view.experts}
    assert not {*fit.experts} & {each.expert for each in excluded}
    for state in fit.experts.values():
        assert state.healthy
        assert required <= state.card.capabilities
        assert state.card.context_window is None or tokens <= state.card.context_window
    assert all(each.why for each in excluded)


def test_the_reason_names_the_requirement() -> None:
    view = pool_view(
        Card(name="blind"),
        Card(name="small", capabilities=frozenset({"chat", "vision"}), context_window=10),
        ExpertState(Card(name="down", capabilities=frozenset({"chat", "vision"})), healthy=False),
        Card(name="fit", capabilities=frozenset({"chat", "vision"})),
    )
    fit, excluded = eligible(Features(text="", required=frozenset({"chat", "vision"}), tokens=11), view)
    assert [*fit.experts] == ["fit"]
    assert [each.why for each in excluded] == [
        "cannot do vision",
        "has a context window of 10 tokens; the request needs about 11",
        "keeps failing and is left alone",
    ]


def test_a_view_of_fewer_experts_has_another_digest() -> None:
    view = pool_view("a", "b", Card(name="c", capabilities=frozenset({"chat", "vision"})))
    text = Features(text="")
    same, _ = eligible(text, view)
    fewer, _ = eligible(Features(text="", required=frozenset({"vision"})), view)
    assert same is view
    assert fewer.digest != view.digest
