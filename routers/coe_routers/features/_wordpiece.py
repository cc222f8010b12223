"""BERT's uncased WordPiece in plain Python, with a memory of what stood between spaces before."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

_CACHED_CHUNKS = 32_768
_MAX_WORD_CHARS = 100
_CACHED_CHARACTERS = 8192
_IDEOGRAPHS = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)


class _Characters(dict[int, str]):
    """What becomes of each character, learned as characters occur; a table for `str.translate`."""

    def __missing__(self, code: int) -> str:
        if len(self) >= _CACHED_CHARACTERS:
            self.clear()
        replaced = self[code] = _replaced(code)
        return replaced


class WordPiece:
    """Splits text into vocabulary rows as `BertNormalizer` + `BertPreTokenizer` + `WordPiece` do.

    Args:
        vocabulary: token to row; tokens that continue a word start with `##`.
    """

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        self._vocabulary = vocabulary
        self._known: dict[str, tuple[int, ...]] = {}

    def rows(self, text: str) -> list[int]:
        """Rows of the text's tokens in order; a word without any known piece gives none."""
        known = self._known
        rows: list[int] = []
        for chunk in text.split():
            pieces = known.get(chunk)
            rows += self._learn(chunk) if pieces is None else pieces
        return rows

    def _learn(self, chunk: str) -> tuple[int, ...]:
        pieces = tuple(row for word in _split(chunk) for row in self._pieces(word))
        if len(chunk) <= _MAX_WORD_CHARS:
            if len(self._known) >= _CACHED_CHUNKS:
                self._known.clear()
            self._known[chunk] = pieces
        return pieces

    def _pieces(self, word: str) -> Sequence[int]:
        """Longest match first from the left; nothing when a part of the word is unknown."""
        if len(word) > _MAX_WORD_CHARS:
            return ()
        pieces: list[int] = []
        start = 0
        while start < len(word):
            prefix = "##" if start else ""
            for end in range(len(word), start, -1):
                row = self._vocabulary.get(prefix + word[start:end])
                if row is not None:
                    pieces.append(row)
                    start = end
                    break
            else:
                return ()
        return pieces


def _replaced(code: int) -> str:
    """Nothing for accents and control characters; punctuation and ideographs become words of their own."""
    character = chr(code)
    category = unicodedata.category(character)
    if character.isspace():
        return " "
    if category in {"Mn", "Cc", "Cf", "Cn", "Co", "Cs"} or code == 0xFFFD:
        return ""
    alone = (character.isascii() and not character.isalnum()) or category.startswith("P")
    return f" {character} " if alone or any(low <= code <= high for low, high in _IDEOGRAPHS) else character


_CHARACTERS = _Characters()


def _split(text: str) -> list[str]:
    """Words, punctuation marks and ideographs of any text, in lower case and without accents."""
    return unicodedata.normalize("NFD", text).translate(_CHARACTERS).lower().split()
