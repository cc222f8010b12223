"""What the tests of the caches share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from coe.contracts import Decision, Excluded, Ranked, Reason
from coe.testing import Clock


@pytest.fixture
def clock() -> Clock:
    """A clock that the test sets."""
    return Clock()


@pytest.fixture
def decide() -> Callable[..., Decision]:
    """Makes decisions: full ones, so that every field is seen to survive."""

    def make(expert: str = "coder", revision: str = "r1", reason: Reason = Reason.CATEGORY) -> Decision:
        return Decision(
            expert=expert,
            ranked=(Ranked(expert, 0.83), Ranked("general")),
            reason=reason,
            category="code",
            probabilities=(("code", 0.75), ("maths", 0.125)),
            uncertainty=0.25,
            excluded=(Excluded("tiny", "its context window of 2,048 tokens is too small"),),
            revision=revision,
        )

    return make
