"""`coe init`: a first configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coe.cli._files import write_new
from coe.cli._options import schema_text
from coe.config import EMBEDDED_TEXT, FILE_NAME

SCHEMA_NAME = "coe.schema.json"

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
) -> None:
    """Write coe.yaml, the embedded default with comments, and coe.schema.json for your editor.

    Asks nothing, looks for nothing on the network, and overwrites nothing without --force.
    """
    config, schema = folder / FILE_NAME, folder / SCHEMA_NAME
    write_new({config: EMBEDDED_TEXT, schema: schema_text()}, force=force)
    typer.echo(f"Wrote {config} and {schema}.")
    named = "" if folder == Path() else f" --config {config}"
    typer.echo(f"Next: coe config validate {config}, then coe serve{named}")
