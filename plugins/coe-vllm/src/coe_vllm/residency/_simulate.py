"""What a policy of residency would have done with a trace: hits, switches, waits. Pure and deterministic.

One accelerator with `slots` places of equal size serves one request at a time, as CoE's own serving study
does. A request whose expert is in a place is a hit; else a switch costs `switch_s` and evicts somebody.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from coe_vllm.residency._demand import Demand
from coe_vllm.residency._plan import Model, victims
from coe_vllm.residency._turns import Waiting, next_turn

Policy = Literal["lru", "static", "belady", "lookahead", "planned"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
"""lru: least recently used, first come first served. static: the most frequent experts stay, the last place
is for everybody else. belady: the bound for first come first served, which knows the whole trace. lookahead:
the planner's eviction, first come first served. planned: the planner with grouping."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request of a trace: when it comes, in seconds, and for whom."""

    at_s: float
    expert: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came out.

    Attributes:
        hit_rate: share of requests that needed no switch.
        switches: number of switches.
        wait_p50_s, wait_p95_s, wait_max_s: from arrival to the begin of service.
        overtaken_max: most requests that came later and were served earlier than any one request.
        worst_expert_ratio: mean wait of the expert that waits longest, over the mean wait of all.
    """

    hit_rate: float
    switches: int
    wait_p50_s: float
    wait_p95_s: float
    wait_max_s: float
    overtaken_max: int
    worst_expert_ratio: float


def simulate(
    trace: Sequence[Call],
    policy: Policy,
    *,
    slots: int,
    service_s: float,
    switch_s: float,
    window: int = 32,
    max_overtaken: int = 32,
) -> Outcome:
    """Serve a trace.

    Args:
        trace: by time.
        policy: who decides.
        slots: experts that fit at once.
        service_s: of one request.
        switch_s: of one switch.
        window: how many requests of the queue the planner looks at.
        max_overtaken: bound of fairness of `planned`; the other policies never reorder.
    """
    run = _Run(trace, policy, slots, window, max_overtaken)
    now_s = 0.0
    while run.served < len(trace):
        now_s = max(now_s, run.next_arrival_s(now_s))
        run.take_arrivals(now_s)
        expert, switched = run.serve_one(now_s)
        begins_s = now_s + (switch_s if switched else 0.0)
        run.waited(expert, begins_s)
        now_s = begins_s + service_s
    return run.outcome()


class _Run:
    def __init__(
        self, trace: Sequence[Call], policy: Policy, slots: int, window: int, max_overtaken: int
    ) -> None:
        self._trace = trace
        self._policy = policy
        self._slots = slots
        self._window = window
        self._max_overtaken = max_overtaken if policy == "planned" else 0
        self._demand = Demand()
        self._frequency = Counter(call.expert for call in trace)
        fixed = [name for name, _ in self._frequency.most_common(slots - 1)]
        self._fixed = frozenset(fixed) if policy == "static" else frozenset[str]()
        self._uses: dict[str, deque[int]] = {}
        for at, call in enumerate(trace):
            self._uses.setdefault(call.expert, deque()).append(at)
        self._inside: OrderedDict[str, None] = OrderedDict()
        self._queue: list[Waiting] = []
        self._places: list[int] = []
        self._arrived = 0
        self._last = ""
        self._at = 0
        self._waits: list[tuple[str, float]] = []
        self._overtaken = 0
        self.served = 0
        self.switches = 0

    def next_arrival_s(self, now_s: float) -> float:
        return now_s if self._queue else self._trace[self._arrived].at_s

    def take_arrivals(self, now_s: float) -> None:
        while self._arrived < len(self._trace) and self._trace[self._arrived].at_s <= now_s:
            expert = self._trace[self._arrived].expert
            self._demand.note(expert, now_s)
            self._queue.append(Waiting(expert))
            self._places.append(self._arrived)
            self._arrived += 1

    def serve_one(self, now_s: float) -> tuple[str, bool]:
        window = self._queue[: self._window]
        turn = next_turn(window, self._inside, self._max_overtaken, self._last)
        for waiting in self._queue[:turn]:
            waiting.overtaken += 1
        waiting = self._queue.pop(turn)
        self._at = self._places.pop(turn)
        self._overtaken = max(self._overtaken, waiting.overtaken)
        expert = self._last = waiting.expert
        self._uses[expert].remove(self._at)
        switched = expert not in self._inside
        if switched:
            self.switches += 1
            if len(self._inside) >= self._slots:
                del self._inside[self._victim(now_s)]
        self._inside[expert] = None
        self._inside.move_to_end(expert)
        self.served += 1
        return expert, switched

    def waited(self, expert: str, begins_s: float) -> None:
        self._waits.append((expert, begins_s - self._trace[self._at].at_s))

    def outcome(self) -> Outcome:
        waits = sorted(wait for _, wait in self._waits)
        mean = math.fsum(waits) / len(waits)
        by_expert: dict[str, list[float]] = {}
        for expert, wait in self._waits:
            by_expert.setdefault(expert, []).append(wait)
        worst = max(math.fsum(each) / len(each) for each in by_expert.values())
        return Outcome(
            hit_rate=1 - self.switches / len(waits),
            switches=self.switches,
            wait_p50_s=_quantile(waits, 0.5),
            wait_p95_s=_quantile(waits, 0.95),
            wait_max_s=waits[-1],
            overtaken_max=self._overtaken,
            worst_expert_ratio=worst / mean if mean else 1.0,
        )

    def _victim(self, now_s: float) -> str:
        if self._policy == "lru":
            return next(iter(self._inside))
        if self._policy == "static":
            return next(name for name in self._inside if name not in self._fixed)
        if self._policy == "belady":
            never = len(self._trace)
            return max(self._inside, key=lambda name: self._uses[name][0] if self._uses[name] else never)
        queue = [waiting.expert for waiting in self._queue[: self._window]]
        models = [
            Model(
                name=name,
                tier="gpu",
                gpu_gb=1.0,
                next_use=queue.index(name) if name in queue else None,
                rate_per_s=self._demand.rate_per_s(name, now_s),
            )
            for name in self._inside
        ]
        chosen = victims(1.0, models)
        assert chosen
        return chosen[0]


def _quantile(ordered: Sequence[float], q: float) -> float:
    return ordered[min(len(ordered) - 1, math.ceil(q * len(ordered)) - 1)]
