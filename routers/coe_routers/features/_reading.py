"""A text folded to bytes, and its words as 64-bit hashes: read once, for n-grams and for token vectors.

Words have no fixed length: their hash is a polynomial modulo 2^64 taken from one prefix sum,
`(S[end] - S[start]) * B^-start`, so that no Python loop runs over the words.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_BYTES = 1 << 17

_SPACES = b" \t\n\v\f\r\x1c\x1d\x1e\x1f"
_BASE = 0x100000001B3
# Arrays without dimensions: an operation with one is cheaper than with a scalar.
_MIX = np.array(0xD6E8FEB86659FD93, np.uint64)
_HALF = np.array(32, np.uint64)
_ASCII = bytes(range(128))
_FOLDED = bytes(ord(" ") if code in _SPACES else ord(chr(code).lower()) for code in _ASCII) + bytes(
    range(128, 256)
)
"""What becomes of each ASCII byte: lower case, and one kind of white space."""
_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
_WORD_BYTE = bytes(
    code >= 0x80 or chr(code).isdigit() or "a" <= chr(code) <= "z" or chr(code) == "_" for code in range(256)
)
"""1 for every byte that belongs to a word; all bytes of characters beyond ASCII do."""


class Words(NamedTuple):
    """The words of a text.

    Attributes:
        hashes: uint64[k].
        before: int64[k], place of the byte before each word.
        last: int64[k], place of each word's last byte.
    """

    hashes: NDArray[np.uint64]
    before: NDArray[np.int64]
    last: NDArray[np.int64]


@dataclass(frozen=True)
class Reading:
    """A text as features see it.

    Attributes:
        text: as it came.
        lowered: UTF-8 in lower case, runs of white space as one space, a space at both ends.
        whole: False when `lowered` lost something: it was cut, or held what UTF-8 cannot say.
    """

    text: str
    lowered: bytes
    whole: bool

    @cached_property
    def folded(self) -> bytes:
        """`lowered` with every digit as 0; of the same length."""
        return self.lowered.translate(_DIGITS_TO_ZERO)

    @cached_property
    def words(self) -> Words:
        """The words of `folded`."""
        return hash_words(self.folded)


def read(text: str) -> Reading:
    """Fold a text.

    Case, digits and runs of white space are folded: `17*23` and `40*51` are the same kind of prompt.
    """
    return Reading(text, *_lowered(text))


def hash_words(data: bytes) -> Words:
    """The words of `Reading.folded`."""
    inside = np.frombuffer(data.translate(_WORD_BYTE), np.uint8)
    edges: NDArray[np.int64] = (inside[1:] != inside[:-1]).nonzero()[0]
    # The text starts and ends with a space, so edges come in pairs: before a word, and at its last byte.
    before, last = edges[0::2], edges[1::2]
    length = len(data)
    forward, inverse = _POWERS.upto(length)
    sums = np.frombuffer(data, np.uint8) * forward[:length]
    at = np.add.accumulate(sums, out=sums).take(edges)
    hashes = at[1::2] - at[0::2]
    hashes *= inverse.take(before)
    return Words(mixed(hashes), before, last)


def mixed(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread the entropy of uint64[k] to the upper bits, in place."""
    hashes ^= hashes >> _HALF
    hashes *= _MIX
    return hashes


def _lowered(text: str) -> tuple[bytes, bool]:
    whole = True
    try:
        encoded = text.encode()
        simple = text.isascii() or _caseless(encoded)
    except UnicodeEncodeError:
        encoded, whole, simple = b"", False, False
    if simple:
        lowered = encoded.translate(_FOLDED)
        while b"  " in lowered:
            lowered = lowered.replace(b"  ", b" ")
        lowered = lowered.strip(b" ")
    else:
        lowered = " ".join(text.lower().split()).encode("utf-8", "replace")
    if len(lowered) > MAX_BYTES:
        lowered, whole = lowered[:MAX_BYTES], False
    # Spaces at both ends mark the first and the last word.
    return b" %b " % lowered, whole


def _caseless(encoded: bytes) -> bool:
    """Whether no character beyond ASCII is white space or has two cases: few have, and few texts hold one."""
    rest = encoded.translate(None, _ASCII).decode()
    return "".join(rest.split()) == rest == rest.lower()


class _Powers:
    """Powers of the base from 0 on and of its inverse from 1 on, grown to the longest text seen."""

    def __init__(self) -> None:
        self.forward = np.empty(0, np.uint64)
        self.inverse = np.empty(0, np.uint64)

    def upto(self, length: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Both tables with at least `length` powers."""
        if len(self.forward) < length:
            size = max(4096, 1 << (length - 1).bit_length())
            forward, inverse = _powers(_BASE, size), _powers(pow(_BASE, -1, 1 << 64), size + 1)[1:]
            # The shorter table last: another thread that sees `forward` grown finds both.
            self.inverse, self.forward = inverse, forward
        return self.forward, self.inverse


def _powers(base: int, size: int) -> NDArray[np.uint64]:
    factors = np.full(size, base, np.uint64)
    factors[0] = 1
    return np.cumprod(factors, dtype=np.uint64)


_POWERS = _Powers()
