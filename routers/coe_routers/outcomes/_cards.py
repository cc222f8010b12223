"""Cards of the experts from a models.json file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import msgspec

from coe.contracts import Capability, Card, ExpertKind
from coe.errors import DataError


class _CardRow(msgspec.Struct, frozen=True):
    """One expert of models.json. Other keys are ignored."""

    model: str | None = None
    name: str | None = None
    kind: ExpertKind = "model"
    capabilities: list[Capability] | None = None
    context_window: int | None = None
    params_b: float | None = None
    active_params_b: float | None = None
    input_usd_per_mtok: float | None = None
    output_usd_per_mtok: float | None = None
    domains: tuple[str, ...] = ()
    license: str | None = None
    description: str = ""


_NUMBERS = ("params_b", "active_params_b", "input_usd_per_mtok", "output_usd_per_mtok")


def read_cards(path: Path) -> Mapping[str, Card]:
    """Cards by expert name from models.json: a list of objects with `model` (or `name`) and facts.

    An expert whose active parameters are not given is taken as dense: all of its parameters are active.

    Raises:
        DataError: the file cannot be read, is not such a list, or names an expert twice.
    """
    try:
        rows = msgspec.json.decode(path.read_bytes(), type=list[_CardRow])
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}.") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: {error}.",
            hint=f"Expected a list of objects with `model`. Capabilities: {', '.join(get_args(Capability))}.",
        ) from error
    cards: dict[str, Card] = {}
    for number, row in enumerate(rows, start=1):
        name = row.name or row.model
        if not name:
            raise DataError(f"{path}: entry {number} has no `model`.")
        if name in cards:
            raise DataError(f"{path}: `{name}` comes twice, the second time as entry {number}.")
        for field in _NUMBERS:
            value = getattr(row, field)
            if value is not None and value < 0:
                raise DataError(f"{path}: `{field}` of `{name}` is {value:g}; expected 0 or more.")
        cards[name] = Card(
            name=name,
            kind=row.kind,
            capabilities=frozenset(row.capabilities or ("chat", "stream")),
            context_window=row.context_window,
            params_b=row.params_b,
            active_params_b=row.params_b if row.active_params_b is None else row.active_params_b,
            input_usd_per_mtok=row.input_usd_per_mtok,
            output_usd_per_mtok=row.output_usd_per_mtok,
            domains=row.domains,
            license=row.license,
            description=row.description,
        )
    return cards
