"""What vLLM's /metrics says about how busy the server is. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINE = re.compile(
    r"^vllm:(num_requests_running|num_requests_waiting|kv_cache_usage_perc|gpu_cache_usage_perc)"
    r"(?:\{[^}]*\})?\s+(\S+)",
    re.MULTILINE,
)
FULL_CACHE = 0.95
"""Share of the KV cache in use above which another request would wait."""


@dataclass(frozen=True, slots=True)
class Gauges:
    """Requests that run and wait, summed over engines, and the KV cache's share in use (fullest engine)."""

    running: int = 0
    waiting: int = 0
    cache_usage: float = 0.0

    def level(self, full_at: int | None) -> int:
        """The load as of `coe.contracts.Loaded`; `full_at` running requests fill the server, where known."""
        if self.waiting > 0:
            return 2
        full = full_at is not None and self.running >= full_at
        return 1 if full or self.cache_usage >= FULL_CACHE else 0


def parse(text: str) -> Gauges:
    """Read a Prometheus exposition; what is missing counts as 0."""
    running = waiting = 0
    usage = 0.0
    for name, number in _LINE.findall(text):
        try:
            value = float(number)
        except ValueError:
            continue
        if value != value or value < 0:
            continue
        if name == "num_requests_running":
            running += int(value)
        elif name == "num_requests_waiting":
            waiting += int(value)
        else:
            usage = max(usage, value)
    return Gauges(running, waiting, usage)
