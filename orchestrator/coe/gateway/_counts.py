"""Counters and histograms for one event loop, at a tenth of what prometheus_client's cost.

Those take a lock and check their labels each time; these are rows in a dict, which become the library's
families at each scrape.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric


class Counts:
    """A counter by labels: `counts.by[a, b] += 1`.

    Args:
        name: without `_total`.
        text: what is counted.
        labels: names, in the order of the keys of `by`.
    """

    def __init__(self, name: str, text: str, labels: Sequence[str]) -> None:
        self._name, self._text, self._labels = name, text, labels
        self.by: defaultdict[tuple[str, ...], float] = defaultdict(float)
        if not labels:
            self.by[()] = 0.0

    def collect(self) -> Iterable[Metric]:
        """The library's family."""
        from prometheus_client.core import CounterMetricFamily  # Late: see `Metrics.collect`.

        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for labels, count in self.by.items():
            family.add_metric(labels, count)
        yield family


class Spread:
    """A histogram by one label.

    Args:
        name: with its unit.
        text: what is measured.
        label: its name.
        bounds: upper bounds of the buckets, ascending; one for everything above is added.
    """

    def __init__(self, name: str, text: str, label: str, bounds: Sequence[float]) -> None:
        self._name, self._text, self._label, self._bounds = name, text, label, bounds
        self._rows: dict[str, tuple[list[int], list[float]]] = {}

    def observe(self, label: str, value: float) -> None:
        """Count a value."""
        row = self._rows.get(label)
        if row is None:
            row = self._rows[label] = ([0] * (len(self._bounds) + 1), [0.0])
        row[0][bisect_left(self._bounds, value)] += 1
        row[1][0] += value

    def collect(self) -> Iterable[Metric]:
        """The library's family."""
        from prometheus_client.core import HistogramMetricFamily  # Late: see `Metrics.collect`.

        family = HistogramMetricFamily(self._name, self._text, labels=[self._label])
        names = [*map(str, map(float, self._bounds)), "+Inf"]
        for label, (counts, total) in self._rows.items():
            family.add_metric([label], [*zip(names, accumulate(counts), strict=True)], total[0])
        yield family
