"""Further experts for a trained router: their scores are added and the map is solved again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coe.contracts import Card
from coe.errors import DataError
from coe_routers.artifact import read_facts, save_expert_map
from coe_routers.expected import map_of, rule_facts, rule_files
from coe_routers.mapping import Choice, choose_map, cost_of
from coe_routers.offline._optimize import budget_of, choice_facts
from coe_routers.offline._state import read_state, state_files
from coe_routers.outcomes import Outcomes, by_expert, cost_usd
from coe_routers.placement import carried_over


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What adding experts came to.

    Attributes:
        revision: of the folder after saving.
        experts: the new ones.
        matched: prompts of the new outcomes that the router was trained on; the others count for nothing.
        choice: the map solved again, within the budget of the last one.
        takes: categories that a new expert takes over.
    """

    revision: str
    experts: tuple[str, ...]
    matched: int
    choice: Choice
    takes: tuple[tuple[str, str], ...]


def add_experts(path: Path, outcomes: Outcomes, cards: Mapping[str, Card], *, seed: int) -> Added:
    """Give a trained router the scores of further experts and solve its map again.

    The classifier is untouched. An expert need not be scored everywhere: it can only win categories in which
    it was tried. One that was placed without scores counts as measured from now on, others stay unmeasured.

    Args:
        path: folder that `coe train` wrote.
        outcomes: scores of the new experts on prompts that the router was trained on, by prompt id.
        cards: of the new experts, where known.
        seed: of the cross-validation.

    Raises:
        DataError: an expert is known already, or no prompt is.
        ArtifactError: the folder holds no trained router.
        InfeasibleBudget: the router's budget is met no longer.
    """
    about, state = read_facts(path), read_state(path)
    found = state.evidence
    if known := sorted(set(outcomes.experts) & set(found.experts)):
        raise DataError(
            f"The router knows {', '.join(f'`{name}`' for name in known)} already.",
            hint="Train it again to replace an expert's scores.",
        )
    row_of = {prompt_id: row for row, prompt_id in enumerate(state.prompt_ids)}
    at = np.array([row_of.get(prompt_id, -1) for prompt_id in outcomes.prompt_ids], dtype=np.int64)
    matched = int((at >= 0).sum())
    if not matched:
        raise DataError(
            "The new outcomes share no prompt_id with those that the router was trained on.",
            hint="Evaluate the new expert on prompts of the training outcomes.",
        )

    def placed(columns: NDArray[np.floating]) -> NDArray[np.float64]:
        wide = np.full((len(found), len(outcomes.experts)), np.nan)
        wide[at[at >= 0]] = columns[at >= 0]
        return wide

    def joined(old: NDArray[np.floating], new: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.concatenate([old.astype(np.float64), placed(new)], axis=1)

    latency = found.latency_s
    if latency is not None or outcomes.latency_s is not None:
        nothing = np.full((len(found), len(found.experts)), np.nan)
        new_latency = (
            np.full(outcomes.scores.shape, np.nan) if outcomes.latency_s is None else outcomes.latency_s
        )
        latency = joined(nothing if latency is None else latency, new_latency).astype(np.float32)
    sizes = {
        field: np.concatenate([old, by_expert(cards, outcomes.experts, card_field)])
        for field, card_field, old in (
            ("active_params_b", "active_params_b", found.active_params_b),
            ("total_params_b", "params_b", found.total_params_b),
        )
    }
    evidence = replace(
        found,
        experts=found.experts + outcomes.experts,
        scores=joined(found.scores, outcomes.scores).astype(np.float32),
        usd=joined(found.usd, cost_usd(outcomes, cards).usd),
        cost=joined(found.cost, cost_of(outcomes, cards, found.cost_unit)),
        latency_s=latency,
        **sizes,
    )
    budget, fall_back = budget_of(about.facts), bool(about.facts.get("fall_back", True))
    choice = choose_map(evidence, budget, seed=seed, fall_back=fall_back)
    state = replace(state, evidence=evidence, cards={**state.cards, **cards})
    expert_map, waiting = carried_over(path, map_of(choice.rule, about.categories), measured=outcomes.experts)
    revision = save_expert_map(
        path,
        expert_map,
        facts={**rule_facts(choice.rule), **choice_facts(choice, budget, fall_back=fall_back), **waiting},
        files={**rule_files(choice.rule), **state_files(state)},
    )
    return Added(
        revision=revision,
        experts=outcomes.experts,
        matched=matched,
        choice=choice,
        takes=tuple(pair for pair in choice.map.named().items() if pair[1] in outcomes.experts),
    )
