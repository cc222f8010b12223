"""Options that several commands share, and what they lead to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from coe.config import Config, InvalidConfig, check_plugins, discover, json_schema
from coe.registry import FIRST_PARTY, Registry

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="Configuration; by default $COE_CONFIG, else ./coe.yaml, else the embedded default.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def load_config(named: Path | None) -> Config:
    """The configuration that a command works with, checked without its plugins.

    Raises:
        ConfigError: the file cannot be read.
        InvalidConfig: what it says is wrong.
    """
    return discover(named)


def registry_for(config: Config) -> Registry:
    """The plugins that the configuration may use: coe's own and those on its allow-list."""
    return Registry(allow=FIRST_PARTY.union(config.plugins.allow))


def checked(config: Config, registry: Registry) -> Config:
    """The configuration, once all of its plugins accept their settings.

    Raises:
        InvalidConfig: a kind is unknown or unavailable, or settings are wrong; all problems at once.
    """
    if problems := check_plugins(config, registry):
        raise InvalidConfig(problems)
    return config


def schema_text() -> str:
    """The JSON Schema of configuration files as text. Imports every installed plugin.

    Plugins that do not load are named on stderr.
    """
    schema = json_schema(Registry())
    for note in schema.get("$comment", "").splitlines():
        typer.echo(f"note: {note}", err=True)
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
