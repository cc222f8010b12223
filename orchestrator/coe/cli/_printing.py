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
    Reason.CATEGORY: "it is the best eligible expert of that category",
    Reason.UNCERTAIN: "no category is certain enough and it is the best eligible expert for that case",
    Reason.AMBIGUOUS: "too many categories are plausible and it is the best eligible expert for that case",
    Reason.FAR: "nothing like it was trained on and it is the best eligible expert for that case",
    Reason.AWAKE: "it is awake and about as good as a better one that sleeps",
    Reason.LESS_LOADED: "it is a replica of a busier one",
    Reason.SESSION: "the session is with it already",
    Reason.REQUESTED: "you asked for it",
    Reason.ONLY_ELIGIBLE: "no other expert can serve the request",
    Reason.UNMAPPED: "no expert of that category is eligible and it is the first that is",
    Reason.ROUTER_FAILED: "the router failed and it is the first eligible expert",
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
    category = decision.category
    if decision.probabilities:
        likely, probability = decision.probabilities[0]
        category += (
            f" ({probability:.2f})" if likely == category else f" (at best {likely}, {probability:.2f})"
        )
    return f"{category} → expert {decision.expert}, because {_WHY[decision.reason]}."


def routing_line(routing: Routing) -> str:
    """Who answered and why, in one line."""
    why = f"{', '.join(routing.fallback_from)} failed" if routing.fallback_from else ""
    if not why and routing.reason is not None:
        why = _WHY[routing.reason]
    who = f"{routing.expert}, because {why}" if why else routing.expert
    category = f"{routing.category} ({routing.confidence:.2f})"
    return " · ".join((who, category, f"cache {routing.cache}", f"{routing.route_us} µs"))


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
