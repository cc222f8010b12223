"""Vocabulary rows of a text that was read: whole words by their hash, all at once; the rest by WordPiece."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from coe_routers._compiled import Native
from coe_routers.features._reading import Reading, hash_words
from coe_routers.features._wordpiece import MAX_WORD_CHARS, WordPiece

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROW_BITS = 20
_ROW_LIMIT = np.array(1 << _ROW_BITS, np.uint64)
_ROW_MASK = np.array((1 << _ROW_BITS) - 1, np.uint64)
_HASHED_AT_ONCE = 256
_NOTHING, _GIVE_UP = -1, -2
"""What characters give in `Native.token_rows` that have no row."""
_CONTROLS = bytes(
    code for code in range(128) if unicodedata.category(chr(code)) == "Cc" and not chr(code).isspace()
)
_MARKS = bytes(code for code in range(33, 127) if not chr(code).isalnum() and chr(code) != "_")


class TokenRows:
    """What `WordPiece` gives for a text, in another order: the words that are tokens of their own first.

    Words of the letters a to z that the vocabulary has as they are stand in one table under their hash: its
    upper bits choose the place, and an entry holds the upper 44 bits and the row. So the table is exact but
    for words that have those in common. Where two words share a place, the one with the lower row has it:
    vocabularies begin with what is frequent. Every other word goes through `WordPiece`.

    Args:
        vocabulary: the token of each row, at most `MOST`.
    """

    MOST = 1 << 20

    def __init__(self, vocabulary: Sequence[str]) -> None:
        rows = {token: row for row, token in enumerate(vocabulary)}
        self._split = WordPiece(rows)
        self._table, self._shift = _table(vocabulary)
        marks = bytes(code for code in _MARKS if chr(code) in rows)
        self._marks = np.array([rows.get(chr(code), 0) for code in range(128)], np.int32)
        self._keep_marks = bytes(set(range(256)).difference(marks, _CONTROLS))
        self._no_marks = marks

    def rows(self, reading: Reading) -> NDArray[np.int32]:
        """Rows of the text's tokens, int32[n]; words first, then punctuation."""
        marks = reading.lowered.translate(None, self._keep_marks)
        # Control characters join what stands around them, and the small sigma depends on it.
        if not reading.whole or marks.translate(None, self._no_marks) or "Σ" in reading.text:
            return self._split.rows(reading.text)
        words, starts, ends = reading.words
        entries = self._table.take((words >> self._shift).view(np.int64))
        found = (entries ^ words) < _ROW_LIMIT
        entries &= _ROW_MASK
        parts: list[NDArray[np.integer[Any]]] = [entries.view(np.int64)[found]]
        other = (~found).nonzero()[0]
        if len(other):
            before, last = starts.take(other).tolist(), ends.take(other).tolist()
            lowered = reading.lowered
            cut = [lowered[start + 1 : end + 1] for start, end in zip(before, last, strict=True)]
            parts.append(self._split.rows_of(cut))
        if marks:
            parts.append(self._marks.take(np.frombuffer(marks, np.uint8)))
        return np.concatenate(parts, dtype=np.int32, casting="same_kind")


class CompiledTokenRows:
    """The same rows by `native/tokens.c`: words of ASCII letters and digits; others by `WordPiece`.

    Args:
        native: the compiled loops.
        vocabulary: the token of each row, at most `MOST`.
    """

    MOST = 1 << 20

    def __init__(self, native: Native, vocabulary: Sequence[str]) -> None:
        rows = {token: row for row, token in enumerate(vocabulary)}
        self._native = native
        self.words = WordPiece(rows)
        self.table = native.token_table(vocabulary)
        self.marks = np.full(128, _NOTHING, np.int32)
        for code in _MARKS:
            self.marks[code] = rows.get(chr(code), _NOTHING)
        # Control characters join what stands around them.
        self.marks[list(_CONTROLS)] = _GIVE_UP

    def rows(self, reading: Reading) -> NDArray[np.int32]:
        """Rows of the text's tokens, int32[n], in its order."""
        found = None
        if self.lowered_suffices(reading):
            found = self._native.token_rows(reading.lowered, self.table, self.marks, self.words)
        return self.words.rows(reading.text) if found is None else np.frombuffer(found, np.int32)

    @staticmethod
    def lowered_suffices(reading: Reading) -> bool:
        """Whether the tokens follow from `Reading.lowered`, but for control characters.

        Which small sigma a capital one becomes depends on what stands around it.
        """
        return reading.whole and "Σ" not in reading.text


def _plain(token: str) -> bool:
    """Whether these are letters from a to z alone, and not too many. A third of the time of a pattern."""
    return token.isascii() and token.isalpha() and token.islower() and len(token) <= MAX_WORD_CHARS


def _table(vocabulary: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The table, uint64[2^b] with at least two places for each word, and 64 - b to shift a hash by."""
    rows = [row for row, token in enumerate(vocabulary[: 1 << _ROW_BITS]) if _plain(token)]
    bits = max(1, (2 * len(rows)).bit_length())
    table = np.zeros(1 << bits, np.uint64)
    shift = np.array(64 - bits, np.uint64)
    # From the last to the first: the one that is written last stays.
    for end in range(len(rows), 0, -_HASHED_AT_ONCE):
        some = rows[max(0, end - _HASHED_AT_ONCE) : end][::-1]
        words = hash_words(f" {' '.join(vocabulary[row] for row in some)} ".encode()).hashes
        table[(words >> shift).astype(np.int64)] = (words & ~_ROW_MASK) | np.array(some, np.uint64)
    return table, shift
