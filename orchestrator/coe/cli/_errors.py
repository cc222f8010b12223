"""Exit codes, and errors as a user sees them."""

from __future__ import annotations

import sys
from enum import IntEnum

from coe.errors import ArtifactError, CoeError, ConfigError, ExpertError, PluginError, RequestError


class ExitCode(IntEnum):
    """What `coe` returns to the shell. Scripts may depend on it."""

    OK = 0
    FAILURE = 1
    """It ran and failed."""
    USAGE = 2
    """A command, option or argument is wrong."""
    CONFIG = 3
    """The configuration is invalid or cannot be read."""
    PLUGIN = 4
    """A plugin is missing, not allowed or broken."""
    ARTIFACT = 5
    """A saved artifact is corrupt or does not fit."""
    REQUEST = 6
    """No expert can serve the request as asked."""
    EXPERT = 7
    """An expert failed to answer."""
    INTERRUPTED = 130
    """Stopped by Ctrl-C."""


_CODES: tuple[tuple[type[CoeError], ExitCode], ...] = (
    (ConfigError, ExitCode.CONFIG),
    (PluginError, ExitCode.PLUGIN),
    (ArtifactError, ExitCode.ARTIFACT),
    (RequestError, ExitCode.REQUEST),
    (ExpertError, ExitCode.EXPERT),
)


def exit_code(error: CoeError) -> ExitCode:
    """The exit code that stands for an error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.FAILURE)


def report(error: CoeError) -> None:
    """Print an error to stderr: `error: …` for each line of its message, then `hint: …`."""
    for line in error.message.splitlines():
        print(f"error: {line}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)
