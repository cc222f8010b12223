"""What a reward model says, whatever reads the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from coe_dmoerm._items import Item


@dataclass(frozen=True, slots=True)
class Scored:
    """What the model says of one item.

    Attributes:
        reward: higher is better; comparable within a task. Differences are log odds of being preferred.
        task: whose scorer gave it.
        aspects: by capability.
        confidence: the router's probability of the task; 1 where the item names it.
    """

    reward: float
    task: str
    aspects: Mapping[str, float]
    confidence: float


class Scorer(Protocol):
    """A reward model with its backbone, ready to score."""

    @property
    def heads(self) -> Mapping[str, tuple[str, ...]]:
        """Names of the heads, by task."""
        ...

    def score(self, items: Sequence[Item], *, correct_length: bool = False) -> list[Scored]:
        """Score items. One whose task is not known is routed, as one without a task."""
        ...
