"""What the commands share: options, progress, tables, JSON."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from coe.contracts import Card
from coe.errors import DataError
from coe_routers.outcomes import read_cards

OutcomesArgument = Annotated[
    list[Path],
    typer.Argument(metavar="OUTCOMES...", help="Recorded outcomes: .jsonl, .jsonl.gz or .parquet."),
]
RouterArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `coe train` wrote.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of splits and intervals.")]
ModelsOption = Annotated[
    Path | None,
    typer.Option("--models", metavar="FILE", help="Cards of the experts (models.json).", show_default=False),
]


def cards_at(path: Path | None) -> Mapping[str, Card]:
    """The cards of a file; none without one."""
    return {} if path is None else read_cards(path)


def console(*, stderr: bool = False) -> Console:
    """Where a command prints; lines stay whole where there is no terminal."""
    made = Console(stderr=stderr, highlight=False, soft_wrap=True)
    if not made.is_terminal:
        made.width = 10_000
    return made


@contextmanager
def steps(first: str) -> Generator[Progress, None, None]:
    """A spinner with one task on stderr where that is a terminal; stdout stays free."""
    out = console(stderr=True)
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=out, disable=not out.is_terminal) as shown:
        shown.add_task(first, total=None)
        yield shown


def print_json(value: Any) -> None:
    """Print JSON; numbers that JSON does not know become null."""
    json.dump(plain(value), sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
    sys.stdout.write("\n")


def plain(value: Any) -> Any:
    """The value without NaN and infinity, numbers to six digits."""
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A plain table; columns after the first are right-aligned where they hold numbers."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for number, name in enumerate(columns):
        numeric = number > 0 and all(row[number][:1] in "+-0123456789" for row in rows if row[number])
        made.add_column(name, justify="right" if numeric else "left")
    for row in rows:
        made.add_row(*row)
    return made


def points(low: float, high: float) -> str:
    """An interval in points with signs."""
    return f"{low:+.1f} to {high:+.1f}"


def pairs(values: Sequence[str], option: str) -> list[tuple[str, str]]:
    """`key=value` of each use of an option. Raises `DataError` for anything else."""
    found: list[tuple[str, str]] = []
    for value in values:
        key, sign, rest = value.partition("=")
        if not sign or not key or not rest:
            raise DataError(f"{option} {value!r}: expected KEY=VALUE.")
        found.append((key, rest))
    return found
