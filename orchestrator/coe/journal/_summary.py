"""What a journal says about the requests of a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from coe.journal._record import Record

GONE = 499
"""Status of a request whose caller went away."""
_UNKNOWN = "–"


@dataclass(frozen=True, slots=True)
class Spread:
    """Quantiles of a quantity; 0 when nothing was measured."""

    p50: float = 0.0
    p95: float = 0.0


@dataclass(frozen=True, slots=True)
class Share:
    """A group of requests.

    Attributes:
        requests: how many.
        share: of all requests, 0..1.
        cost_usd: what they cost, as far as it is known.
        total_ms: from arrival to the end of the answer.
    """

    requests: int
    share: float
    cost_usd: float
    total_ms: Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Figures of a journal. Rates are 0 where there is nothing to count.

    Attributes:
        requests: how many.
        first_at, last_at: arrival of the first and the last, in seconds since 1970; None without any.
        by_expert, by_category, by_reason, by_model, by_tenant: groups, the largest first; `–` is not known.
        by_status, by_error: counts.
        error_rate: requests that ended with an error, a stream that broke included, of all; callers that went
            away do not count.
        fallback_rate: requests that another expert than the chosen one answered, of those answered.
        cache_hit_rate: hits of all lookups in the decision cache.
        gone: callers that went away.
        prompt_tokens, completion_tokens, cost_usd: sums of what is known.
        unpriced: answered requests whose cost is not known.
        route_us, first_byte_ms, total_ms: of requests where it was measured.
    """

    requests: int
    first_at: float | None
    last_at: float | None
    by_expert: dict[str, Share]
    by_category: dict[str, Share]
    by_reason: dict[str, Share]
    by_model: dict[str, Share]
    by_tenant: dict[str, Share]
    by_status: dict[str, int]
    by_error: dict[str, int]
    error_rate: float
    fallback_rate: float
    cache_hit_rate: float
    gone: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    unpriced: int
    route_us: Spread
    first_byte_ms: Spread
    total_ms: Spread


@dataclass(slots=True)
class _Group:
    """Requests that have something in common."""

    cost_usd: float = 0.0
    total_us: list[int] = field(default_factory=list[int])

    def share_of(self, requests: int) -> Share:
        count = len(self.total_us)
        return Share(count, count / requests, self.cost_usd, _spread(self.total_us, 1e3))


class _Groups:
    """Requests by one of their fields."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}

    def add(self, name: str | None, record: Record) -> None:
        group = self._groups.setdefault(name or _UNKNOWN, _Group())
        group.cost_usd += record.cost_usd or 0.0
        group.total_us.append(record.total_us)

    def shares(self, requests: int) -> dict[str, Share]:
        ordered = sorted(self._groups.items(), key=lambda item: -len(item[1].total_us))
        return {name: group.share_of(requests) for name, group in ordered}


def summarise(records: Iterable[Record]) -> Summary:
    """Figures of these records, read once."""
    experts, categories, reasons, models, tenants = (_Groups() for _ in range(5))
    counts: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    times: list[float] = []
    route_us: list[int] = []
    first_us: list[int] = []
    total_us: list[int] = []
    cost_usd = 0.0
    for record in records:
        experts.add(record.expert, record)
        categories.add(record.category, record)
        reasons.add(record.reason, record)
        models.add(record.model, record)
        tenants.add(record.tenant, record)
        statuses[str(record.status)] += 1
        if record.status == GONE:
            counts["gone"] += 1
        elif record.error:
            counts["failed"] += 1
        if record.error:
            errors[record.error] += 1
        if record.expert:
            counts["answered"] += 1
            counts["fallback"] += record.expert != record.chosen
            counts["unpriced"] += record.cost_usd is None
        counts[f"cache {record.cache}"] += 1
        counts["prompt"] += record.prompt_tokens or 0
        counts["completion"] += record.completion_tokens or 0
        cost_usd += record.cost_usd or 0.0
        times.append(record.time)
        total_us.append(record.total_us)
        if record.route_us is not None:
            route_us.append(record.route_us)
        if record.first_byte_us is not None:
            first_us.append(record.first_byte_us)
    requests = len(times)
    hits = counts["cache hit"]
    return Summary(
        requests=requests,
        first_at=min(times, default=None),
        last_at=max(times, default=None),
        by_expert=experts.shares(requests),
        by_category=categories.shares(requests),
        by_reason=reasons.shares(requests),
        by_model=models.shares(requests),
        by_tenant=tenants.shares(requests),
        by_status=dict(statuses.most_common()),
        by_error=dict(errors.most_common()),
        error_rate=_rate(counts["failed"], requests),
        fallback_rate=_rate(counts["fallback"], counts["answered"]),
        cache_hit_rate=_rate(hits, hits + counts["cache miss"]),
        gone=counts["gone"],
        prompt_tokens=counts["prompt"],
        completion_tokens=counts["completion"],
        cost_usd=cost_usd,
        unpriced=counts["unpriced"],
        route_us=_spread(route_us),
        first_byte_ms=_spread(first_us, 1e3),
        total_ms=_spread(total_us, 1e3),
    )


def _rate(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _spread(values: list[int], unit: float = 1.0) -> Spread:
    """Nearest-rank quantiles."""
    if not values:
        return Spread()
    ordered = sorted(values)
    p50, p95 = (ordered[max(-(-len(ordered) * percent // 100) - 1, 0)] / unit for percent in (50, 95))
    return Spread(p50, p95)
