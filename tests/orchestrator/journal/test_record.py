"""Records and their lines."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from coe.journal import SCHEMA, Record, session_hash
from coe.journal._record import decode, encode

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
