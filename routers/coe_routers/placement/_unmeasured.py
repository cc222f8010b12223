"""Entries of unmeasured experts in a router's folder: marked, and behind all measured ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from coe.contracts import GENERAL, Ranked
from coe.errors import ArtifactError, ConfigError
from coe_routers.artifact import ExpertMap, RouterFacts, read_facts, save_expert_map
from coe_routers.placement._affinity import Placement, Source

FACT = "unmeasured"
"""Key of the router's facts that holds the entries."""


class Entry(BaseModel):
    """An unmeasured expert as the manifest tells of it.

    Attributes:
        source: what its placement rests on.
        affinity: category to resemblance; no score.
        first_in: categories in which the user puts it before measured experts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Source
    affinity: dict[str, float]
    first_in: tuple[str, ...] = ()


def unmeasured(path: Path) -> dict[str, Entry]:
    """The unmeasured experts of a router's folder. Raises `ArtifactError`."""
    return _entries(read_facts(path), path)


def add_unmeasured(path: Path, placement: Placement, *, first_in: Collection[str] = ()) -> str:
    """Put an unmeasured expert into a trained router's map. Returns the new revision.

    It has no score there. In every category it stands behind all experts that have one, and among the
    unmeasured by its resemblance to the category. A second call replaces the entry.

    Args:
        path: the router's folder.
        placement: what it resembles.
        first_in: categories in which the user wants it before the measured experts all the same.

    Raises:
        ConfigError: the expert has scores already, or `first_in` names an unknown category.
        ArtifactError: no router there.
    """
    about = read_facts(path)
    if any(name == placement.expert and score is not None for _, name, score in _cells(about)):
        raise ConfigError(
            f"`{placement.expert}` has been measured: it is in the map of {path} with scores.",
            hint="Give the unmeasured expert another name.",
        )
    if unknown := sorted(set(first_in) - {*about.categories, GENERAL}):
        raise ConfigError(
            f"`{unknown[0]}` is no category of {path}.", hint=f"Known: {', '.join(about.categories)}."
        )
    entry = Entry(
        source=placement.source, affinity=dict(placement.affinity), first_in=tuple(sorted(set(first_in)))
    )
    return _save(path, about, {**_entries(about, path), placement.expert: entry})


def remove_unmeasured(path: Path, expert: str) -> str:
    """Take an unmeasured expert out again, for example once it has scores. Returns the new revision.

    Raises:
        ConfigError: it is not one of the unmeasured.
        ArtifactError: no router there.
    """
    about = read_facts(path)
    entries = _entries(about, path)
    if expert not in entries:
        raise ConfigError(f"`{expert}` is no unmeasured expert of {path}.")
    del entries[expert]
    return _save(path, about, entries)


def keep_unmeasured(expert_map: ExpertMap, entries: Mapping[str, Entry]) -> dict[str, tuple[Ranked, ...]]:
    """A map of measured experts with the unmeasured ones where they belong."""
    made: dict[str, tuple[Ranked, ...]] = {}
    for category, experts in expert_map.items():
        measured = tuple(ranked for ranked in experts if ranked.expert not in entries)
        by_affinity = sorted(entries, key=lambda name: (-entries[name].affinity.get(category, -1.0), name))
        first = tuple(Ranked(name) for name in by_affinity if category in entries[name].first_in)
        behind = tuple(Ranked(name) for name in by_affinity if category not in entries[name].first_in)
        made[category] = (*first, *measured, *behind)
    return made


def carried_over(
    path: Path, expert_map: ExpertMap, *, measured: Collection[str] = ()
) -> tuple[dict[str, tuple[Ranked, ...]], dict[str, Any]]:
    """A newly solved map with the unmeasured experts of a router's folder, and the facts that mark them.

    Args:
        path: the folder, as it was before.
        expert_map: the measured experts, solved anew.
        measured: experts that have scores from now on; their entries end.

    Raises:
        ArtifactError: no router there.
    """
    entries = {name: entry for name, entry in unmeasured(path).items() if name not in measured}
    facts = {name: entry.model_dump(mode="json") for name, entry in sorted(entries.items())}
    return keep_unmeasured(expert_map, entries), {FACT: facts}


def _save(path: Path, about: RouterFacts, entries: Mapping[str, Entry]) -> str:
    known = _entries(about, path)
    plain = {
        category: tuple(Ranked(name, score) for name, score in experts if name not in known)
        for category, experts in about.expert_map.items()
    }
    full = {category: plain.get(category, ()) for category in (*about.categories, GENERAL)}
    placed = {category: experts for category, experts in keep_unmeasured(full, entries).items() if experts}
    facts: dict[str, Any] = {name: entry.model_dump(mode="json") for name, entry in sorted(entries.items())}
    return save_expert_map(path, placed, facts={FACT: facts})


def _cells(about: RouterFacts) -> list[tuple[str, str, float | None]]:
    return [
        (category, name, score) for category, experts in about.expert_map.items() for name, score in experts
    ]


def _entries(about: RouterFacts, path: Path) -> dict[str, Entry]:
    try:
        return {name: Entry.model_validate(entry) for name, entry in about.facts.get(FACT, {}).items()}
    except (ValidationError, AttributeError) as error:
        raise ArtifactError(f"{path / 'manifest.json'}: `facts.{FACT}`: {error}.") from error
