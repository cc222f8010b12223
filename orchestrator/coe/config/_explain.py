"""Pydantic's errors as one plain sentence each."""

from __future__ import annotations

import difflib
import types
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic_core import ErrorDetails

from coe.config._problems import KeyPath

_WANTED = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "frozen_set": "a list",
    "dict": "a block of keys",
    "model": "a block of keys",
    "mapping": "a block of keys",
    "dataclass": "a block of keys",
    "url": "a URL",
    "path": "a path",
}
_SHOWN = 40


def explain(
    error: ValidationError,
    model: type[BaseModel],
    raw: Mapping[KeyPath, str],
    hide: Collection[tuple[str, str]],
) -> Iterable[tuple[KeyPath, str]]:
    """Each error of a validation as (path, sentence).

    Args:
        error: what pydantic raised.
        model: the model that was validated, for the names that are known.
        raw: values as written, for those that held placeholders; paths relative to the model.
        hide: (placeholder, replacement): replacements that a plugin's validator may have put in its message.
    """
    for details in error.errors(include_url=False):
        loc = details["loc"]
        if details["type"] == "missing":
            yield loc[:-1], f"`{loc[-1]}` is required."
        else:
            yield loc, _sentence(details, model, raw, hide)


def unknown_key(name: str, known: Sequence[str]) -> str:
    """The sentence for a key that nobody reads."""
    return f"unknown key. {suggest(name, known)}"


def suggest(name: str, known: Collection[str]) -> str:
    """The nearest of the known names, or all of them."""
    if close := difflib.get_close_matches(name, known, n=1):
        return f"Did you mean `{close[0]}`?"
    return f"Known: {', '.join(known)}." if known else "None is known."


def key_names(model: type[BaseModel]) -> list[str]:
    """The keys that a model reads, aliases included."""
    by_name = bool(model.model_config.get("populate_by_name") or model.model_config.get("validate_by_name"))
    names: list[str] = []
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
        aliases = [choice if isinstance(choice, str) else str(choice.path[0]) for choice in choices if choice]
        names += [*([name] if by_name or not aliases else []), *aliases]
    return names


def _sentence(
    details: ErrorDetails,
    model: type[BaseModel],
    raw: Mapping[KeyPath, str],
    hide: Collection[tuple[str, str]],
) -> str:
    kind, loc = details["type"], details["loc"]
    if kind == "extra_forbidden":
        parent = _model_at(model, loc[:-1])
        return unknown_key(str(loc[-1]), key_names(parent) if parent else [])
    if kind in ("literal_error", "enum"):
        found = _shown(raw.get(loc, details["input"]))
        return f"expected {details.get('ctx', {})['expected']}; found {found}."
    wanted = _WANTED.get(kind.removesuffix("_from_float").removesuffix("_parsing").removesuffix("_type"))
    if wanted and kind.endswith(("_type", "_parsing", "_from_float")):
        return f"expected {wanted}; found {_described(details['input'])}."
    message = details["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    message = message.replace("Input should be", "must be").removesuffix(".") + "."
    return _hidden(message, hide)


def _hidden(message: str, hide: Collection[tuple[str, str]]) -> str:
    for placeholder, secret in sorted(hide, key=lambda pair: -len(pair[1])):
        for form in dict.fromkeys((secret, repr(secret)[1:-1], secret.strip())):
            message = message.replace(form, placeholder) if form else message
    return message


def _shown(value: Any) -> str:
    if isinstance(value, str | bool | int | float):
        text = str(value).lower() if isinstance(value, bool) else str(value)
        return f"`{text}`" if len(text) <= _SHOWN and text.isprintable() else "other text"
    return _described(value)


def _described(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    for types_, words in (
        (str, "text"),
        ((int, float), "a number"),
        (list, "a list"),
        (dict, "a block of keys"),
    ):
        if isinstance(value, types_):
            return words
    return type(value).__name__


def _model_at(model: type[BaseModel], loc: KeyPath) -> type[BaseModel] | None:
    """The model that describes the block at `loc`; None when it cannot be told."""
    here: Any = model
    for step in loc:
        if _is_model(here):
            field = here.model_fields.get(step) or next(
                (field for field in here.model_fields.values() if field.validation_alias == step), None
            )
            here = field.annotation if field else None
        else:
            arguments = get_args(here)
            here = arguments[-1] if arguments and arguments[-1] is not ... else next(iter(arguments), None)
        here = without_none(here)
    return here if _is_model(here) else None


def without_none(annotation: Any) -> Any:
    """The first member of a union that is not None; what is no union as it is."""
    if get_origin(annotation) in (Union, types.UnionType):
        return next((each for each in get_args(annotation) if each is not type(None)), None)
    return annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
