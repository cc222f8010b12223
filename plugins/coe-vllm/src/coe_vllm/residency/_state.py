"""Which requests may go to their expert now, and which model is to be made awake next: a state machine.

It has no clock and does nothing itself: `Memory` drives it, and tests do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from coe_vllm.residency._demand import Demand
from coe_vllm.residency._plan import Memory, Model, Step, Tier, plan

_AFTER: Mapping[str, Tier] = {"sleep": "host", "stop": "disk", "wake": "gpu", "start": "gpu"}


class Residency:
    """Counts who is busy, who waits and who was overtaken.

    Args:
        memory: what the models share.
        max_overtaken: once a waiting request was overtaken so often, models that stand in its way take no
        further
            requests until it had its turn.
    """

    def __init__(self, memory: Memory, max_overtaken: int) -> None:
        self._memory = memory
        self._max_overtaken = max_overtaken
        self._models: dict[str, Model] = {}
        self._running: dict[str, int] = {}
        self._queue: list[str] = []
        self._overtaken: dict[str, int] = {}
        self._moving: frozenset[str] = frozenset()
        self._closing: tuple[str, frozenset[str]] | None = None
        self._now_s = 0.0
        self._demand = Demand()

    @property
    def models(self) -> Mapping[str, Model]:
        """Every model by name, as last noted."""
        return self._models

    def add(self, model: Model) -> None:
        """Take a model in."""
        self._models[model.name] = model
        self._running[model.name] = 0

    def note(self, name: str, **facts: float | str) -> None:
        """What was measured of a model: `tier`, `wake_s`, `start_s`."""
        self._models[name] = dataclasses.replace(self._models[name], **facts)  # pyright: ignore[reportArgumentType]  (fields by name)

    def arrive(self, name: str, now_s: float) -> bool:
        """A request comes. True: it may go to its expert now, and `leave` must follow. False: it waits."""
        self._now_s = now_s
        self._demand.note(name, now_s)
        return self._admit(name) or self._enqueue(name)

    def retry(self, name: str) -> bool:
        """Whether a request that waits may go now; it is no longer in the queue then."""
        if not self._open(name):
            return False
        self._queue.remove(name)
        if name not in self._queue:
            self._overtaken.pop(name, None)
        self._running[name] += 1
        return True

    def give_up(self, name: str) -> None:
        """A request that waits goes away."""
        self._queue.remove(name)
        if name not in self._queue:
            self._overtaken.pop(name, None)

    def leave(self, name: str) -> None:
        """A request that went to its expert is done."""
        self._running[name] -= 1

    def next_steps(self, now_s: float) -> tuple[Step, ...]:
        """What to do now for the first in the queue whose wish can be met; empty when nothing can be done.

        Until `finished` the models that the steps name take no requests.
        """
        if self._moving:
            return ()
        for name in dict.fromkeys(self._queue):
            steps = plan(name, self._snapshot(now_s), self._memory)
            if steps:
                self._moving = frozenset(step.model for step in steps)
                return steps
            if self._overdue(name):
                break  # nobody behind it goes first
        return ()

    def done(self, step: Step) -> None:
        """A step has been carried out."""
        self.note(step.model, tier=_AFTER[step.verb])

    def finished(self) -> None:
        """The steps are done, or one failed."""
        self._moving = frozenset()

    def fits(self, name: str) -> bool:
        """Whether it could be awake beside those that are or will be, with nobody evicted."""
        model = self._models[name]
        coming = {*self._queue, *self._moving}
        taken_gb = sum(
            each.gpu_gb for each in self._models.values() if each.tier == "gpu" or each.name in coming
        )
        return model.tier == "gpu" or taken_gb + model.gpu_gb <= self._memory.gpu_gb

    def _enqueue(self, name: str) -> bool:
        self._queue.append(name)
        self._overtaken.setdefault(name, 0)
        return False

    def _admit(self, name: str) -> bool:
        if not self._open(name) or name in self._queue:
            return False
        for other in self._overtaken:
            self._overtaken[other] += 1
        self._running[name] += 1
        return True

    def _open(self, name: str) -> bool:
        """Whether the model takes a request now."""
        if self._models[name].tier != "gpu" or name in self._moving:
            return False
        return name not in self._closed()

    def _closed(self) -> frozenset[str]:
        """Models that take nothing more, because the first in the queue has waited long enough for them.

        Chosen once: if they changed with the demand, each could be kept busy in its turn.
        """
        overdue = next((name for name in self._queue if self._overdue(name)), None)
        if overdue is None or self._models[overdue].tier == "gpu":
            self._closing = None
            return frozenset()
        if self._closing is None or self._closing[0] != overdue:
            idle = [dataclasses.replace(model, busy=False) for model in self._snapshot(self._now_s)]
            steps = plan(overdue, idle, self._memory)
            self._closing = overdue, frozenset(step.model for step in steps or () if step.model != overdue)
        return self._closing[1]

    def _overdue(self, name: str) -> bool:
        return self._overtaken.get(name, 0) >= self._max_overtaken

    def _snapshot(self, now_s: float) -> list[Model]:
        places = {name: at for at, name in reversed(list(enumerate(self._queue)))}
        return [
            dataclasses.replace(
                model,
                busy=self._running[name] > 0,
                next_use=places.get(name),
                rate_per_s=self._demand.rate_per_s(name, now_s),
            )
            for name, model in self._models.items()
        ]
