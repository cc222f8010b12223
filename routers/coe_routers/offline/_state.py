"""What a trained router remembers of its outcomes: enough to solve, resample and compare again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from coe.contracts import Card
from coe.errors import ArtifactError
from coe_routers.mapping import Evidence
from coe_routers.store import read_tensors, tensor_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

TENSORS = "evidence.safetensors"
FACTS = "evidence.json"
REMEMBERED_VECTORS = 50_000
"""Vectors are kept for so many prompts at most; only the k-NN baseline of `coe evaluate` reads them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Outcomes as a trained router keeps them. Prompt texts are not kept.

    Attributes:
        evidence: scores, labels, held-out probabilities, costs.
        cards: of the experts, where known.
        prompt_ids: n ids, to match outcomes of further experts.
        vectors: float32[k, dim], embeddings of the first k prompts; empty when there is no embedder.
    """

    evidence: Evidence
    cards: Mapping[str, Card]
    prompt_ids: Sequence[str]
    vectors: NDArray[np.float32]


def state_files(state: State) -> dict[str, bytes]:
    """Files to save with the router."""
    found = state.evidence
    tensors: dict[str, NDArray[Any]] = {
        "label": found.label,
        "probabilities": found.probabilities.astype(np.float16),
        "uncertain": found.uncertain.astype(np.uint8),
        "scores": found.scores,
        "usd": found.usd.astype(np.float32),
        "active_params_b": found.active_params_b.astype(np.float32),
        "total_params_b": found.total_params_b.astype(np.float32),
        "cost": found.cost.astype(np.float32),
        "vectors": state.vectors[:REMEMBERED_VECTORS].astype(np.float16),
    }
    if found.latency_s is not None:
        tensors["latency_s"] = found.latency_s
    facts = {
        "categories": found.categories,
        "experts": found.experts,
        "cost_unit": found.cost_unit,
        "cards": msgspec.to_builtins(dict(state.cards)),
        "prompt_ids": list(state.prompt_ids),
    }
    return {TENSORS: tensor_bytes(tensors), FACTS: json.dumps(facts, ensure_ascii=False).encode()}


def read_state(path: Path) -> State:
    """What the router of a folder was trained on.

    Raises:
        ArtifactError: the folder holds no outcomes, or they are damaged.
    """
    if not (path / TENSORS).is_file():
        raise ArtifactError(f"{path} holds no outcomes.", hint="Make it with `coe train`.")
    tensors = read_tensors(path / TENSORS)
    try:
        facts: dict[str, Any] = json.loads((path / FACTS).read_bytes())
        evidence = Evidence(
            categories=tuple(facts["categories"]),
            experts=tuple(facts["experts"]),
            label=tensors["label"],
            probabilities=tensors["probabilities"].astype(np.float32),
            uncertain=tensors["uncertain"].astype(bool),
            scores=tensors["scores"],
            usd=tensors["usd"].astype(np.float64),
            latency_s=tensors.get("latency_s"),
            active_params_b=tensors["active_params_b"].astype(np.float64),
            total_params_b=tensors["total_params_b"].astype(np.float64),
            cost=tensors["cost"].astype(np.float64),
            cost_unit=str(facts["cost_unit"]),
        )
        cards = msgspec.convert(facts["cards"], dict[str, Card])
        ids = facts["prompt_ids"]
    except (OSError, ValueError, KeyError, TypeError, msgspec.MsgspecError) as error:
        raise ArtifactError(f"{path / FACTS} is damaged: {error!r}.", hint="Train it again.") from error
    return State(
        evidence=evidence, cards=cards, prompt_ids=ids, vectors=tensors["vectors"].astype(np.float32)
    )
