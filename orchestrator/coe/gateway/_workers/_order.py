"""What a supervisor tells a process that it has started."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from coe.config import ConfigSource, Overrides


class Host(msgspec.Struct, frozen=True):
    """Where the process listens that runs the experts that exist once, and what opens it."""

    base_url: str
    key: str


class Order(msgspec.Struct, frozen=True):
    """What a process shall serve.

    Attributes:
        role: a `worker` answers callers; the `host` runs the experts that exist once, for the workers.
        text: the configuration in force; `version` counts those that came before it.
        bound: the address that is listened on.
        path: the file that it was read from; None for the embedded default.
        host: for workers; None where no expert needs it.
        looks: whether this worker is the one that looks at experts, and tells the others.
    """

    role: Literal["worker", "host"]
    text: str
    version: int
    bound: str
    path: str | None
    overrides: Overrides
    host: Host | None
    verbose: bool
    looks: bool

    @property
    def source(self) -> ConfigSource:
        """Where the configuration comes from."""
        return ConfigSource(None if self.path is None else Path(self.path), self.overrides)


class Failure(msgspec.Struct, frozen=True):
    """Why a process could not begin: a `UserError` in parts.

    Attributes:
        kind: name of its class in coe.errors.
    """

    kind: str
    message: str
    hint: str | None = None
