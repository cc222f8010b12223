"""Where a running server's configuration comes from, so that it can be read again."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coe.config._discover import find
from coe.config._embedded import EMBEDDED_TEXT
from coe.config._load import folder_of, loads, read_text
from coe.config._models import Config, PluginSettings, ServerConfig
from coe.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line says instead of the file; None where it says nothing.

    Attributes:
        host, port, workers, allow_open: of `server`.
        redis: URL that `cache.shared` shall use; may hold a password.
    """

    host: str | None = None
    port: int | None = None
    workers: int | None = None
    allow_open: bool | None = None
    redis: str | None = field(default=None, repr=False)

    def apply(self, config: Config) -> Config:
        """The configuration with these values in it. Raises `pydantic.ValidationError` for a wrong one."""
        update: dict[str, object] = {}
        names = ("host", "port", "workers", "allow_open")
        server = {name: getattr(self, name) for name in names}
        if said := {key: value for key, value in server.items() if value is not None}:
            given = config.server.model_dump(exclude_unset=True)
            update["server"] = ServerConfig.model_validate({**given, **said})
        if self.redis is not None:
            shared = PluginSettings.model_validate({"kind": "redis", "url": self.redis})
            update["cache"] = config.cache.model_copy(update={"shared": shared})
        if not update:
            return config
        changed = config.model_copy(update=update)
        changed.attach(config.origin)
        return changed


@dataclass(frozen=True, slots=True)
class ConfigSource:
    """A configuration file, or the embedded default, and what the command line says instead.

    Attributes:
        path: the file; None for the embedded default, which never changes.
    """

    path: Path | None = None
    overrides: Overrides = Overrides()

    @classmethod
    def found(cls, named: Path | None, overrides: Overrides) -> ConfigSource:
        """What `find` finds."""
        return cls(find(named), overrides)

    def read(self) -> str:
        """The text as it is now. Raises `ConfigError` when the file cannot be read."""
        return EMBEDDED_TEXT if self.path is None else read_text(self.path)

    @property
    def lasts(self) -> bool:
        """Whether it is a file, which may change and be read again. A pipe is empty after it was read."""
        if self.path is None:
            return False
        try:
            mode = self.path.stat().st_mode
        except OSError:  # reading it says what is wrong
            return True
        return not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode))

    def read_again(self) -> str:
        """The text as it is now, for a server that has read it before. Raises `ConfigError`."""
        if self.path is not None and not self.lasts:
            raise ConfigError(
                f"{self.path} is a pipe: it was read when the server started, and cannot be read again.",
                hint="Start the server with a file to change its configuration while it runs.",
            )
        return self.read()

    def parse(self, text: str, environ: Mapping[str, str] | None = None) -> Config:
        """The configuration that a text stands for. `${NAME}` is looked up now, in the process environment.

        Raises:
            InvalidConfig: what the text says is wrong; all problems at once.
        """
        named: dict[str, Any] = (
            {"source": "embedded default"}
            if self.path is None
            else {"source": str(self.path), "base_dir": folder_of(self.path)}
        )
        return self.overrides.apply(loads(text, os.environ if environ is None else environ, **named))
