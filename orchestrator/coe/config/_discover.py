"""Which configuration a command uses. Nothing outside coe.config reads the process environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from coe.config._embedded import embedded_default
from coe.config._load import load
from coe.config._models import Config

FILE_NAME = "coe.yaml"
VARIABLE = "COE_CONFIG"


def find(
    named: Path | None, environ: Mapping[str, str] | None = None, folder: Path | None = None
) -> Path | None:
    """The configuration file to use: the one that was named, else `$COE_CONFIG`, else `./coe.yaml`.

    Args:
        named: what the user gave on the command line.
        environ: the process environment by default.
        folder: the working directory by default.

    Returns:
        None when there is no file, which means the embedded default.
    """
    environ = os.environ if environ is None else environ
    if named is not None:
        return named
    if variable := environ.get(VARIABLE):
        return Path(variable)
    path = (folder / FILE_NAME) if folder else Path(FILE_NAME)
    return path if path.exists() else None


def discover(
    named: Path | None = None, environ: Mapping[str, str] | None = None, folder: Path | None = None
) -> Config:
    """Load the configuration that `find` finds, or the embedded default.

    Raises:
        ConfigError: the file cannot be read.
        InvalidConfig: what it says is wrong.
    """
    environ = os.environ if environ is None else environ
    path = find(named, environ, folder)
    return embedded_default() if path is None else load(path, environ)
