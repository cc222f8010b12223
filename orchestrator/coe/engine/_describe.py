"""Decisions and experts in the words of the API. HTTP, SDK and CLI all say it with these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from coe.contracts import Card, Decision, Excluded, Ranked, Reason
from coe.engine._records import CacheOutcome, Routed, Served
from coe.wire import ModelInfo

if TYPE_CHECKING:
    from coe.engine._engine import Engine

SCHEMA = 1


def confidence(routed: Routed) -> float:
    """Calibrated probability of the most probable category; 1 when nothing was classified."""
    probabilities = routed.decision.probabilities
    return round(probabilities[0][1], 4) if probabilities else 1.0


def coe_object(decision_id: str, served: Served, *, explain: bool = False) -> dict[str, Any]:
    """The `coe` object of a completion: the headers' facts, and the whole decision when asked for."""
    routed = served.routed
    facts: dict[str, Any] = {
        "schema": SCHEMA,
        "decision_id": decision_id,
        "category": routed.decision.category,
        "confidence": confidence(routed),
        "expert": served.card.name,
        "expert_kind": served.card.kind,
        "reason": routed.decision.reason,
        "cache": routed.cache,
        "route_us": routed.route_us,
    }
    if served.fallback_from:
        facts["fallback_from"] = served.fallback_from
    if routed.switch is not None:
        facts["session_switch"] = {"from": routed.switch.expert, "why": routed.switch.why}
    if explain:
        facts["decision"] = explanation(routed)
    return facts


def explanation(routed: Routed) -> dict[str, Any]:
    """A decision in full, ready for JSON. Its keys are stable."""
    decision = routed.decision
    return {
        "model": routed.model,
        "expert": decision.expert,
        "reason": decision.reason,
        "category": decision.category,
        "confidence": confidence(routed),
        "uncertainty": decision.uncertainty,
        "categories": [
            {"category": category, "probability": probability}
            for category, probability in decision.probabilities
        ],
        "ranked": [{"expert": ranked.expert, "score": ranked.score} for ranked in decision.ranked],
        "excluded": [{"expert": excluded.expert, "why": excluded.why} for excluded in decision.excluded],
        "revision": decision.revision,
        "cache": routed.cache,
        "route_us": routed.route_us,
    }


def routed_from(explained: Mapping[str, Any]) -> Routed:
    """What `explanation` was made from; keys that it does not know are ignored.

    Raises:
        msgspec.ValidationError: a key is missing or its value has the wrong type.
    """
    told = msgspec.convert(explained, _Explanation)
    decision = Decision(
        expert=told.expert,
        ranked=told.ranked,
        reason=told.reason,
        category=told.category,
        probabilities=tuple((each.category, each.probability) for each in told.categories),
        uncertainty=told.uncertainty,
        excluded=told.excluded,
        revision=told.revision,
    )
    return Routed(model=told.model, decision=decision, cache=told.cache, route_us=told.route_us)


@dataclass(frozen=True, slots=True)
class _Likely:
    category: str
    probability: float


@dataclass(frozen=True, slots=True)
class _Explanation:
    """The typed view of `explanation`, without what follows from the rest."""

    model: str
    expert: str
    reason: Reason
    category: str
    uncertainty: float
    categories: tuple[_Likely, ...]
    ranked: tuple[Ranked, ...]
    excluded: tuple[Excluded, ...]
    revision: str
    cache: CacheOutcome
    route_us: int


def model_infos(engine: Engine) -> list[ModelInfo]:
    """What may stand in a request's `model`: the virtual models, then the experts with their facts and state.

    Facts that are not known are left out.
    """
    infos = [ModelInfo(id=name, coe={"kind": "virtual"}) for name in engine.routers]
    members = engine.pool.members
    states = engine.pool.view(tuple(members)).experts
    for name, state in states.items():
        live = {
            "routable": members[name].routable,
            "awake": state.awake,
            "healthy": state.healthy,
            "load": state.load,
        }
        probe = members[name].probe
        looked = {} if probe is None else {"probe": probe.state}
        infos.append(ModelInfo(id=name, coe={**_card_facts(state.card), **live, **looked}))
    return infos


def _card_facts(card: Card) -> dict[str, Any]:
    facts = {
        "kind": card.kind,
        "capabilities": sorted(card.capabilities),
        "context_window": card.context_window,
        "params_b": card.params_b,
        "active_params_b": card.active_params_b,
        "input_usd_per_mtok": card.input_usd_per_mtok,
        "output_usd_per_mtok": card.output_usd_per_mtok,
        "domains": card.domains,
        "license": card.license,
        "locality": card.locality,
        "description": card.description,
    }
    return {key: value for key, value in facts.items() if value is not None}
