"""Discovery reads metadata only; a plugin is imported when a configuration names it."""

from __future__ import annotations

import difflib
import importlib.metadata
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import Distribution, EntryPoint
from typing import Any, Literal, cast

from coe.contracts import GROUPS, Plugin
from coe.errors import PluginError

FIRST_PARTY = frozenset({"coe-router", "coe-litellm", "coe-vllm", "coe-mop", "coe-dmoerm", "coe-kernels"})
"""Distributions that `coe serve` imports without being told."""

Status = Literal["available", "loaded", "broken", "not allowed", "ambiguous"]


@dataclass(slots=True)
class Found:
    """One entry point and what is known of it.

    Attributes:
        group, name: where it is registered.
        distribution, version: who registered it.
        target: `module:attribute`.
        status: `available` until something imports it.
        error: why it is broken, with the exception's type; empty otherwise.
    """

    group: str
    name: str
    distribution: str
    version: str
    target: str
    status: Status = "available"
    error: str = ""


class Registry:
    """Finds and loads plugins.

    Args:
        allow: distributions that may be imported; None for any. Names are normalised as pip does.
        entry_points: what to look through; the installed ones by default.
    """

    def __init__(
        self, allow: Collection[str] | None = None, entry_points: Iterable[EntryPoint] | None = None
    ) -> None:
        self._allow = None if allow is None else frozenset(map(_normalise, allow))
        self._given = entry_points
        self._found: dict[str, list[tuple[Found, EntryPoint]]] = {}
        self._named: dict[Distribution, tuple[str, str]] = {}
        self._loaded: dict[tuple[str, str], Any] = {}

    def found(self, group: str | None = None) -> list[Found]:
        """Every plugin of the group (of all groups), sorted by group and name. Imports nothing."""
        groups = [group] if group else list(GROUPS)
        return [found for each in groups for found, _ in self._of(each)]

    def names(self, group: str) -> list[str]:
        """Names on offer in the group."""
        return sorted({found.name for found, _ in self._of(group)})

    def plugin(self, group: str, name: str) -> Plugin[Any]:
        """Load the plugin `name`: import its registration module and call its entry point.

        Raises:
            PluginError: no such name, offered twice, not on the allow-list, or it failed to load; the message
                names the distribution and its version.
        """
        return self._load(group, name, _call)

    def command(self, name: str) -> Any:
        """Load the CLI sub-app `name` of the group coe.commands. Raises `PluginError` like `plugin`."""
        return self._load("coe.commands", name, lambda entry_point: entry_point.load())

    def check_all(self) -> list[Found]:
        """Load every plugin that may be loaded, for `coe plugins doctor`; failures end in `Found.error`."""
        for found in self.found():
            try:
                if found.group == "coe.commands":
                    self.command(found.name)
                else:
                    self.plugin(found.group, found.name)
            except PluginError:
                continue
        return self.found()

    def _load(self, group: str, name: str, load: Callable[[EntryPoint], Any]) -> Any:
        if (key := (group, name)) in self._loaded:
            return self._loaded[key]
        found, entry_point = self._one(group, name)
        if found.status == "broken":
            raise PluginError(self._broken(found))
        try:
            plugin = load(entry_point)
        # A plugin is somebody else's code: whatever it raises is its failure and must not become ours.
        except (Exception, SystemExit) as error:
            found.status, found.error = "broken", f"{type(error).__name__}: {error}"
            raise PluginError(self._broken(found), hint="Run `coe plugins doctor` for details.") from error
        found.status = "loaded"
        self._loaded[key] = plugin
        return plugin

    def _one(self, group: str, name: str) -> tuple[Found, EntryPoint]:
        word = GROUPS[group]
        offers = [pair for pair in self._of(group) if pair[0].name == name]
        if not offers:
            close = difflib.get_close_matches(name, self.names(group), n=1)
            known = ", ".join(self.names(group)) or "none"
            hint = f"Did you mean `{close[0]}`?" if close else f"Installed: {known}."
            raise PluginError(f"No {word} plugin is called `{name}`.", hint=hint)
        allowed = [pair for pair in offers if pair[0].status != "not allowed"]
        if not allowed:
            distribution = offers[0][0].distribution
            raise PluginError(
                f"The {word} plugin `{name}` comes from `{distribution}`, which is not on the allow-list.",
                hint=f"Add `{distribution}` to `plugins.allow` if you trust it.",
            )
        if len(allowed) > 1:
            for found, _ in allowed:
                found.status = "ambiguous"
            offered = " and ".join(f"`{found.distribution}` {found.version}" for found, _ in allowed)
            raise PluginError(
                f"The {word} plugin `{name}` is offered by {offered}.", hint="Uninstall all but one."
            )
        return allowed[0]

    @staticmethod
    def _broken(found: Found) -> str:
        who = f"The {GROUPS[found.group]} plugin `{found.name}` of `{found.distribution}` {found.version}"
        return f"{who} is broken: {found.error}."

    def _of(self, group: str) -> list[tuple[Found, EntryPoint]]:
        if group not in self._found:
            pairs = [(self._describe(each), each) for each in self._offered if each.group == group]
            self._found[group] = sorted(pairs, key=lambda pair: (pair[0].name, pair[0].distribution))
        return self._found[group]

    @cached_property
    def _offered(self) -> Sequence[EntryPoint]:
        """Entry points of all groups, from one look through the installed distributions."""
        if self._given is not None:
            return tuple(self._given)
        offered = importlib.metadata.entry_points()
        return [each for group in GROUPS for each in offered.select(group=group)]

    def _distribution(self, entry_point: EntryPoint) -> tuple[str, str]:
        """Name and version, which take long to read: one object stands for a whole distribution."""
        distribution = entry_point.dist
        if distribution is None:
            return "unknown", "0"
        if distribution not in self._named:
            self._named[distribution] = distribution.name, distribution.version
        return self._named[distribution]

    def _describe(self, entry_point: EntryPoint) -> Found:
        distribution, version = self._distribution(entry_point)
        allowed = self._allow is None or _normalise(distribution) in self._allow
        return Found(
            group=entry_point.group,
            name=entry_point.name,
            distribution=distribution,
            version=version,
            target=entry_point.value,
            status="available" if allowed else "not allowed",
        )


def _call(entry_point: EntryPoint) -> Plugin[Any]:
    plugin: Any = entry_point.load()()
    if isinstance(plugin, Plugin):
        return cast("Plugin[Any]", plugin)
    raise TypeError(f"{entry_point.value} returned {type(plugin).__name__}, expected coe.contracts.Plugin")


def _normalise(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()
