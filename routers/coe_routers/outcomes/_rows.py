"""One row of outcomes or prompts: its shape and what may be wrong with it."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import msgspec

from coe.errors import DataError
from coe_routers.outcomes._outcomes import OPTIONAL_COLUMNS

Numbers = dict[str, float | None]


class ToolRow(msgspec.Struct, frozen=True):
    """A tool that the request offers."""

    name: str
    description: str = ""


class PromptRow(msgspec.Struct, frozen=True):
    """A prompt to route. Other keys are ignored."""

    prompt_id: str | int
    prompt: str
    tools: list[ToolRow] | None = None


class OutcomeRow(PromptRow, frozen=True):
    """A prompt with what several experts made of it. Other keys are ignored."""

    scores: Numbers = msgspec.field(default_factory=dict[str, float | None])
    category: str | None = None
    cost_usd: Numbers | None = None
    output_tokens: Numbers | None = None
    response_chars: Numbers | None = None
    latency_s: Numbers | None = None


class PlannedRow(OutcomeRow, frozen=True):
    """A prompt that nobody may have tried yet: `scores` may be missing or empty."""


RowT = TypeVar("RowT", bound=PromptRow)
_DECODERS: dict[type[PromptRow], msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind) for kind in (PromptRow, OutcomeRow, PlannedRow)
}


def decode(line: bytes, kind: type[RowT], where: str) -> RowT:
    """A row from its JSON. `where` names file and line in the error.

    Raises:
        DataError: not JSON, a field is missing or of the wrong type, or a number out of range.
    """
    try:
        row: RowT = _DECODERS[kind].decode(line)
    except msgspec.MsgspecError as error:
        raise DataError(f"{where}: {error}.", hint=_HINT) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8: {error.reason}.", hint=_HINT) from error
    return _checked(row, where)


def convert(value: object, kind: type[RowT], where: str) -> RowT:
    """A row from plain Python values. Raises `DataError` as `decode` does."""
    try:
        return _checked(msgspec.convert(value, kind), where)
    except msgspec.ValidationError as error:
        raise DataError(f"{where}: {error}.", hint=_HINT) from error


def _checked(row: RowT, where: str) -> RowT:
    if not isinstance(row, OutcomeRow):
        return row
    if not isinstance(row, PlannedRow) and not any(value is not None for value in row.scores.values()):
        raise DataError(f"{where}: `scores` is missing or empty; expected {{expert: 0..1}}.", hint=_HINT)
    for expert, score in row.scores.items():
        if score is not None and not 0.0 <= score <= 1.0:
            raise DataError(
                f"{where}: `scores.{expert}` is {score:g}; expected a number in 0..1.",
                hint="Scale the metric to 0..1 first.",
            )
    for name in OPTIONAL_COLUMNS:
        column: Numbers = getattr(row, name) or {}
        for expert, value in column.items():
            if value is not None and not (value >= 0.0 and math.isfinite(value)):
                raise DataError(f"{where}: `{name}.{expert}` is {value:g}; expected a number of 0 or more.")
    return row


_HINT = "A row is an object with `prompt_id`, `prompt` and `scores` {expert: 0..1}."
