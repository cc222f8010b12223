"""What the commands share."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from coe.contracts import Embedder, Host
from coe.errors import ConfigError, DataError
from coe_dmoerm._saved import Opened, read_model

ModelArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `coe rewards train` wrote.")]
BaseOption = Annotated[
    Path | None,
    typer.Option(
        "--base", metavar="FOLDER", help="Language model of the adapters (lora).", show_default=False
    ),
]
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


def embedders(context: typer.Context, config: Path | None) -> Callable[[str, Mapping[str, Any]], Embedder]:
    """What makes embedders, by the host."""
    host = host_of(context)

    def make(kind: str, settings: Mapping[str, Any]) -> Embedder:
        async def run() -> Embedder:
            async with host.open(config) as build:
                return build.embedder(kind, settings)

        return asyncio.run(run())

    return make


def open_model(context: typer.Context, model: Path, config: Path | None, base: Path | None = None) -> Opened:
    """Read a reward model. Raises `ArtifactError`."""
    return read_model(model, embedders(context, config), base)
