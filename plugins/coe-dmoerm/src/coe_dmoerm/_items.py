"""What reward models learn from: rated answers, and pairs of which one was preferred."""

from __future__ import annotations

import gzip
import itertools
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from coe.errors import DataError

GAP = 0.05
"""Answers to the same prompt whose mean ratings differ by less are no pair."""
UNNAMED = "general"
"""The task of items that name none."""


@dataclass(frozen=True, slots=True)
class Item:
    """One answer.

    Attributes:
        item_id: as the file has it.
        task: the task it belongs to; None where the file does not say.
        prompt, context, response: what was asked, what else was given, what was answered.
        aspects: ratings in 0..1 by capability; empty for an answer of a pair.
    """

    item_id: str
    task: str | None
    prompt: str
    context: str
    response: str
    aspects: Mapping[str, float]

    @property
    def rating(self) -> float:
        """Mean of its ratings; NaN without any."""
        return sum(self.aspects.values()) / len(self.aspects) if self.aspects else math.nan


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one prompt, by their places in the data: the better and the worse.

    `aspect` is the capability that was compared; None for the whole answer.
    """

    better: int
    worse: int
    aspect: str | None = None


@dataclass(frozen=True, slots=True)
class Data:
    """Items, the pairs among them (given, or made by ratings), and how many ties were left out."""

    items: tuple[Item, ...]
    pairs: tuple[Pair, ...]
    ties: int = 0

    def of_task(self, task: str | None) -> Data:
        """The items of one task, and their pairs; everything for None."""
        if task is None:
            return self
        rows = [row for row, item in enumerate(self.items) if (item.task or UNNAMED) == task]
        return self.take(rows)

    def take(self, rows: Sequence[int]) -> Data:
        """Some of the items, and the pairs that lie wholly among them."""
        place = {row: at for at, row in enumerate(rows)}
        pairs = [
            Pair(place[pair.better], place[pair.worse], pair.aspect)
            for pair in self.pairs
            if pair.better in place and pair.worse in place
        ]
        return Data(tuple(self.items[row] for row in rows), tuple(pairs))

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks, sorted."""
        return tuple(sorted({item.task or UNNAMED for item in self.items}))


def read_data(paths: Sequence[Path]) -> Data:
    """Read files of preference pairs and of ratings, gzip or not; each row is one or the other.

    A pair is `{prompt, response_a, response_b, label, category?, aspect?, context?}` with the label a, b or
    tie; a rating is `{item_id, task, prompt, context?, response, aspects: {name: 0..1}}`.

    Raises:
        DataError: a file cannot be read, or a row is wrong; with file, line and field.
    """
    items: list[Item] = []
    pairs: list[Pair] = []
    ties = 0
    for path in paths:
        for where, row in rows_of(path):
            if "aspects" in row:
                items.append(_rated(row, where))
            elif "label" in row:
                found = _pair(row, where)
                if found is None:
                    ties += 1
                    continue
                better, worse, aspect = found
                pairs.append(Pair(len(items), len(items) + 1, aspect))
                items += [better, worse]
            else:
                raise DataError(
                    f"{where}: neither `aspects` (a rating) nor `label` (a pair) is there.",
                    hint="Rows are {prompt, response_a, response_b, label} or "
                    "{item_id, task, prompt, response, aspects}.",
                )
    if not items:
        raise DataError(f"{', '.join(map(str, paths))}: no rating and no pair with a winner.")
    return Data(tuple(items), (*pairs, *rated_pairs(items)), ties)


def read_items(path: Path) -> list[Item]:
    """Read answers to be scored: `{item_id?, task?, prompt, context?, response}`. Raises `DataError`."""
    return [
        Item(
            _identity(row, where, number),
            _optional(row, "task", where),
            _text(row, "prompt", where),
            _optional(row, "context", where) or "",
            _text(row, "response", where),
            {},
        )
        for number, (where, row) in enumerate(rows_of(path))
    ]


def rated_pairs(items: Sequence[Item], gap: float = GAP) -> list[Pair]:
    """The pairs of answers to the same prompt whose mean ratings differ by at least `gap`."""
    by_prompt: dict[tuple[str | None, str, str], list[int]] = defaultdict(list)
    for row, item in enumerate(items):
        if item.aspects:
            by_prompt[item.task, item.prompt, item.context].append(row)
    found: list[Pair] = []
    for rows in by_prompt.values():
        for one, other in itertools.combinations(rows, 2):
            lead = items[one].rating - items[other].rating
            if abs(lead) >= gap - 1e-9:
                found.append(Pair(one, other) if lead > 0 else Pair(other, one))
    return found


def rows_of(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The rows of a JSON Lines file, gzip or not, each with `file:line`. Raises `DataError`."""
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield f"{path}:{number}", _row(line, f"{path}:{number}")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error


def _row(line: str, where: str) -> Mapping[str, Any]:
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where}: not JSON: {error}.") from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected an object, found {type(row).__name__}.")
    return cast("Mapping[str, Any]", row)


def _rated(row: Mapping[str, Any], where: str) -> Item:
    given: Any = row["aspects"]
    if not isinstance(given, dict) or not given:
        raise DataError(f"{where}: `aspects` must be an object with at least one rating.")
    aspects: dict[str, float] = {}
    for name, value in cast("Mapping[str, Any]", given).items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise DataError(f"{where}: `aspects.{name}` is {value!r}; expected a number in 0..1.")
        aspects[name] = float(value)
    return Item(
        _identity(row, where, where),
        _text(row, "task", where),
        _text(row, "prompt", where),
        _optional(row, "context", where) or "",
        _text(row, "response", where),
        aspects,
    )


def _pair(row: Mapping[str, Any], where: str) -> tuple[Item, Item, str | None] | None:
    label: Any = row["label"]
    if label not in ("a", "b", "tie"):
        raise DataError(f"{where}: `label` is {label!r}; expected `a`, `b` or `tie`.")
    prompt, context = _text(row, "prompt", where), _optional(row, "context", where) or ""
    task = _optional(row, "task", where) or _optional(row, "category", where)
    name = _identity(row, where, where, "pair_id")
    one, other = (
        Item(f"{name}/{side}", task, prompt, context, _text(row, f"response_{side}", where), {})
        for side in ("a", "b")
    )
    if label == "tie":
        return None
    aspect = _optional(row, "aspect", where)
    return (one, other, aspect) if label == "a" else (other, one, aspect)


def _text(row: Mapping[str, Any], field: str, where: str) -> str:
    value = row.get(field)
    if not isinstance(value, str):
        found = "nothing" if field not in row else type(value).__name__
        raise DataError(f"{where}: `{field}` must be a text, found {found}.")
    return value


def _optional(row: Mapping[str, Any], field: str, where: str) -> str | None:
    return None if row.get(field) is None else _text(row, field, where)


def _identity(row: Mapping[str, Any], where: str, default: str | int, field: str = "item_id") -> str:
    value = row.get(field, default)
    if not isinstance(value, (str, int)):
        raise DataError(f"{where}: `{field}` must be a text or a whole number.")
    return str(value)
