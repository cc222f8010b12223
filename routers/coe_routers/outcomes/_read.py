"""Reading outcomes from JSON Lines, gzip and Parquet files."""

from __future__ import annotations

import gzip
import zlib
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from coe.contracts import ToolFact
from coe.errors import DataError
from coe_routers.outcomes._outcomes import OPTIONAL_COLUMNS, UNLABELLED, Outcomes
from coe_routers.outcomes._parquet import parquet_rows
from coe_routers.outcomes._rows import Numbers, OutcomeRow, PlannedRow, PromptRow, convert, decode

__all__ = ["PromptRow", "read_outcomes", "read_prompts"]

RowT = TypeVar("RowT", bound=PromptRow)


def read_outcomes(paths: Sequence[Path], *, unscored: bool = False) -> Outcomes:
    """Read outcomes from `*.jsonl`, `*.jsonl.gz` or `*.parquet` files into one table.

    Args:
        paths: the files.
        unscored: whether rows may lack scores, as prompts do that are yet to be evaluated.

    Raises:
        DataError: a file cannot be read, a row is wrong (the message names file, line and field), a
            prompt_id comes twice, or there is no row at all.
    """
    builder = _Builder()
    for path in paths:
        for where, row in _rows(path, PlannedRow if unscored else OutcomeRow):
            builder.add(where, row)
    if not builder.prompts:
        raise DataError(f"No rows in {', '.join(map(str, paths)) or 'no file'}.")
    return builder.build()


def read_prompts(path: Path) -> Iterator[PromptRow]:
    """The prompts of a file, one by one: rows as for `read_outcomes`, where `scores` is not needed.

    Raises:
        DataError: as `read_outcomes`, when the row is reached.
    """
    for _, row in _rows(path, PromptRow):
        yield row


def _rows(path: Path, kind: type[RowT]) -> Iterator[tuple[str, RowT]]:
    """Rows with `file:line` (`file: row` for Parquet)."""
    if path.suffix == ".parquet":
        for number, value in enumerate(parquet_rows(path), start=1):
            where = f"{path}: row {number}"
            yield where, convert(value, kind, where)
        return
    if not path.name.endswith((".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz")):
        raise DataError(f"{path}: unknown file type.", hint="Expected .jsonl, .jsonl.gz or .parquet.")
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    where = f"{path}:{number}"
                    yield where, decode(line, kind, where)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: damaged gzip file after line {number}: {error}.") from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}.") from error


class _Cells:
    """Numbers by (row, expert), kept as three flat arrays until the set of experts is known."""

    def __init__(self) -> None:
        self.row, self.expert, self.value = array("q"), array("q"), array("f")

    def add(self, row: int, numbers: Numbers, index: dict[str, int]) -> None:
        for expert, value in numbers.items():
            if value is not None:
                self.row.append(row)
                self.expert.append(index.setdefault(expert, len(index)))
                self.value.append(value)

    def matrix(self, n: int, order: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32[n, m] with NaN elsewhere; `order` gives each expert's column."""
        out = np.full((n, len(order)), np.nan, dtype=np.float32)
        out[np.asarray(self.row), order[np.asarray(self.expert)]] = np.asarray(self.value)
        return out


class _Builder:
    """Rows in, columns out."""

    def __init__(self) -> None:
        self.prompts: list[str] = []
        self._ids: dict[str, str] = {}
        self._experts: dict[str, int] = {}
        self._categories: list[str | None] = []
        self._tools: list[tuple[ToolFact, ...]] = []
        self._cells = {name: _Cells() for name in ("scores", *OPTIONAL_COLUMNS)}

    def add(self, where: str, row: OutcomeRow) -> None:
        prompt_id = str(row.prompt_id)
        if (first := self._ids.setdefault(prompt_id, where)) is not where:
            raise DataError(f"{where}: `prompt_id` {prompt_id!r} comes twice; first at {first}.")
        number = len(self.prompts)
        self.prompts.append(row.prompt)
        self._categories.append(row.category or None)
        self._tools.append(tuple(ToolFact(tool.name, tool.description) for tool in row.tools or ()))
        self._cells["scores"].add(number, row.scores, self._experts)
        for name in OPTIONAL_COLUMNS:
            # Numbers of an expert without a score here say nothing that routing could use.
            numbers: Numbers = getattr(row, name) or {}
            known = {key: value for key, value in numbers.items() if key in row.scores}
            self._cells[name].add(number, known, self._experts)

    def build(self) -> Outcomes:
        n = len(self.prompts)
        experts = sorted(self._experts)
        order = np.empty(len(experts), dtype=np.int64)
        for column, name in enumerate(experts):
            order[self._experts[name]] = column
        categories = sorted({name for name in self._categories if name is not None})
        index = {name: number for number, name in enumerate(categories)}
        return Outcomes(
            prompt_ids=tuple(self._ids),
            prompts=tuple(self.prompts),
            experts=tuple(experts),
            categories=tuple(categories),
            category=np.array(
                [UNLABELLED if name is None else index[name] for name in self._categories], dtype=np.int32
            ),
            scores=self._cells["scores"].matrix(n, order),
            tools=tuple(self._tools) if any(self._tools) else (),
            **{
                name: self._cells[name].matrix(n, order)
                for name in OPTIONAL_COLUMNS
                if len(self._cells[name].row)
            },
        )
