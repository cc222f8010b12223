"""`coe config`: check a configuration, print its schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from coe.cli._errors import ExitCode
from coe.cli._files import write_new
from coe.cli._options import ConfigOption, JsonOption, checked, load_config, registry_for, schema_text
from coe.config import Config, InvalidConfig, check_plugins

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.callback()
def _group() -> None:  # pyright: ignore[reportUnusedFunction]  (Typer calls it)
    """Check a configuration; print its JSON Schema."""


@app.command()
def validate(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="What to check.", show_default=False)
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a configuration and the settings of its plugins, without starting anything.

    Prints every problem with file, line and key, and exits with 3 when there is one.
    """
    try:
        valid = _checked(file or config)
    except InvalidConfig as error:
        if not as_json:
            raise
        typer.echo(json.dumps({"valid": False, "problems": _rows(error)}, indent=2))
        raise typer.Exit(ExitCode.CONFIG) from error
    typer.echo(json.dumps(_summary(valid), indent=2) if as_json else _sentence(valid))


@app.command()
def schema(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write it there instead.", show_default=False),
    ] = None,
) -> None:
    """Print the JSON Schema of configuration files, with every installed plugin in it.

    Editors check and complete a file that begins with
    `# yaml-language-server: $schema=coe.schema.json`.
    """
    text = schema_text()
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_new({output: text}, force=True)


def _checked(named: Path | None) -> Config:
    try:
        config = load_config(named)
    except InvalidConfig as error:
        if error.config is None:
            raise
        # An unset variable does not hide what is wrong with the plugins' settings.
        told = {problem.path for problem in error.problems}
        found = check_plugins(error.config, registry_for(error.config))
        raise InvalidConfig([*error.problems, *(each for each in found if each.path not in told)]) from error
    return checked(config, registry_for(config))


def _rows(error: InvalidConfig) -> list[dict[str, object]]:
    return [
        {"source": each.source, "line": each.line, "key": each.key, "message": each.message}
        for each in error.problems
    ]


def _summary(config: Config) -> dict[str, object]:
    return {
        "valid": True,
        "source": config.source,
        "experts": {name: expert.kind for name, expert in config.experts.items()},
        "routers": {name: router.kind for name, router in config.routers.items()},
    }


def _sentence(config: Config) -> str:
    experts, routers = len(config.experts), len(config.routers)
    return (
        f"{config.source} is valid: {experts} expert{'s' * (experts > 1)}, "
        f"{routers} router{'s' * (routers > 1)} ({', '.join(config.routers)})."
    )
