"""A rule beside the classifier in a router's folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from coe.contracts import GENERAL, Ranked
from coe.errors import ArtifactError
from coe_routers.artifact import ExpertMap
from coe_routers.rules import Rule
from coe_routers.store import read_tensors, tensor_bytes

FILE = "rule.safetensors"
FACT = "rule"
"""Key of the router's facts that describes `FILE`."""


class _About(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    experts: tuple[str, ...]
    blend: bool


def rule_files(rule: Rule) -> dict[str, bytes]:
    """Files to save with the router."""
    arrays = {
        "value": rule.value.astype(np.float32),
        "price": rule.price.astype(np.float32),
        "allowed": rule.allowed.astype(np.uint8),
    }
    return {FILE: tensor_bytes(arrays)}


def rule_facts(rule: Rule) -> dict[str, Any]:
    """Facts to save with the router."""
    return {FACT: {"experts": list(rule.experts), "blend": rule.blend}}


def load_rule(path: Path, facts: Mapping[str, Any], categories: int) -> Rule:
    """The rule of a router's folder.

    Args:
        path: the folder.
        facts: of its manifest.
        categories: how many its classifier tells apart.

    Raises:
        ArtifactError: there is none, or it does not fit the classifier.
    """
    if FACT not in facts or not (path / FILE).is_file():
        raise ArtifactError(f"{path} holds no rule to decide by.", hint="Run `coe optimize` on it.")
    try:
        about = _About.model_validate(facts[FACT])
    except ValidationError as error:
        raise ArtifactError(f"{path / 'manifest.json'}: `facts.{FACT}`: {error}.") from error
    tensors = read_tensors(path / FILE)
    shape = (categories + 1, len(about.experts))
    for name in ("value", "price", "allowed"):
        found = tensors[name].shape if name in tensors else None
        if found != shape:
            raise ArtifactError(f"{path / FILE}: `{name}` has shape {found}, expected {shape}.")
    return Rule(
        experts=about.experts,
        value=tensors["value"].astype(np.float64),
        price=tensors["price"].astype(np.float64),
        allowed=tensors["allowed"].astype(bool),
        blend=about.blend,
    )


def map_of(rule: Rule, categories: tuple[str, ...]) -> ExpertMap:
    """Each category's experts as the rule ranks them for a prompt that is certain to be of it."""
    worth = np.where(rule.allowed, rule.value - rule.price, -np.inf)
    found: dict[str, tuple[Ranked, ...]] = {}
    for row, category in enumerate((*categories, GENERAL)):
        order: list[int] = np.argsort(-worth[row], kind="stable").tolist()
        found[category] = tuple(
            Ranked(rule.experts[e], round(float(np.clip(rule.value[row, e], 0.0, 1.0)), 4))
            for e in order
            if rule.allowed[row, e]
        )
    return found
