"""What differs between two configurations, in words that may be logged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

from pydantic import BaseModel

from coe.config._models import Config, Origin, PluginSettings
from coe.config._problems import KeyPath, key_of


class _Leaf(NamedTuple):
    """A value, and how it may be shown: None when it may hold a secret."""

    value: object
    shown: str | None


def changes(old: Config, new: Config) -> list[str]:
    """One line for each key that differs, in the order of the keys.

    Values of coe's own keys are shown. Those of plugins' settings may hold secrets and are not, nor is what a
    placeholder was replaced by.
    """
    before = dict(_leaves(old, (), old.origin))
    after = dict(_leaves(new, (), new.origin))
    lines: dict[str, None] = {}
    for path in dict.fromkeys((*before, *after)):
        was, now = before.get(path), after.get(path)
        if path[0] in _NAMED and (there := _is_in(old, path)) != _is_in(new, path):
            lines[f"{key_of(path[:2])}: {'removed' if there else 'added'}"] = None
        elif was is None and now is not None:
            lines[f"{key_of(path)}: added{_told(': ', now)}"] = None
        elif now is None and was is not None:
            lines[f"{key_of(path)}: removed"] = None
        elif was is not None and now is not None and was.value != now.value:
            shown = was.shown is not None and now.shown is not None and was.shown != now.shown
            lines[f"{key_of(path)}: {f'{was.shown} → {now.shown}' if shown else 'changed'}"] = None
    return list(lines)


_NAMED = ("experts", "routers")


def _is_in(config: Config, path: KeyPath) -> bool:
    return path[1] in (config.experts if path[0] == "experts" else config.routers)


def _told(before: str, leaf: _Leaf) -> str:
    return "" if leaf.shown is None else before + leaf.shown


def _leaves(value: object, path: KeyPath, origin: Origin) -> Iterator[tuple[KeyPath, _Leaf]]:
    if path in origin.raw:
        yield path, _Leaf(value, origin.raw[path])
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _leaves(getattr(value, name), (*path, name), origin)
        if isinstance(value, PluginSettings):
            for name, setting in value.settings.items():
                yield (*path, name), _Leaf(setting, None)
    elif isinstance(value, Mapping):
        for key, each in cast("Mapping[str, Any]", value).items():
            yield from _leaves(each, (*path, key), origin)
    elif value is not None:
        yield path, _Leaf(value, _shown(value))


def _shown(value: object) -> str:
    if isinstance(value, frozenset):
        value = sorted(map(str, cast("frozenset[object]", value)))
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(str, cast('list[object]', value)))}]"
    return str(value)
