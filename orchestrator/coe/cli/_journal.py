"""`coe journal`: what was served."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from coe.cli._options import ConfigOption, JsonOption, load_config
from coe.cli._printing import bar, console, print_json
from coe.errors import UserError
from coe.journal import Follower, Reader, Record, Share, Spread, Summary, summarise

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_POLL_S = 0.2
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_GROUPS = (
    ("expert", "by_expert"),
    ("category", "by_category"),
    ("reason", "by_reason"),
    ("model", "by_model"),
    ("tenant", "by_tenant"),
)
_OK = range(200, 400)

DirOption = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        metavar="FOLDER",
        help="The journal; by default `journal.dir` of the configuration.",
        show_default=False,
    ),
]


@app.callback()
def _group() -> None:  # pyright: ignore[reportUnusedFunction]  (Typer calls it)
    """Show what was served: the last requests, or figures."""


@app.command()
def tail(
    count: Annotated[int, typer.Option("-n", min=0, help="How many of the last requests.")] = 10,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with new ones, until Ctrl-C.")
    ] = False,
    folder: DirOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the last requests, the newest at the end. With --json one record per line, as it was written."""
    where = _folder(folder, config, must_exist=not follow)
    out, reader = console(), Reader(where)
    follower = Follower(where) if follow else None
    shown = reader.latest(count)
    _show(out, shown, as_json=as_json)
    _tell_unreadable(reader)
    if follower is not None:
        try:
            _follow(out, follower, {record.id for record in shown}, as_json=as_json)
        finally:
            follower.close()


@app.command()
def stats(
    since: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN", help="Only requests since then: 15m, 2h, 7d ago, or 2026-01-31T08:00 (UTC)."
        ),
    ] = None,
    folder: DirOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show figures: requests, errors, fallbacks, cache, cost, tokens and latency."""
    reader = Reader(_folder(folder, config, must_exist=True))
    summary = summarise(reader.records(since_s(since, time.time()) if since else 0, flat=True))
    if as_json:
        print_json(msgspec.to_builtins(summary))
    else:
        _print_summary(console(), summary)
    _tell_unreadable(reader)


def since_s(text: str, now_s: float) -> float:
    """`15m`, `2h`, `7d` before now, or a date and time in UTC, as seconds since 1970. Raises `UserError`."""
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text):
        return now_s - float(match[1]) * _UNITS_S[match[2]]
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(
            f"`{text}` is no time.", hint="Write 90s, 15m, 2h or 7d, or a time such as 2026-01-31T08:00."
        ) from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _folder(named: Path | None, config: Path | None, *, must_exist: bool) -> Path:
    folder = named
    if folder is None:
        loaded = load_config(config)
        if loaded.journal.dir is None:
            hint = "Set `journal.dir`, or name a folder with --dir."
            raise UserError(f"{loaded.source} keeps no journal.", hint=hint)
        folder = loaded.base_dir / loaded.journal.dir.expanduser()
    if must_exist and not folder.is_dir():
        raise UserError(f"There is no journal in {folder} yet.")
    return folder


def _tell_unreadable(reader: Reader) -> None:
    if reader.unreadable:
        typer.echo(f"note: damaged lines or files passed over: {reader.unreadable}", err=True)


# --- tail ---


def _follow(out: Console, follower: Follower, known: set[str], *, as_json: bool) -> None:
    while True:
        # What was written between the two looks is in both.
        _show(out, (record for record in follower.read() if record.id not in known), as_json=as_json)
        time.sleep(_POLL_S)


def _show(out: Console, records: Iterable[Record], *, as_json: bool) -> None:
    for record in records:
        if as_json:
            sys.stdout.write(msgspec.json.encode(record).decode() + "\n")
        else:
            out.print(_line(record))
    sys.stdout.flush()


def _line(record: Record) -> Text:
    at = datetime.fromtimestamp(record.time, UTC)
    failed = record.error is not None or record.status not in _OK
    line = Text(f"{at:%Y-%m-%d %H:%M:%S} ", "dim").append(str(record.status), "red" if failed else "green")
    line.append(f" {_printable(record.model or '–')} → ").append(record.expert or "–", "bold")
    line.append(f" · {' · '.join(_facts(record))}")
    return line


def _printable(text: str) -> str:
    """What a caller sent, without what a terminal would obey."""
    return "".join(each if each.isprintable() else "�" for each in text)


def _facts(record: Record) -> list[str]:
    facts: list[str] = []
    if record.category is not None:
        sure = f" {record.categories[0].probability:.2f}" if record.categories else ""
        facts.append(f"{record.category}{sure}, {record.reason}")
    if record.error is not None:
        got = f" after {record.sent_bytes} bytes" if record.streamed and record.sent_bytes else ""
        facts.append(f"{record.error}{got}")
    failed = [f"{each.expert} {each.error}" for each in record.attempts if each.error]
    if failed and record.expert is not None:
        facts.append(f"after {', '.join(failed)}")
    if record.cache is not None:
        facts.append(f"cache {record.cache}")
    facts.append(f"{record.total_us / 1e3:.1f} ms")
    if record.completion_tokens is not None:
        facts.append(f"{record.prompt_tokens}+{record.completion_tokens} tokens")
    if record.cost_usd is not None:
        facts.append(f"${record.cost_usd:.6f}")
    if record.tenant != "default":
        facts.append(f"tenant {record.tenant}")
    return facts


# --- stats ---


def _print_summary(out: Console, summary: Summary) -> None:
    if summary.first_at is None or summary.last_at is None:
        out.print("No requests.")
        return
    first, last = (datetime.fromtimestamp(at, UTC) for at in (summary.first_at, summary.last_at))
    out.print(
        Text(f"{summary.requests} requests", "bold"), f"{first:%Y-%m-%d %H:%M} – {last:%Y-%m-%d %H:%M} UTC"
    )
    out.print(_figures(summary))
    for title, attribute in _GROUPS:
        groups: dict[str, Share] = getattr(summary, attribute)
        # A single default tenant or model says nothing.
        if attribute != "by_tenant" or len(groups) > 1:
            out.print(_group_table(title, groups))
    counts = [("status", summary.by_status), ("error", summary.by_error)]
    for title, found in counts:
        if found:
            out.print(Text(f"{title}  ", "dim").append("  ".join(f"{name} {n}" for name, n in found.items())))


def _figures(summary: Summary) -> Table:
    unpriced = f" (not known for {summary.unpriced})" if summary.unpriced else ""
    rows: list[tuple[str, Any]] = [
        ("errors", f"{summary.error_rate:.2%}"),
        ("fallbacks", f"{summary.fallback_rate:.2%}"),
        ("cache hits", f"{summary.cache_hit_rate:.2%}"),
        ("callers gone", summary.gone),
        ("tokens", f"{summary.prompt_tokens} prompt + {summary.completion_tokens} completion"),
        ("cost", f"${summary.cost_usd:.4f}{unpriced}"),
        ("total", _spread(summary.total_ms, "ms")),
        ("first byte", _spread(summary.first_byte_ms, "ms")),
        ("routing", _spread(summary.route_us, "µs")),
    ]
    table = Table.grid(padding=(0, 2))
    for name, value in rows:
        table.add_row(Text(name, "dim"), Text(str(value)))
    return table


def _spread(spread: Spread, unit: str) -> str:
    return f"p50 {spread.p50:.4g} {unit}, p95 {spread.p95:.4g} {unit}"


def _group_table(title: str, groups: dict[str, Share]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(title, no_wrap=True)
    for column in ("requests", "share", "", "USD", "p50 ms", "p95 ms"):
        table.add_column(column, justify="left" if not column else "right", no_wrap=True)
    for name, share in groups.items():
        spread = share.total_ms
        counts = [str(share.requests), f"{share.share:.1%}", bar(share.share), f"{share.cost_usd:.4f}"]
        table.add_row(*map(Text, [_printable(name), *counts, f"{spread.p50:.4g}", f"{spread.p95:.4g}"]))
    return table
