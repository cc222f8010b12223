"""`coe plugins`: list, check and create plugins."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from coe.cli._errors import ExitCode
from coe.cli._files import write_new
from coe.cli._options import ConfigOption, JsonOption, load_config, registry_for
from coe.cli._scaffold import scaffold
from coe.contracts import GROUPS
from coe.errors import PluginError, UserError
from coe.registry import Found, Registry

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_STYLES = {"loaded": "green", "broken": "red", "ambiguous": "red", "not allowed": "yellow"}
_COMMANDS = "coe.commands"
_UNBOUNDED = 10_000


class Kind(StrEnum):
    """What `coe plugins new` can create."""

    EXPERT = "expert"
    ROUTER = "router"


@app.callback()
def _group() -> None:  # pyright: ignore[reportUnusedFunction]  (Typer calls it)
    """List, check and create plugins."""


@app.command("list")
def list_plugins(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List every installed plugin, without importing any.

    A plugin is `not allowed` when the configuration's `plugins.allow` lacks its distribution. Commands run
    when you type them: the list does not hold for them.
    """
    plugins, commands = registry_for(load_config(config)), Registry()
    _print([*_plugins(plugins), *commands.found(_COMMANDS)], as_json)


@app.command()
def doctor(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Import every allowed plugin and say which are broken, and why.

    Exits with 4 when one is.
    """
    plugins, commands = registry_for(load_config(config)), Registry()
    plugins.check_all()
    for name in commands.names(_COMMANDS):
        with suppress(PluginError):  # `Found` says what is wrong
            commands.command(name)
    found = [*_plugins(plugins), *commands.found(_COMMANDS)]
    _print(found, as_json)
    if not as_json:
        for each in found:
            if each.status != "loaded":
                typer.echo(f"{GROUPS[each.group]} `{each.name}` of {each.distribution}: {_advice(each)}")
    if any(each.status in ("broken", "ambiguous") for each in found):
        raise typer.Exit(ExitCode.PLUGIN)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Its `kind` in the configuration, for example `acme`.")],
    group: Annotated[Kind, typer.Option(help="What it adds.")] = Kind.EXPERT,
    folder: Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where to make its folder.")] = Path(),
) -> None:
    """Write a plugin package that works, with tests that use coe's conformance kit."""
    package = scaffold(name, group.value)
    root = folder / package.distribution
    if root.exists():
        raise UserError(f"{root} exists already.", hint="Choose another name or another --dir.")
    write_new({root / path: text for path, text in package.files.items()})
    typer.echo(f"Wrote {root}. Install it and run its tests:")
    typer.echo(f"  pip install -e {root}[test] && pytest {root}")


def _advice(found: Found) -> str:
    if found.status == "not allowed":
        return f"not imported; add `{found.distribution}` to `plugins.allow` if you trust it."
    if found.status == "ambiguous":
        return "offered twice; uninstall all but one."
    return f"{found.error}; reinstall or upgrade {found.distribution}, or tell its author."


def _plugins(registry: Registry) -> list[Found]:
    return [each for each in registry.found() if each.group != _COMMANDS]


def _print(found: Sequence[Found], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], indent=2))
        return
    table = Table("adds", "name", "distribution", "version", "status", box=None)
    for each in found:
        row = (GROUPS[each.group], each.name, each.distribution, each.version)
        table.add_row(*map(Text, row), Text(each.status, _STYLES.get(each.status, "")))
    # What is piped to a program must be neither wrapped nor cut.
    Console(width=None if sys.stdout.isatty() else _UNBOUNDED).print(table)
