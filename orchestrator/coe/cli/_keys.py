"""`coe keys`: API keys of tenants."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from coe.cli._options import ConfigOption, JsonOption, load_config
from coe.cli._printing import console, print_json
from coe.errors import ConfigError, UserError
from coe.tenants import Key, change_keys, new_key, read_keys

app = typer.Typer(add_completion=False, rich_markup_mode=None)

FileOption = Annotated[
    Path | None,
    typer.Option(
        "--file",
        metavar="FILE",
        help="File of keys; by default the configuration's `tenants.keys_file`.",
        show_default=False,
    ),
]
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_AGE = re.compile(r"(\d{1,5})([hdw])")
_UNIT_S = {"h": 3600, "d": 86_400, "w": 604_800}


@app.callback()
def _group() -> None:  # pyright: ignore[reportUnusedFunction]  (Typer calls it)
    """Create, list and revoke the API keys of tenants."""


@app.command()
def create(
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="Whose key it is.")],
    name: Annotated[str, typer.Option(help="What it is for.")] = "",
    expires: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN", help="A date (2026-12-31), or an age: 12h, 30d, 4w.", show_default=False
        ),
    ] = None,
    config: ConfigOption = None,
    file: FileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and print it. This is the only time that it is shown: only its hash is kept."""
    now = time.time()
    if not _TENANT.fullmatch(tenant):
        raise UserError(
            f"`{tenant}` cannot be a tenant's name.",
            hint="Use letters, digits, `.`, `_` and `-`; 64 at most.",
        )
    path = _keys_file(config, file)
    key, text = new_key(tenant, secrets.token_bytes, now, name=name, expires_at=_expiry(expires, now))
    change_keys(path, lambda keys: (*keys, key))
    if as_json:
        print_json({**_row(key, now), "key": text})
        return
    typer.echo(text)
    until = f" until {_day(key.expires_at)}" if key.expires_at else ""
    typer.echo(f"Key {key.id} of tenant {tenant}{until}. Keep it: it is not shown again.", err=True)


@app.command(name="list")
def list_keys(config: ConfigOption = None, file: FileOption = None, as_json: JsonOption = False) -> None:
    """List the keys, without their secrets."""
    now = time.time()
    keys = read_keys(_keys_file(config, file))
    if as_json:
        print_json([_row(key, now) for key in keys])
        return
    console().print(_table(keys, now))


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `coe keys list` shows it.")],
    config: ConfigOption = None,
    file: FileOption = None,
) -> None:
    """Revoke a key. Running gateways stop taking it within a second."""
    now = int(time.time())

    def revoked(keys: tuple[Key, ...]) -> list[Key]:
        if key_id not in {key.id for key in keys}:
            raise UserError(f"No key has the id `{key_id}`.", hint="See `coe keys list`.")
        return [
            msgspec.structs.replace(key, revoked_at=key.revoked_at or now) if key.id == key_id else key
            for key in keys
        ]

    change_keys(_keys_file(config, file), revoked)
    typer.echo(f"Key {key_id} is revoked.", err=True)


def _keys_file(config: Path | None, file: Path | None) -> Path:
    if file is not None:
        return file
    loaded = load_config(config)
    if loaded.tenants.keys_file is None:
        raise ConfigError(
            f"{loaded.source} names no file of API keys.",
            hint="Add `tenants: {keys_file: keys.json}` to it, or give --file.",
        )
    return loaded.base_dir / loaded.tenants.keys_file


def _expiry(text: str | None, now: float) -> int | None:
    """Seconds since 1970 for a date (its end, UTC) or an age from now."""
    if text is None:
        return None
    if age := _AGE.fullmatch(text):
        return int(now) + int(age[1]) * _UNIT_S[age[2]]
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise UserError(
            f"`{text}` is neither a date nor an age.", hint="Write 2026-12-31, 12h, 30d or 4w."
        ) from None
    expires_at = int(day.timestamp()) + _UNIT_S["d"]
    if expires_at <= now:
        raise UserError(f"{text} is over already.")
    return expires_at


def _row(key: Key, now: float) -> dict[str, object]:
    return {
        "id": key.id,
        "tenant": key.tenant,
        "name": key.name,
        "state": key.why_not(now) or "valid",
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    }


def _table(keys: Sequence[Key], now: float) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row("id", "tenant", "state", "created", "expires", "name")
    for key in keys:
        expires = _day(key.expires_at) if key.expires_at else "never"
        table.add_row(
            key.id, key.tenant, key.why_not(now) or "valid", _day(key.created_at), expires, key.name
        )
    return table


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
