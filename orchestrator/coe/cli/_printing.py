"""Decisions in words and bars."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from coe.client import Routing
from coe.contracts import Reason
from coe.engine import Routed

_BAR_CELLS = 24
_EIGHTHS = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")
_REVISION_CHARACTERS = 12
_UNBOUNDED = 10_000
_WHY = {
    Reason.CATEGORY: "the best eligible expert of this category",
    Reason.UNCERTAIN: "too uncertain, so the best eligible expert of `general`",
    Reason.AWAKE: "awake, and about as good as a better one that sleeps",
    Reason.SESSION: "this session is with it already",
    Reason.REQUESTED: "you asked for it, nothing was routed",
    Reason.ONLY_ELIGIBLE: "no other expert can serve the request",
    Reason.UNMAPPED: "no expert of this category is eligible, so the first that is",
    Reason.ROUTER_FAILED: "the router failed, so the first eligible expert",
}


def console(*, stderr: bool = False) -> Console:
    """Where a command prints. Where there is no terminal, lines are as long as they are."""
    made = Console(stderr=stderr, highlight=False, soft_wrap=True)
    if not made.is_terminal:
        made.width = _UNBOUNDED
    return made


def print_json(value: Any) -> None:
    """Print JSON for programs."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def sentence(routed: Routed) -> str:
    """One decision in one sentence."""
    decision = routed.decision
    why = _WHY[decision.reason]
    if not decision.probabilities:
        return f"→ expert {decision.expert}: {why}."
    category, probability = decision.probabilities[0]
    return f"{category} ({probability:.2f}) → expert {decision.expert}: {why}."


def routing_line(routing: Routing) -> str:
    """Who answered and why, in one line."""
    parts = [routing.expert]
    if routing.reason is not None:
        parts.append(_WHY[routing.reason])
    parts += [
        f"{routing.category} {routing.confidence:.2f}",
        f"cache {routing.cache}",
        f"{routing.route_us} µs",
    ]
    if routing.fallback_from:
        parts.append(f"after {', '.join(routing.fallback_from)} failed")
    return " · ".join(parts)


def decision_view(routed: Routed) -> RenderableType:
    """A decision for people: the sentence, the categories as bars, the experts, and who was excluded."""
    decision = routed.decision
    parts: list[RenderableType] = [Text(sentence(routed), style="bold")]
    if decision.probabilities:
        parts += [Text(), _bars(decision.probabilities)]
    parts += [Text(), _experts(routed)]
    revision = decision.revision[:_REVISION_CHARACTERS] or "none"
    facts = [
        f"reason {decision.reason}",
        f"uncertainty {decision.uncertainty:.2f}",
        f"router {revision}",
        f"cache {routed.cache}",
        f"{routed.route_us} µs",
    ]
    return Group(*parts, Text(), Text(" · ".join(facts), style="dim"))


def _bars(probabilities: Sequence[tuple[str, float]]) -> Table:
    table = Table.grid(padding=(0, 2))
    for category, probability in probabilities:
        table.add_row(Text(category), Text(bar(probability), style="cyan"), f"{probability:.2f}")
    return table


def bar(share: float) -> str:
    """A bar for a share of 1, padded to its full length."""
    cells, eighths = divmod(round(share * _BAR_CELLS * 8), 8)
    return ("█" * cells + _EIGHTHS[eighths]).ljust(_BAR_CELLS)


def _experts(routed: Routed) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row("", Text("expert", style="dim"), Text("score", style="dim"))
    for place, ranked in enumerate(routed.decision.ranked, 1):
        score = "–" if ranked.score is None else f"{ranked.score:.3f}"
        table.add_row(str(place), Text(ranked.expert, style="bold" if place == 1 else ""), score)
    for excluded in routed.decision.excluded:
        table.add_row("✗", Text(excluded.expert, style="dim"), Text(excluded.why, style="yellow"))
    return table
