"""Whose turn it is: group requests by expert, within a bound of fairness. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class Waiting:
    """A request that waits, for an expert, overtaken by so many that came after it."""

    expert: str
    overtaken: int = 0


def next_turn(queue: Sequence[Waiting], awake: Collection[str], max_overtaken: int, last: str = "") -> int:
    """Index of the request to serve next.

    Requests of the expert that was served last go first, then of any that is awake, then the oldest; but once
    the oldest was overtaken `max_overtaken` times it is its turn. Overtaken counts are the caller's to keep.

    Args:
        queue: by arrival, not empty.
        awake: experts that need no switch.
        max_overtaken: 0 is first come, first served.
        last: the expert that was served last.
    """
    if queue[0].overtaken >= max_overtaken:
        return 0
    for wanted in ((last,), awake):
        for at, waiting in enumerate(queue):
            if waiting.expert in wanted and waiting.expert in awake:
                return at
    return 0
