"""The frame around all commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.main import get_command

from coe.cli._commands import LazyGroup
from coe.cli._errors import exit_code, report
from coe.cli._host import CommandHost
from coe.errors import CoeError

# Rich help would cost half the time of `coe --help`.
_app = typer.Typer(cls=LazyGroup, rich_markup_mode=None, no_args_is_help=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `coe` and leave the process by `SystemExit`, with a code of `ExitCode`.

    Args:
        arguments: what follows `coe`; those of the process by default.
    """
    try:
        get_command(_app).main(args=arguments, prog_name="coe", obj=CommandHost())
    except CoeError as error:
        report(error)
        sys.exit(exit_code(error))


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # slow to import, and `coe --help` has no use for it

        typer.echo(f"coe {version('coe-router')}")
        raise typer.Exit


@_app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """One OpenAI-compatible endpoint in front of many experts: coe sends each prompt to the right one."""
