"""What the commands share."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from coe.contracts import Host
from coe.errors import ConfigError, DataError

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="Configuration.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def host_of(context: typer.Context) -> Host:
    """What the command may ask coe for. Raises `ConfigError` outside of coe."""
    host: Host | None = context.find_root().obj
    if host is None:
        raise ConfigError("This command runs as `coe rewards`.")
    return host


def write_rows(target: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write JSON Lines, all or nothing. Raises `DataError`."""
    text = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    staged = target.with_name(f".{target.name}.part")
    try:
        staged.write_text(text, encoding="utf-8")
        staged.replace(target)
    except OSError as error:
        raise DataError(f"{target} cannot be written: {error.strerror}.") from error


def print_json(value: Mapping[str, Any]) -> None:
    """Print for programs."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
    sys.stdout.write("\n")
