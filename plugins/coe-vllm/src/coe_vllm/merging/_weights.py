"""Weights of adapters from what a router says, or from how often each was asked. Pure."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from coe.errors import DataError


def router_weights(names: Sequence[str], decisions: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The router's mean probability for each adapter, as SMEAR weighs its experts.

    A category belongs to the expert that its prompts were sent to most often; what the router gives to
    categories of other experts counts for nobody.

    Args:
        names: of the adapters, as experts.
        decisions: records of the journal, or documents of `coe route --json`.

    Raises:
        DataError: no decision, or none for one of the adapters.
    """
    rows = [_row(decision) for decision in decisions]
    sent: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for category, expert, _ in rows:
        sent[category][expert] += 1
    owner = {category: experts.most_common(1)[0][0] for category, experts in sent.items()}
    totals: defaultdict[str, float] = defaultdict(float)
    for _, _, probabilities in rows:
        for category, probability in probabilities.items():
            if category in owner:
                totals[owner[category]] += probability
    if missing := [name for name in names if totals[name] <= 0]:
        raise DataError(f"The decisions say nothing of `{missing[0]}`: no prompt was sent to it.")
    return {name: totals[name] / len(rows) for name in names}


def usage_weights(names: Sequence[str], counts: Mapping[str, Any]) -> dict[str, float]:
    """How often each adapter was asked, as MC-SMoE weighs its experts.

    Args:
        names: of the adapters, as experts.
        counts: requests by expert, or what `coe journal stats --json` prints.

    Raises:
        DataError: nothing is said of an adapter.
    """
    experts: Mapping[str, Any] = counts.get("by_expert", counts)
    weights: dict[str, float] = {}
    for name in names:
        count = experts.get(name)
        value: Any = cast("dict[str, Any]", count).get("requests") if isinstance(count, dict) else count
        if not isinstance(value, int | float):
            raise DataError(f"Nothing is said of how often `{name}` was used.")
        weights[name] = float(value)
    return weights


def documents(text: str) -> list[dict[str, Any]]:
    """JSON documents one after the other, one a line or over several. Raises `ValueError`."""
    decoder, found, at = json.JSONDecoder(), list[dict[str, Any]](), 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        value, at = decoder.raw_decode(text, at)
        if not isinstance(value, dict):
            raise ValueError("expected objects")
        found.append(cast("dict[str, Any]", value))
    return found


def _row(decision: Mapping[str, Any]) -> tuple[str, str, dict[str, float]]:
    """Category, expert, probabilities by category."""
    category, expert = decision.get("category"), decision.get("chosen") or decision.get("expert")
    likely = cast("list[dict[str, Any]]", decision.get("categories") or [])
    if not isinstance(category, str) or not isinstance(expert, str) or not likely:
        raise DataError("A decision without category, expert or probabilities.")
    return category, expert, {str(each["category"]): float(each["probability"]) for each in likely}
