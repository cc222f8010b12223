"""What an entry point returns, and what it may ask coe for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Generic, Protocol, TypeVar

from coe.contracts._experts import Card, Expert
from coe.contracts._routing import Embedder

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from pydantic import BaseModel

T_co = TypeVar("T_co", covariant=True)


class ExpertReference:
    """Marks a setting that names an expert: `coe config validate` checks that the pool has it."""


ExpertName = Annotated[str, ExpertReference()]
"""Type of such a setting, alone or within lists and dicts: `base: ExpertName`."""


class Build(Protocol):
    """What a plugin may ask the host for while it is built."""

    @property
    def base_dir(self) -> Path:
        """The folder that relative paths of the configuration start from."""
        ...

    def card(self, defaults: Card) -> Card:
        """The expert's card: the plugin's `defaults` with the user's `card:` keys laid over them."""
        ...

    def expert(self, name: str) -> Expert:
        """Another expert of the pool, built first. Raises `ConfigError` for an unknown name or a cycle."""
        ...

    def embedder(self, kind: str, settings: Mapping[str, Any]) -> Embedder:
        """An embedder by its entry-point name. Raises `PluginError` or `ConfigError`."""
        ...

    def nested(self, kind: str, settings: Mapping[str, Any], card: Card) -> Expert:
        """A new expert of another kind that is not in the pool: its caller alone asks and closes it.

        May be called later than `create`, for example once a server's port is known. `card` is taken as it
        is. Raises `PluginError` or `ConfigError`.
        """
        ...


class Host(Protocol):
    """What a plugin's command may ask coe for: the `obj` of its `typer.Context`."""

    def open(self, config: Path | None = None) -> AbstractAsyncContextManager[Build]:
        """The experts and embedders of a configuration file; by default that of `coe serve`.

        Nothing is started: a command awaits `Startable.start` of what it asks. Experts are closed at the end.
        Raises `UserError` when the configuration is wrong.
        """
        ...


@dataclass(frozen=True, slots=True)
class Plugin(Generic[T_co]):
    """What an entry point of coe.experts, coe.routers, coe.embedders or coe.caches returns when called.

    Attributes:
        settings: pydantic model of the plugin's keys in the configuration; unknown keys are rejected by coe.
        create: `(name, settings, build)` to the expert, router, embedder or cache. Called once per
            configured name; it must not touch the network.
        description: one line for `coe plugins list`.
        shared: for experts that hold what must not exist once per worker, such as a server that they launch:
            with several workers one process runs them, and the workers ask it.
    """

    settings: type[BaseModel]
    create: Callable[[str, Any, Build], T_co] = field(repr=False)
    description: str = ""
    shared: bool = False


GROUPS: Mapping[str, str] = {
    "coe.experts": "expert",
    "coe.routers": "router",
    "coe.embedders": "embedder",
    "coe.caches": "cache",
    "coe.commands": "command",
}
"""Entry-point groups and the word for one member of each."""
