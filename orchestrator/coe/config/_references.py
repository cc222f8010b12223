"""Which experts a plugin's settings name."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Annotated, Any, cast, get_args, get_origin

from pydantic import BaseModel

from coe.config._explain import suggest, without_none
from coe.config._problems import KeyPath
from coe.contracts import ExpertReference


def references(settings: BaseModel) -> Iterator[tuple[KeyPath, str]]:
    """Every value of type `coe.contracts.ExpertName`, with its place in the settings.

    Args:
        settings: validated; nested models, lists and mappings are searched.
    """
    for name, field in type(settings).model_fields.items():
        alias = field.validation_alias
        key = alias if isinstance(alias, str) else name
        yield from _within(getattr(settings, name), field.annotation, tuple(field.metadata), (key,))


def unknown_expert(name: str, known: Collection[str]) -> str:
    """The sentence for a name that no expert has."""
    return f"no expert is called `{name}`. {suggest(name, known)}"


def _within(
    value: Any, annotation: Any, metadata: tuple[Any, ...], path: KeyPath
) -> Iterator[tuple[KeyPath, str]]:
    annotation = without_none(annotation)
    if get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        metadata = (*metadata, *more)
    if isinstance(value, str):
        if any(isinstance(each, ExpertReference) for each in metadata):
            yield path, value
    elif isinstance(value, BaseModel):
        for below, name in references(value):
            yield (*path, *below), name
    elif isinstance(value, Mapping):
        inner = get_args(annotation)[-1:] or (Any,)
        for key, each in cast("Mapping[str, Any]", value).items():
            yield from _within(each, inner[0], (), (*path, key))
    elif isinstance(value, Sequence | frozenset | set):
        inner = [each for each in get_args(annotation) if each is not ...] or [Any]
        for index, each in enumerate(cast("Sequence[Any]", value)):
            yield from _within(each, inner[0], (), (*path, index))
