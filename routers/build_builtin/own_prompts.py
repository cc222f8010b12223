"""Prompts written for this project: templates of everyday requests, filled deterministically."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml
from sources import Example

PROMPTS = Path(__file__).parent / "own_prompts.yaml"
PER_TEMPLATE = 12
"""Fillings of one template; templates without a slot count once."""


def read_own(path: Path = PROMPTS) -> Iterator[Example]:
    """Every template with up to `PER_TEMPLATE` fillings, the same ones every time."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    slots: Mapping[str, Sequence[str]] = document["slots"]
    for category, templates in document["prompts"].items():
        for template in templates:
            for text in fillings(template, slots):
                yield Example(text, category, "written for coe", "Apache-2.0")


def fillings(template: str, slots: Mapping[str, Sequence[str]]) -> list[str]:
    """Fillings of the slots in `{braces}`, chosen by a generator seeded with the template."""
    names = [name for name in slots if f"{{{name}}}" in template]
    if not names:
        return [template]
    choose = random.Random(template)  # noqa: S311 - sampling prompts, not secrets
    every = list(itertools.product(*(slots[name] for name in names)))
    picked = choose.sample(every, min(PER_TEMPLATE, len(every)))
    return [_fill(template, dict(zip(names, values, strict=True))) for values in picked]


def _fill(template: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        template = template.replace(f"{{{name}}}", value)
    return template
