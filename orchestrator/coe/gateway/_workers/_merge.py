"""Metrics of several processes as if they were one's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite

import msgspec
from prometheus_client.metrics_core import Metric

_LOWEST = frozenset({"coe_expert_healthy", "coe_expert_awake"})
"""Gauges that are true of the whole only when they are true of every process."""
_SHARED = "coe_expert_layer_"
"""Counters of a server that every process asks: the largest is the newest."""
_GROWING = frozenset({"counter", "histogram", "summary"})


class Family(msgspec.Struct, array_like=True):
    """One metric. Samples are (name, labels, value)."""

    name: str
    kind: str
    text: str
    samples: list[tuple[str, dict[str, str], float]]


def snapshot(metrics: Iterable[Metric]) -> list[Family]:
    """What a process counts, ready for JSON."""
    return [
        Family(
            metric.name,
            metric.type,
            metric.documentation,
            # JSON has no other numbers.
            [(each.name, each.labels, float(each.value)) for each in metric.samples if isfinite(each.value)],
        )
        for metric in metrics
    ]


def merged(snapshots: Iterable[Sequence[Family]]) -> list[Family]:
    """Counts and gauges are added up; of a state the worst counts, of `_SHARED` the newest."""
    families: dict[str, Family] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for family in (each for families in snapshots for each in families):
        families.setdefault(family.name, family)
        known = values.setdefault(family.name, {})
        for name, labels, value in family.samples:
            key = name, tuple(sorted(labels.items()))
            if key not in known:
                known[key] = value
            elif family.name in _LOWEST or name.endswith("_created"):
                known[key] = min(known[key], value)
            elif family.name.startswith(_SHARED):
                known[key] = max(known[key], value)
            else:
                known[key] += value
    return [
        Family(
            family.name,
            family.kind,
            family.text,
            [(name, dict(labels), value) for (name, labels), value in values[family.name].items()],
        )
        for family in families.values()
    ]


def lasting(snapshot: Iterable[Family]) -> list[Family]:
    """What still counts when its process has ended: what only ever grows."""
    return [family for family in snapshot if family.kind in _GROWING]


def families(snapshot: Iterable[Family]) -> Iterable[Metric]:
    """As the library has them."""
    for family in snapshot:
        metric = Metric(family.name, family.text, family.kind)
        for name, labels, value in family.samples:
            metric.add_sample(name, labels, value)
        yield metric
