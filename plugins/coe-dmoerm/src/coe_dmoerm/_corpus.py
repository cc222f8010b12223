"""What an answer shares with the way of saying of other prompts' answers, and of the texts that were given.

Counts of n-grams of one to four words, learnt in training, in hashed tables. An answer of the training data
is held against the counts of all prompts but its own: what is new is then as new as it will be in service.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LONGEST = 4
SLOTS = 1 << 17
FACTS = 14
"""Facts by one table."""
_WORDS = 5000.0  # that a table is thought not to know
_DOUBT = 2.0  # how many sightings of its beginning an n-gram's own share must outweigh
_RARE = -8.0

Grams = tuple["NDArray[np.int32]", ...]
"""Hashed n-grams of a text in order: those of one word, of two, of three, of four."""


def grams_of(tokens: Sequence[str]) -> Grams:
    """Hash the n-grams of a text, its two ends included."""
    fenced = ["<s>", *tokens, "</s>"]
    return tuple(
        np.array(
            [
                zlib.crc32(" ".join(gram).encode(errors="replace")) % SLOTS
                for gram in zip(*(fenced[at:] for at in range(n)), strict=False)
            ],
            np.int32,
        )
        for n in range(1, LONGEST + 1)
    )


def counted(texts: Iterable[Grams]) -> NDArray[np.float32]:
    """How often each n-gram comes, float32[4, SLOTS]."""
    found = np.zeros((LONGEST, SLOTS), np.float32)
    for grams in texts:
        add(found, grams, 1.0)
    return found


def add(table: NDArray[np.float32], grams: Grams, times: float) -> None:
    """Count a text in a table, or take it out again."""
    for row, own in zip(table, grams, strict=True):
        np.add.at(row, own, np.float32(times))


def facts_by(table: NDArray[np.float32], total: float, grams: Grams) -> list[float]:
    """How usual a text is: `FACTS` numbers.

    Args:
        table: float32[4, SLOTS].
        total: words in it.
        grams: of the text.
    """
    counts = [row[own].astype(np.float64) for row, own in zip(table, grams, strict=True)]
    facts: list[float] = []
    for known in counts[1:]:
        if len(known):
            seen = np.log1p(known)
            facts += [float(seen.mean()), float((known < 0.5).mean()), float(seen.min())]
        else:
            facts += [0.0, 0.0, 0.0]
    likely = _likelihoods(counts, total)
    least = np.sort(likely)[:3]
    facts += [float(likely.mean()), float(least[0]), float(likely.sum()) / 30]
    return [*facts, float(least.mean()), float((likely < _RARE).sum())]


def _likelihoods(counts: Sequence[NDArray[np.float64]], total: float) -> NDArray[np.float64]:
    """Log probability of each word after those before it; longer n-grams count as far as they are known."""
    found = (counts[0][1:] + 0.5) / (total + _WORDS)
    for n in range(1, LONGEST):
        joint = counts[n]
        if not len(joint):
            break
        before = counts[n - 1][:-1]
        trust = before / (before + _DOUBT)
        share = np.minimum(joint / np.maximum(before, 1.0), 1.0)
        found[n - 1 :] = trust * share + (1 - trust) * found[n - 1 :]
    return np.log(found)
