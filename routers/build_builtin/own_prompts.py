"""Prompts written for this project: templates of everyday requests, filled deterministically."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml
from sources import Example

PROMPTS = Path(__file__).parent / "own_prompts.yaml"
OWN = "written for coe"
FILLINGS = 24
"""Fillings of one template; templates without a slot count once."""
_SLOT = re.compile(r"\{([a-z]+)2?\}")
_OPENINGS = ("please ", "can you help? ", "hey, ", "I have a question. ", "Hi! ", "Quick one: ", "Hello, ")


def read_own(path: Path = PROMPTS) -> Iterator[Example]:
    """Every template with up to `FILLINGS` fillings, the same ones every time.

    `{slot2}` is another word of the same slot. Fillings share their template as group, so that they never
    stand on both sides of a split.
    """
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    slots: Mapping[str, Sequence[str]] = document["slots"]
    for category, templates in document["prompts"].items():
        for template in templates:
            for text in fillings(template, slots):
                yield Example(text, category, OWN, "Apache-2.0", group=template)


def fillings(template: str, slots: Mapping[str, Sequence[str]]) -> list[str]:
    """Distinct fillings, some of them in the careless style of chat; drawn by a generator seeded with it."""
    choose = random.Random(template)  # noqa: S311 - sampling prompts, not secrets
    names = sorted(set(_SLOT.findall(template)))
    if not names:
        return [template, casual(template, choose)]
    texts: dict[str, None] = {}
    for _ in range(3 * FILLINGS):
        text = template
        for name in names:
            first, second = choose.sample(list(slots[name]), 2)
            text = text.replace(f"{{{name}}}", first).replace(f"{{{name}2}}", second)
        texts[casual(text, choose) if choose.random() < 0.4 else text] = None
        if len(texts) == FILLINGS:
            break
    return list(texts)


def casual(text: str, choose: random.Random) -> str:
    """The text as people type it in a hurry: small letters, no full stop, a greeting in front."""
    style = choose.randrange(4)
    if style == 0:
        return text.lower()
    if style == 1:
        return text.rstrip(".?!")
    if style == 2:
        return text.lower().rstrip(".?!")
    return choose.choice(_OPENINGS) + text[:1].lower() + text[1:]
