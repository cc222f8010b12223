"""Records and their lines."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from coe.contracts import Decision, Excluded, Ranked, Reason
from coe.journal import SCHEMA, Attempt, Likely, Line, Record, session_hash
from coe.journal._record import Decided, decode, encode, encode_line

Make = Callable[..., Record]


def test_a_record_comes_back_from_its_line(record: Make) -> None:
    for each in (record(), record(7, prompt="zwei\nZeilen", error="x", streamed=True), bare()):
        line = encode(each)
        assert b"\n" not in line
        assert decode(line) == each


def test_every_field_is_in_every_line() -> None:
    line = encode(bare())
    assert all(f'"{name}":'.encode() in line for name in Record.__struct_fields__)
    assert b'"schema":%d' % SCHEMA in line


def test_a_line_and_its_decision_make_the_same_record() -> None:
    decision = Decision(
        expert="a",
        ranked=(Ranked("a", 0.5), Ranked("b")),
        reason=Reason.CATEGORY,
        category="coding",
        probabilities=(("coding", 0.75), ("math", 0.25)),
        uncertainty=0.3,
        excluded=(Excluded("c", "cannot do vision"),),
        revision="r",
        propensity=0.9,
    )
    line = Line(id="dec_1", time=1.5, status=200, total_us=3, model="auto", route_us=7, cache="hit")
    line.attempts = [Attempt("a", "", 0.1)]
    for _ in range(2):
        record = decode(encode_line(line, decision))
        assert record is not None
        assert (record.id, record.cache, record.chosen, record.propensity) == ("dec_1", "hit", "a", 0.9)
        assert record.categories == (Likely("coding", 0.75), Likely("math", 0.25))
        assert (record.ranked, record.excluded) == (decision.ranked, decision.excluded)
        assert record.attempts == (Attempt("a", "", 0.1),)
    assert decode(encode_line(Line(id="dec_1", time=1.5, status=400, total_us=3), None)) == bare()


def test_a_line_and_a_decision_have_the_fields_of_a_record() -> None:
    fields = [*Line.__struct_fields__, *Decided.__struct_fields__]
    assert sorted(fields) == sorted(Record.__struct_fields__)
    missing = Line(id="", time=0, status=0, total_us=0)
    defaults = {name: getattr(missing, name) for name in Line.__struct_fields__[5:]}
    assert all(
        getattr(bare(), name) == value
        for name, value in defaults.items()
        if name not in ("status", "total_us")
    )


def test_decisions_that_look_alike_are_told_apart() -> None:
    line = Line(id="dec_1", time=1.5, status=200, total_us=3)
    for number in range(3000):
        record = decode(encode_line(line, Decision(expert=f"e{number}", ranked=(), reason=Reason.CATEGORY)))
        assert record is not None
        assert record.chosen == f"e{number}"


def test_fields_of_a_later_version_are_ignored(record: Make) -> None:
    line = encode(record()).replace(b"{", b'{"colour":[1,{"a":2}],', 1)
    assert decode(line) == record()


@given(st.binary(max_size=200))
def test_no_bytes_make_decoding_raise(line: bytes) -> None:
    assert decode(line) is None


def test_deep_nesting_is_no_record() -> None:
    assert decode(b"[" * 100_000) is None


def test_a_session_has_one_name_per_tenant() -> None:
    name = session_hash("acme", "chat-7")
    assert name == session_hash("acme", "chat-7")
    assert len({name, session_hash("other", "chat-7"), session_hash("acme", "chat-8")}) == 3
    assert len(name) == 16
    assert "chat-7" not in name
    assert session_hash("t" * 100, "s") != session_hash("", "s")


def bare() -> Record:
    return Record(id="dec_1", time=1.5, status=400, total_us=3)
