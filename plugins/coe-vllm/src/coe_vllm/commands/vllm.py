"""`coe vllm`: what the installed vLLM takes, and the presets."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from coe.errors import DataError
from coe_vllm._presets import PRESETS
from coe_vllm.server._arguments import Known, Option, Unknown, ask, problems
from coe_vllm.server._check import cache_dir

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

PythonOption = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="Of the environment that holds vLLM; coe's own by default."),
]


@app.callback()
def _root() -> None:
    """The vLLM that servers are launched with: its arguments, and presets for common machines."""


@app.command()
def arguments(
    word: Annotated[str, typer.Argument(metavar="[WORD]", help="Only those with it in their name.")] = "",
    python: PythonOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List what can stand under `launch.args`, from the parser of the installed vLLM."""
    known = _known(python)
    options = {
        name: option for name, option in sorted(known.options.items()) if word.replace("-", "_") in name
    }
    if as_json:
        typer.echo(json.dumps({"version": known.version, "arguments": msgspec.to_builtins(options)}))
        return
    for name, option in options.items():
        typer.echo(f"{name}: {_words(option)}")
    typer.echo(f"{len(options)} of {len(known.options)} arguments of vLLM {known.version}.", err=True)


@app.command()
def presets(python: PythonOption = None) -> None:
    """Explain the presets; with --python, check that the vLLM there takes them."""
    known = _known(python) if python is not None else None
    refused = False
    for name, preset in PRESETS.items():
        typer.echo(f"{name}: {preset.why}")
        for key, value in preset.args.items():
            typer.echo(f"  args: {key}: {json.dumps(value)}")
        for key, value in preset.env.items():
            typer.echo(f"  env: {key}={value}")
        if known is not None:
            found = problems(known, preset.args, preset.env)
            refused = refused or bool(found)
            typer.echo(f"  vLLM {known.version}: {'; '.join(found) or 'takes it'}")
    if refused:
        raise typer.Exit(1)


def _known(python: Path | None) -> Known:
    named = sys.executable if python is None else str(python.expanduser())
    try:
        return asyncio.run(ask(named, {}, cache_dir()))
    except Unknown as error:
        raise DataError(
            f"{named} cannot say what its vLLM takes: {error}.",
            hint="Name the Python of an environment with vLLM: --python .venv-vllm/bin/python.",
        ) from None


def _words(option: Option) -> str:
    kinds = {"flag": "true or false", "switch": "true", "size": "a number, 8k too", "int": "a whole number"}
    takes = kinds.get(option.takes, {"float": "a number", "json": "JSON"}.get(option.takes, "text"))
    if option.choices is not None:
        takes = " | ".join(option.choices)
    elif option.keys is not None:
        takes = "object of " + ", ".join(option.keys)
    return f"list of {takes}" if option.several else takes
