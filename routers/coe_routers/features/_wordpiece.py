"""BERT's uncased WordPiece in plain Python, with a memory of words already split."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

_ASCII_WORD = re.compile(r"[a-z0-9]+|[!-/:-@\[-`{-~]")
_CACHED_WORDS = 65_536
_MAX_WORD_CHARS = 100
_CJK = re.compile(
    "([\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U0002a6df\U0002a700-\U0002b73f"
    "\U0002b740-\U0002b81f\U0002b820-\U0002ceaf\uf900-\ufaff\U0002f800-\U0002fa1f])"
)


class WordPiece:
    """Splits text into vocabulary rows as `BertNormalizer` + `BertPreTokenizer` + `WordPiece` do.

    Args:
        vocabulary: token to row; tokens that continue a word start with `##`.
    """

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        self._vocabulary = vocabulary
        self._words: dict[str, tuple[int, ...]] = {}

    def rows(self, text: str) -> list[int]:
        """Rows of the text's tokens in order; a word without any known piece gives none."""
        words = _ASCII_WORD.findall(text.lower()) if text.isascii() else _split(text)
        known = self._words
        rows: list[int] = []
        for word in words:
            pieces = known.get(word)
            rows += self._learn(word) if pieces is None else pieces
        return rows

    def _learn(self, word: str) -> tuple[int, ...]:
        if len(self._words) >= _CACHED_WORDS:
            self._words.clear()
        pieces = self._words[word] = self._pieces(word)
        return pieces

    def _pieces(self, word: str) -> tuple[int, ...]:
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
        return tuple(pieces)


def _split(text: str) -> list[str]:
    """Words and single punctuation marks of a text that is not plain ASCII, without accents."""
    spaced = _CJK.sub(r" \1 ", "".join(map(_cleaned, text)))
    lowered = unicodedata.normalize("NFD", spaced.lower())
    bare = (mark for mark in lowered if unicodedata.category(mark) != "Mn")
    return "".join(f" {mark} " if _is_punctuation(mark) else mark for mark in bare).split()


def _cleaned(mark: str) -> str:
    if mark in "\t\n\r" or mark.isspace():
        return " "
    return "" if mark == "\ufffd" or unicodedata.category(mark) in {"Cc", "Cf", "Cn", "Co", "Cs"} else mark


def _is_punctuation(mark: str) -> bool:
    if mark.isascii():
        return not mark.isalnum() and not mark.isspace()
    return unicodedata.category(mark).startswith("P")
