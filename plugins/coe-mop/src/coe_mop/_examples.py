"""Task examples: what a user has, and what prompts are made from."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from coe.errors import DataError


@dataclass(frozen=True, slots=True)
class Example:
    """One example of a task.

    Attributes:
        input: what a user says.
        outputs: right answers, at least one; the first is what demonstrations show.
        task: the task it belongs to, when the file says so. Only for reports: regions never see it.
    """

    input: str
    outputs: tuple[str, ...]
    task: str | None = None

    @property
    def output(self) -> str:
        """The answer that demonstrations show."""
        return self.outputs[0]


@dataclass(frozen=True, slots=True)
class Query:
    """An input to route, with the id that the file gives it (else its number, from 0)."""

    id: str | int
    input: str


def read_examples(path: Path) -> list[Example]:
    """Read `{input, output, task?}` rows of a JSON Lines file, gzip or not.

    An output may be a list: any of its members is right. Inputs that are objects are written as `key: value`
    lines. Rows that are the same in all three are kept once.

    Raises:
        DataError: the file cannot be read, or a row is wrong; with its line.
    """
    found: dict[Example, None] = {}
    for where, row in _rows(path):
        outputs = row.get("output")
        listed = cast("list[Any]", outputs) if isinstance(outputs, list) else [outputs]
        if not listed or any(not isinstance(each, (str, int, float)) for each in listed):
            raise DataError(f"{where}: `output` must be a text, or a list of texts with at least one.")
        task = row.get("task")
        if task is not None and not isinstance(task, str):
            raise DataError(f"{where}: `task` must be a text.")
        found[Example(_input(row, where), tuple(_text(each) for each in listed), task)] = None
    if not found:
        raise DataError(f"{path} holds no example.", hint='Rows look like {"input": "…", "output": "…"}.')
    return list(found)


def read_queries(path: Path) -> list[Query]:
    """Read `{input, id?}` rows. Raises `DataError` like `read_examples`."""
    queries: list[Query] = []
    for where, row in _rows(path):
        given = row.get("id", len(queries))
        if not isinstance(given, (str, int)):
            raise DataError(f"{where}: `id` must be a text or a whole number.")
        queries.append(Query(given, _input(row, where)))
    return queries


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield f"{path}:{number}", _row(line, f"{path}:{number}")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error


def _row(line: str, where: str) -> Mapping[str, Any]:
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where}: not JSON: {error}.") from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected an object with `input`, found {type(row).__name__}.")
    return cast("Mapping[str, Any]", row)


def _input(row: Mapping[str, Any], where: str) -> str:
    given: Any = row.get("input")
    if isinstance(given, dict):
        fields = cast("Mapping[str, Any]", given)
        given = "\n".join(f"{key}: {_text(value)}" for key, value in fields.items())
    if not isinstance(given, str) or not given.strip():
        raise DataError(f"{where}: `input` must be a text that is not empty.")
    return given


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
