"""The quick way to a text's tokens against `WordPiece` word by word: the same rows, in another order."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from coe_routers._compiled import NATIVE
from coe_routers.features import StaticEmbedder, read
from coe_routers.features._token_rows import CompiledTokenRows, TokenRows
from coe_routers.features._wordpiece import WordPiece

VOCABULARY = StaticEmbedder.load().vocabulary


def both(vocabulary: Sequence[str]) -> list[TokenRows | CompiledTokenRows]:
    """In numpy, and compiled where there is a compiler."""
    plain = TokenRows(vocabulary)
    return [plain] if NATIVE is None else [plain, CompiledTokenRows(NATIVE, vocabulary)]


QUICK = both(VOCABULARY)
WHOLE = WordPiece({token: row for row, token in enumerate(VOCABULARY)})

CODE = "def f(x_1: list[int]) -> bool:\n\treturn x_1[0] == 0xFF and not {'a': 2**8}  # naïve"
WORDS = st.sampled_from(
    ["The", "playing", "don't", "17*23", "a_b", "x", "“quoted”", "naïve", "ΟΔΟΣ", "機械", "ﬁ"]
)


@settings(max_examples=150)
@given(
    st.text()
    | st.text(st.characters(max_codepoint=127))
    | st.lists(WORDS | st.text(max_size=3)).map(" ".join)
    | st.lists(WORDS | st.characters()).map("".join)
)
@example("")
@example(CODE)
@example("the\x00play\x7fing")
@example("ΑΣ'Α ΟΔΟΣ")
@example("lone \ud800 surrogate")
@example("İstanbul ǅ K Å \u00a0 \u2003 \u0085 ４５ e\u0301")
@example("a" * 101 + " " + "play" * 26 + " unbelievableness" * 9)
@example("the play " * 20_000)
def test_equals_wordpiece(text: str) -> None:
    expected = Counter(WHOLE.rows(text).tolist())
    for quick in QUICK:
        assert Counter(quick.rows(read(text)).tolist()) == expected


@pytest.mark.parametrize("vocabulary", [["the"], ["##s", "[UNK]"], [], ["the", "the"], ["a" * 101, "."]])
def test_any_vocabulary_will_do(vocabulary: list[str]) -> None:
    text = f"the (theS). {'a' * 101}"
    whole = WordPiece({token: row for row, token in enumerate(vocabulary)})
    expected = Counter(vocabulary[row] for row in whole.rows(text))
    for quick in both(vocabulary):
        rows = quick.rows(read(text))
        assert rows.dtype == np.int32
        assert Counter(vocabulary[row] for row in rows) == expected


def test_every_word_of_the_vocabulary_is_found() -> None:
    words = [token for token in VOCABULARY if token.isascii() and token.isalpha() and token.islower()]
    for start in range(0, len(words), 1000):
        some = words[start : start + 1000]
        for quick in QUICK:
            found = quick.rows(read(" ".join(some)))
            assert Counter(VOCABULARY[row] for row in found) == Counter(some)
