"""`${NAME}` and `${file:PATH}`."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.config._expand import ExpandError, expand

HERE = Path("/nowhere")
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A}", "one"),
        ("x${A}y${B}z", "xoneytwoz"),
        ("$A", "$A"),
        ("$$", "$$"),
        ("$${A}", "${A}"),
        ("$$${A}", "$${A}"),
        ("{A}", "{A}"),
        ("", ""),
    ],
)
def test_placeholders_are_replaced(text: str, value: str) -> None:
    assert expand(text, {"A": "one", "B": "two"}, HERE)[0] == value


def test_replacements_are_reported() -> None:
    assert expand("${A}-${A}-$${B}", {"A": "one"}, HERE)[1] == (("${A}", "one"), ("${A}", "one"))


def test_a_replacement_is_not_expanded_again() -> None:
    assert expand("${A}", {"A": "${B}", "B": "no"}, HERE)[0] == "${B}"


@pytest.mark.parametrize("text", ["${", "${A", "${}", "${1A}", "${A:-x}", "${A B}", "${${A}}"])
def test_anything_else_after_the_sign_is_an_error(text: str) -> None:
    with pytest.raises(ExpandError, match=r"Write `\$\$\{` for a literal"):
        expand(text, {"A": "one"}, HERE)


def test_an_unset_variable_is_named() -> None:
    with pytest.raises(ExpandError, match="environment variable `OPENAI_KEY` is not set"):
        expand("${OPENAI_KEY}", {}, HERE)


@pytest.mark.parametrize(
    ("content", "value"), [("s3cret\n", "s3cret"), ("a\n\n", "a\n"), ("a\r\n", "a"), ("", "")]
)
def test_a_file_is_read_without_its_last_newline(tmp_path: Path, content: str, value: str) -> None:
    (tmp_path / "key").write_text(content, newline="")
    assert expand("${file:key}", {}, tmp_path)[0] == value
    assert expand(f"${{file:{tmp_path / 'key'}}}", {}, HERE)[0] == value


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 65_537)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name, message in (
        ("absent", "`absent` is not a file"),
        (".", "`.` is not a file"),
        ("/dev/zero", "`/dev/zero` is not a file"),
        ("large", "`large` is larger than 65536 bytes"),
        ("binary", "`binary` is not UTF-8 text"),
        ("x" * 5000, "cannot be read"),
    ):
        with pytest.raises(ExpandError, match=message):
            expand(f"${{file:{name}}}", {}, tmp_path)


@given(st.text())
def test_escaped_text_is_itself(text: str) -> None:
    assert expand(text.replace("${", "$${"), {}, HERE) == (text, ())


@given(st.dictionaries(NAMES, st.text(), min_size=1), st.data())
def test_any_value_of_any_variable_is_put_in(environ: dict[str, str], data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(environ))))
    text = " ".join(f"${{{name}}}" for name in names)
    assert expand(text, environ, HERE)[0] == " ".join(environ[name] for name in names)
