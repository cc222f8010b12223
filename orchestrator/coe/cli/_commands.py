"""Which commands there are, without importing them."""

from __future__ import annotations

import gc
import importlib
import sys
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from typer import Typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from coe.cli._offers import offered_commands


@dataclass(frozen=True, slots=True)
class Entry:
    """A command of coe: `module:attribute` of its Typer app, and one line of help."""

    target: str
    help: str


COMMANDS: dict[str, Entry] = {
    "init": Entry("coe.cli._init:app", "Write a commented configuration and its schema."),
    "serve": Entry("coe.cli._serve:app", "Serve every expert behind one OpenAI-compatible endpoint."),
    "route": Entry("coe.cli._route:app", "Say which expert should answer a prompt, and why."),
    "chat": Entry("coe.cli._chat:app", "Ask, and see which expert answers and why."),
    "experts": Entry("coe.cli._experts:app", "List the experts; test whether they answer."),
    "config": Entry("coe.cli._config:app", "Check a configuration; print its JSON Schema."),
    "keys": Entry("coe.cli._keys:app", "Create, list and revoke the API keys of tenants."),
    "journal": Entry("coe.cli._journal:app", "Show what was served: the last requests, or figures."),
    "plugins": Entry("coe.cli._plugins:app", "List, check and create plugins."),
}

_COMPLETION_OPTIONS = {"install_completion", "show_completion"}


class LazyGroup(TyperGroup):
    """A group that knows its commands by name and imports one when it is resolved.

    Listing and help see stand-ins; only `resolve_command`, which runs or completes a command, loads it.
    """

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, entry in COMMANDS.items():
            self.add_command(TyperCommand(name=name, help=entry.help))

    @cached_property
    def _plugins(self) -> dict[str, str]:
        """Command to distribution, for the commands of plugins. Reads metadata only."""
        offers = offered_commands(sys.path)
        return {name: offers[name] for name in sorted(offers) if name not in COMMANDS}

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of coe's own commands, then of the plugins' ones."""
        return [*COMMANDS, *self._plugins]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stand-in with the command's name and help."""
        if cmd_name in COMMANDS:
            return self.commands[cmd_name]
        if (distribution := self._plugins.get(cmd_name)) is None:
            return None
        return TyperCommand(name=cmd_name, help=f"(plugin {distribution})")

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The real command. Raises `PluginError` when a plugin's command does not load."""
        name = args[0]
        if self.get_command(ctx, name) is None:
            return super().resolve_command(ctx, args)
        return name, load_command(name), args[1:]


def load_command(name: str) -> Any:
    """Import a command of coe or of a plugin.

    Args:
        name: a name that the group lists.

    Raises:
        PluginError: it is a plugin's, and broken, or offered twice.
    """
    if entry := COMMANDS.get(name):
        module, attribute = entry.target.split(":")
        # Modules stay: looking for garbage among them is a fifth of the time.
        gc.disable()
        try:
            return _as_command(getattr(importlib.import_module(module), attribute), name)
        finally:
            gc.enable()
    from coe.registry import Registry  # reads all of the contracts: too slow for `coe --help`

    return _as_command(Registry().command(name), name)


def _as_command(app: Any, name: str) -> Any:
    command = get_command(app) if isinstance(app, Typer) else app
    command.name = name
    # A Typer app made without add_completion=False would offer to install its own completion.
    command.params = [each for each in command.params if each.name not in _COMPLETION_OPTIONS]
    return command
