"""Defence of costly experts against words that make any prompt look like theirs.

Such words stand somewhere in the prompt, and the rest of it is what it was. So pieces of the prompt are
classified too, and a costly expert answers only if none of them clearly belongs to others. Measured by
benchmarks/confounder.py; docs/security.md has the figures.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from coe.contracts import Classifier, Features

PIECE_WORDS = 6
"""Shorter than the words that an attacker needs, so that these cannot be in all pieces."""
MAX_PIECES = 8
LEAST_SHARE = 0.06
"""Pieces say little: most of what they say of others is noise, unless they are nearly sure."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What it takes to be sent to a guarded expert.

    Attributes:
        experts: the guarded ones.
    """

    experts: frozenset[str]

    def holds(self, features: Features, classifier: Classifier, expert_of: Callable[[str], str]) -> bool:
        """Whether no piece of the prompt speaks against a guarded expert.

        Args:
            features: of the request.
            classifier: that of the router.
            expert_of: category to the expert that answers it.
        """
        guarded = [expert_of(category) in self.experts for category in classifier.categories]
        parts = [replace(features, text=text) for text in pieces(features.text)]
        for row in classifier.classify(parts).probabilities.tolist():
            if sum(value for value, counts in zip(row, guarded, strict=True) if counts) < LEAST_SHARE:
                return False
        return True


def pieces(text: str) -> list[str]:
    """At most `MAX_PIECES` runs of `PIECE_WORDS` words, evenly spaced from the first words to the last."""
    words = text.split()
    last = len(words) - PIECE_WORDS
    if last <= 0:
        return [text]
    count = min(MAX_PIECES, 1 + -(-last // (PIECE_WORDS // 2)))
    starts = [round(last * number / (count - 1)) for number in range(count)]
    return [" ".join(words[start : start + PIECE_WORDS]) for start in starts]
