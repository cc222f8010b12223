"""What is wrong with a configuration, one line each, all at once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coe.errors import ConfigError

if TYPE_CHECKING:
    from coe.config._models import Config

KeyPath = tuple[str | int, ...]
"""Where a value stands in the file: keys, and indices of lists."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend.

    Attributes:
        source: the file as the user named it.
        line: counted from 1; None when the configuration was not read from text.
        path: the key that is wrong; empty for the file as a whole.
        message: what was found and what was expected. Never holds a value that came from `${…}`.
    """

    source: str
    line: int | None
    path: KeyPath
    message: str

    @property
    def key(self) -> str:
        """The path as people write it: `experts.coder.base_url`, `plugins.allow[2]`."""
        return key_of(self.path)

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}:{self.line}"
        return f"{place}: {self.key}: {self.message}" if self.path else f"{place}: {self.message}"


class InvalidConfig(ConfigError):
    """The configuration has problems; `problems` lists all that could be found in one pass.

    Args:
        problems: at least one; kept in the order of the file, none twice.
        config: what could be read, when its shape is right: with null where a value could not be replaced.
    """

    def __init__(self, problems: Iterable[Problem], config: Config | None = None) -> None:
        self.problems = tuple(in_order(problems))
        self.config = config
        super().__init__("\n".join(map(str, self.problems)))


def key_of(path: KeyPath) -> str:
    """A key path as text; keys that could be misread are quoted."""
    return "".join(
        f"[{step}]" if isinstance(step, int) else f".{_quoted(step)}" for step in path
    ).removeprefix(".")


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """By line, none twice."""
    return sorted(dict.fromkeys(problems), key=lambda problem: problem.line or 0)


def _quoted(step: str) -> str:
    if re.fullmatch(r"[\w-]+", step):
        return step
    return json.dumps(step, ensure_ascii=not step.isprintable())
