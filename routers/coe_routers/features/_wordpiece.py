"""BERT's uncased WordPiece, with a memory of what stood between spaces before."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CACHED_CHUNKS = 32_768
MAX_WORD_CHARS = 100
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


class WordPiece(dict[str | bytes, bytes]):
    """Splits text into vocabulary rows as `BertNormalizer` + `BertPreTokenizer` + `WordPiece` do.

    It is a dictionary of what stood between spaces, or of words in UTF-8, learned as texts come, to the rows
    as int32 bytes: so the loop over a text's words runs inside `bytes.join`.

    Args:
        vocabulary: token to row; tokens that continue a word start with `##`.
    """

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        super().__init__()
        self._vocabulary = vocabulary
        self._longest = max(map(len, vocabulary), default=0)

    def rows(self, text: str) -> NDArray[np.int32]:
        """Rows of the text's tokens in order, int32[n]; a word without any known piece gives none."""
        return np.frombuffer(b"".join(map(self.__getitem__, text.split())), np.int32)

    def rows_of(self, words: Iterable[bytes]) -> NDArray[np.int32]:
        """The same for a text that was cut into words, in UTF-8."""
        return np.frombuffer(b"".join(map(self.__getitem__, words)), np.int32)

    def __missing__(self, chunk: str | bytes) -> bytes:
        text = chunk if isinstance(chunk, str) else chunk.decode()
        rows = [row for word in _split(text) for row in self._pieces(word)]
        pieces = np.array(rows, np.int32).tobytes()
        if len(chunk) <= MAX_WORD_CHARS:
            if len(self) >= _CACHED_CHUNKS:
                self.clear()
            self[chunk] = pieces
        return pieces

    def _pieces(self, word: str) -> Sequence[int]:
        """Longest match first from the left; nothing when a part of the word is unknown."""
        if len(word) > MAX_WORD_CHARS:
            return ()
        pieces: list[int] = []
        start = 0
        while start < len(word):
            prefix = "##" if start else ""
            for end in range(min(len(word), start + self._longest), start, -1):
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
