"""`coe experts`: what the pool holds, and whether it answers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from coe.cli._commands import load_command
from coe.cli._connect import KeyOption, UrlOption, waiting
from coe.cli._errors import ExitCode
from coe.cli._options import ConfigOption, JsonOption
from coe.cli._printing import console, print_json
from coe.client import Client, Router
from coe.errors import CoeError, UserError
from coe.wire import ModelInfo

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_FACTS = (
    "kind",
    "capabilities",
    "context_window",
    "params_b",
    "active_params_b",
    "input_usd_per_mtok",
    "output_usd_per_mtok",
    "domains",
    "license",
    "locality",
    "description",
    "routable",
)
_LIVE = ("awake", "healthy", "probe")
ADD_COMMAND = "experts-add"
"""The plugin command that adds experts to a trained router; all arguments are its own."""
_COLUMNS = ("expert", "kind", "capabilities", "context", "params B", "USD/M in/out", "domains")
_NUMBERS = ("context", "params B")
_LISTS = ("capabilities", "domains")
_QUESTION = "Reply with the word: ok"
_MAX_TOKENS = 16


@app.callback()
def _group() -> None:  # pyright: ignore[reportUnusedFunction]  (Typer calls it)
    """List the experts; test whether they answer."""


@app.command("list")
def list_experts(
    url: UrlOption = None, key: KeyOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """List the experts with their facts; with --url also whether they are awake and healthy. Starts none."""
    rows = [_row(info, live=url is not None) for info in _experts(_models(url, key, config))]
    if as_json:
        print_json(rows)
    else:
        console().print(_table(rows, live=url is not None))


@app.command("test")
def ask_each(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Experts; all of them by default.")
    ] = None,
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=0.1, help="Longest wait for one expert, in seconds.")
    ] = 120,
    url: UrlOption = None,
    key: KeyOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask each expert for a few words, one after the other. Exits with 1 when one does not answer."""
    notes = console(stderr=True)
    results: list[dict[str, Any]] = []
    if url is None:
        client = Client.open(config, timeout_s=timeout_s)
    else:
        client = Client(url, api_key=key, timeout_s=timeout_s)
    with client:
        for info in _chosen(_experts(client.models()), names or []):
            with waiting(notes, f"Asking {info.id}"):
                results.append(_tested(client, info))
            if not as_json:
                _print_result(console(), results[-1])
    if as_json:
        print_json(results)
    if any(result["status"] == "failed" for result in results):
        raise typer.Exit(ExitCode.FAILURE)


@app.command("add", context_settings={"ignore_unknown_options": True}, add_help_option=False)
def add(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="DIR OUTCOMES...", show_default=False)
    ] = None,
) -> None:
    """Add experts to a router that `coe train` made. Its options: `coe experts add --help`."""
    command = load_command(ADD_COMMAND)
    command.main(arguments or ["--help"], prog_name="coe experts add", standalone_mode=False)


def _models(url: str | None, key: str | None, config: Path | None) -> list[ModelInfo]:
    if url is None:
        return Router.open(config).models()
    with Client(url, api_key=key) as client:
        return client.models()


def _experts(infos: Sequence[ModelInfo]) -> list[ModelInfo]:
    return [info for info in infos if info.coe.get("kind") != "virtual"]


def _chosen(experts: list[ModelInfo], names: Sequence[str]) -> list[ModelInfo]:
    by_name = {info.id: info for info in experts}
    for name in names:
        if name not in by_name:
            raise UserError(f"No expert is called `{name}`.", hint=f"There are: {', '.join(by_name)}.")
    return [by_name[name] for name in names] or experts


# --- test ---


def _tested(client: Client, info: ModelInfo) -> dict[str, Any]:
    """How one expert did: `ok`, `failed`, or `skipped` when chatting is not what it is for."""
    result: dict[str, Any] = {"name": info.id, "status": "skipped", "latency_ms": None, "tokens": None}
    result["error"] = None
    if "chat" not in info.coe.get("capabilities", ()):
        return result
    started = time.perf_counter()
    try:
        answer = client.chat(_QUESTION, model=info.id, max_tokens=_MAX_TOKENS)
    except CoeError as error:
        result["status"] = "failed"
        result["error"] = {"code": error.code, "message": error.message, "hint": error.hint}
    else:
        result["status"] = "ok"
        result["tokens"] = None if answer.usage is None else answer.usage.completion_tokens
    result["latency_ms"] = round((time.perf_counter() - started) * 1000, 1)
    return result


def _print_result(out: Console, result: Mapping[str, Any]) -> None:
    line = Text()
    match result["status"]:
        case "ok":
            tokens = "" if result["tokens"] is None else f", {result['tokens']} tokens"
            line.append("✓ ", "green").append(f"{result['name']}: {result['latency_ms']:.0f} ms{tokens}")
        case "failed":
            error = result["error"]
            line.append("✗ ", "red").append(f"{result['name']}: {error['message']}")
            if error["hint"]:
                line.append(f" {error['hint']}", "dim")
        case _:
            line.append("- ", "dim").append(f"{result['name']}: does not chat, skipped")
    out.print(line)


# --- list ---


def _row(info: ModelInfo, *, live: bool) -> dict[str, Any]:
    keys = (*_FACTS, *_LIVE) if live else _FACTS
    return {"name": info.id, **{key: info.coe.get(key) for key in keys}}


def _table(rows: Sequence[Mapping[str, Any]], *, live: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in (*_COLUMNS, *(_LIVE if live else ())):
        justify = "right" if column in _NUMBERS else "left"
        table.add_column(column, justify=justify, no_wrap=column not in _LISTS)
    for row in rows:
        cells = [
            row["name"],
            row["kind"] or "–",
            " ".join(row["capabilities"] or ()),
            _number(row["context_window"]),
            _params(row),
            _prices(row),
            " ".join(row["domains"] or ()),
            *(_live(row[key]) for key in _LIVE if live),
        ]
        table.add_row(*map(Text, cells))
    return table


def _live(value: bool | str | None) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value or "–"


def _params(row: Mapping[str, Any]) -> str:
    total, active = row["params_b"], row["active_params_b"]
    return _number(total) if active in (None, total) else f"{_number(total)} ({active:g} active)"


def _prices(row: Mapping[str, Any]) -> str:
    prices = (row["input_usd_per_mtok"], row["output_usd_per_mtok"])
    return "–" if prices == (None, None) else " / ".join(map(_number, prices))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:g}" if value < 1e6 else f"{value:.0f}"
