"""Words that say how many tools a request offers and how well the best one fits its text.

How many there are tells kinds of calls apart, and whether any fits tells a call from a plain answer. Both are
written as words without digits, because n-grams fold digits: `tools3` would read the same as `tools4`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from coe.contracts import ToolFact

_STEM = 5
_WORD = re.compile(r"[^\W\d_]{3,}")
_HUMP = re.compile(r"([a-z])([A-Z])")
_MOST = 8
_LETTERS = "abcdefgh"
_NAMED = (0.01, 0.3, 0.5, 0.8)
_TOLD = (0.01, 0.15, 0.3, 0.5)


def tool_words(text: str, tools: Sequence[ToolFact]) -> str:
    """The words for a text and the tools that it comes with.

    Fit is the share of a tool's words that the text has too, by their first letters; of the name alone and
    of name and description. Each threshold gives a word for being reached or missed, so that a linear
    classifier can weigh them.
    """
    if not tools:
        return ""
    said = _stems(text)
    read = [_read(tool) for tool in tools]
    named = max(_overlap(said, name) for name, _ in read)
    told = max(_overlap(said, both) for _, both in read)
    words = [f"offers{_LETTERS[min(len(tools), _MOST) - 1] * 3}"]
    for kind, fit, steps in (("named", named, _NAMED), ("told", told, _TOLD)):
        words += [
            f"{kind}{letter * 2}{'yes' if fit >= step else 'no'}"
            for letter, step in zip(_LETTERS, steps, strict=False)
        ]
    return " ".join(words)


# Callers offer the same tools with every request.
@lru_cache(maxsize=512)
def _read(tool: ToolFact) -> tuple[frozenset[str], frozenset[str]]:
    """Stems of the tool's name, and of its name and description."""
    name = _HUMP.sub(r"\1 \2", tool.name)
    return _stems(name), _stems(f"{name} {tool.description}")


def _stems(text: str) -> frozenset[str]:
    found: list[str] = _WORD.findall(text.replace("_", " ").lower())
    return frozenset(word[:_STEM] for word in found)


def _overlap(said: frozenset[str], words: frozenset[str]) -> float:
    return len(said & words) / len(words) if words else 0.0
