"""Who leaves the memory, and where to. Pure functions of what is known about each model.

The expert is chosen before anything is generated, so the requests that wait are known: the planner sees the
next use of each model instead of guessing it from the last one (Read-ME, arXiv 2410.19123, does so within a
model). Evicting the farthest next use is Belady's rule; beyond the queue the measured rate of requests stands
in for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Tier = Literal["gpu", "host", "disk"]
Verb = Literal["sleep", "stop", "wake", "start"]
_SLACK_GB = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What is known of one model.

    Attributes:
        name: of the expert.
        tier: where it is: `gpu` answers at once, `host` sleeps with its weights in RAM, `disk` is stopped.
        gpu_gb: memory that it takes when awake.
        host_gb: RAM that it takes when asleep.
        sleeps: whether it can sleep at all; else it is stopped.
        wake_s, start_s: measured or estimated seconds back from `host` and from `disk`.
        pinned: never evicted.
        busy: answers requests now; not evicted.
        next_use: place in the queue of the first request that waits for it; None when none does.
        rate_per_s: requests per second, as of late.
    """

    name: str
    tier: Tier
    gpu_gb: float
    host_gb: float = 0.0
    sleeps: bool = False
    wake_s: float = 1.0
    start_s: float = 60.0
    pinned: bool = False
    busy: bool = False
    next_use: int | None = None
    rate_per_s: float = 0.0

    @property
    def back_s(self) -> float:
        """Seconds until it could answer again, once evicted."""
        return self.wake_s if self.sleeps else self.start_s


@dataclass(frozen=True, slots=True)
class Memory:
    """Gigabytes that the models share: of the accelerator, and of RAM for those that sleep."""

    gpu_gb: float
    host_gb: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do to one model."""

    verb: Verb
    model: str


def plan(wanted: str, models: Sequence[Model], memory: Memory) -> tuple[Step, ...] | None:
    """What to do so that `wanted` is awake, in order; empty when it is, None when it cannot be now.

    Evicts no pinned and no busy model, no more than is needed, and first whom nobody waits for: least
    expected cost of coming back (rate times seconds). Among those that somebody waits for, the farthest use
    goes first. A model that leaves the accelerator sleeps while RAM has room, and is stopped otherwise; room
    in RAM is made by stopping sleepers that are less worth keeping.
    """
    by_name = {model.name: model for model in models}
    target = by_name[wanted]
    if target.tier == "gpu":
        return ()
    awake = [model for model in models if model.tier == "gpu"]
    missing_gb = target.gpu_gb - (memory.gpu_gb - sum(model.gpu_gb for model in awake))
    leaving = victims(missing_gb, awake)
    if leaving is None:
        return None
    # The one that is wanted takes its RAM until it is awake, and that comes last.
    asleep = [
        replace(model, pinned=True) if model is target else model for model in models if model.tier == "host"
    ]
    steps = _send_away([by_name[name] for name in leaving], asleep, memory.host_gb)
    return (*steps, Step("wake" if target.tier == "host" else "start", wanted))


def victims(missing_gb: float, awake: Iterable[Model]) -> tuple[str, ...] | None:
    """Whom to evict to free at least `missing_gb`, none too many; None when it cannot be done now."""
    if missing_gb <= _SLACK_GB:
        return ()
    order = sorted((model for model in awake if not model.pinned and not model.busy), key=_worth)
    chosen: list[Model] = []
    freed_gb = 0.0
    for model in order:
        if freed_gb >= missing_gb - _SLACK_GB:
            break
        if model.gpu_gb > 0:
            chosen.append(model)
            freed_gb += model.gpu_gb
    if freed_gb < missing_gb - _SLACK_GB:
        return None
    # A large model at the end may have made smaller ones before it unnecessary: spare the worthiest first.
    for model in reversed(chosen[:]):
        if freed_gb - model.gpu_gb >= missing_gb - _SLACK_GB:
            chosen.remove(model)
            freed_gb -= model.gpu_gb
    return tuple(model.name for model in chosen)


def _worth(model: Model) -> tuple[bool, float, str]:
    """How much it is worth keeping; the least first."""
    if model.next_use is None:
        return (False, model.rate_per_s * model.back_s, model.name)
    return (True, -float(model.next_use), model.name)


def _send_away(leaving: Sequence[Model], asleep: Sequence[Model], host_gb: float) -> list[Step]:
    """Sleep or stop for each, and a stop for sleepers that make room for worthier ones."""
    stops: list[Step] = []
    sleeps: list[Step] = []
    sleepers = list(asleep)
    for model in sorted(leaving, key=_worth, reverse=True):
        free_gb = host_gb - sum(each.host_gb for each in sleepers)
        room: list[Model] = []
        for other in sorted(sleepers, key=_worth):
            if free_gb >= model.host_gb - _SLACK_GB or _worth(other) >= _worth(model):
                break
            if not other.pinned and other in asleep:
                room.append(other)
                free_gb += other.host_gb
        if model.sleeps and free_gb >= model.host_gb - _SLACK_GB:
            stops += [Step("stop", other.name) for other in room]
            sleepers = [each for each in sleepers if each not in room] + [model]
            sleeps.append(Step("sleep", model.name))
        else:
            stops.append(Step("stop", model.name))
    return stops + sleeps
