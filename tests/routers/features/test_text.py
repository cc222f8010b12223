from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from coe.contracts import Features, ToolFact
from coe_routers.features import MAX_CHARS, count_ngrams, read, routing_text, windows
from coe_routers.features._text import MAX_TOOLS, MAX_WINDOWS, WINDOW_CHARS
from coe_routers.features._tool_words import tool_words


def test_a_short_text_is_read_whole() -> None:
    text = "x" * MAX_CHARS
    assert windows(text) is text


def test_a_long_text_is_read_at_its_start_its_end_and_evenly_between() -> None:
    text = "".join(f"{number:07d} " for number in range(20_000))
    pieces = windows(text).split("\n")
    assert len(pieces) == MAX_WINDOWS
    assert all(len(piece) == WINDOW_CHARS for piece in pieces)
    assert text.startswith(pieces[0])
    assert text.endswith(pieces[-1])
    starts = [text.index(piece) for piece in pieces]
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    assert max(gaps) - min(gaps) <= 1


@given(st.text(max_size=50), st.integers(0, 400))
def test_the_work_is_bounded(text: str, repeat: int) -> None:
    assert len(windows(text * repeat)) <= MAX_CHARS + MAX_WINDOWS


def test_tools_are_read_only_when_asked_for() -> None:
    features = Features(text="Is it cold?", tools=(ToolFact("weather", "of a city"), ToolFact("search")))
    assert routing_text(features) == "Is it cold?"
    read = routing_text(features, tools=True)
    assert read.startswith("Is it cold?\n")
    assert "offersbbb" in read
    assert "weather of a city" in read
    assert routing_text(Features(text="Is it cold?"), tools=True) == "Is it cold?"


def test_the_work_of_a_thousand_tools_is_bounded() -> None:
    tools = tuple(ToolFact(f"tool_{number}") for number in range(1000))
    read = routing_text(Features(text="", tools=tools), tools=True)
    assert f"tool_{MAX_TOOLS - 1}" in read
    assert f"tool_{MAX_TOOLS} " not in read


def test_the_number_of_tools_survives_the_folding_of_digits() -> None:
    def buckets(count: int) -> list[int]:
        tools = tuple(ToolFact("", "") for _ in range(count))
        return count_ngrams(read(routing_text(Features(text="x", tools=tools), tools=True)))[0].tolist()

    assert buckets(1) != buckets(2) != buckets(3)
    assert buckets(8) == buckets(12)


def test_tools_that_fit_are_told_from_tools_that_do_not() -> None:
    text = "What is the area of a triangle with base 10?"
    fits = tool_words(text, [ToolFact("calculateTriangleArea", "Area of a triangle."), ToolFact("other")])
    strange = tool_words(text, [ToolFact("body_mass_index", "Index of weight and height.")])
    assert "namedbbyes" in fits
    assert "toldccyes" in fits
    assert "namedaano" in strange
    assert "told" in strange
    assert tool_words(text, []) == ""


@given(st.text(max_size=60), st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), max_size=9))
def test_any_tools_give_words(text: str, tools: list[tuple[str, str]]) -> None:
    words = tool_words(text, [ToolFact(*each) for each in tools])
    assert len(words.split()) == (9 if tools else 0)
