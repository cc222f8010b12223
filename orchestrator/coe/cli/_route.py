"""`coe route`: who should answer a prompt, and why."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from coe.cli._commands import load_command
from coe.cli._connect import KeyOption, ModelOption, UrlOption, read_prompt
from coe.cli._options import ConfigOption, JsonOption
from coe.cli._printing import console, decision_view, print_json
from coe.client import Client, Router
from coe.engine import Routed, explanation

app = typer.Typer(add_completion=False, rich_markup_mode=None)


FILE_COMMAND = "route-batch"
"""The plugin command that routes a file; `--router`, `--input` and `--output` are its options."""


@app.command()
def route(
    prompt: Annotated[
        str | None,
        typer.Argument(metavar="PROMPT", help="The prompt; - reads it from stdin.", show_default=False),
    ] = None,
    model: ModelOption = "auto",
    url: UrlOption = None,
    key: KeyOption = None,
    config: ConfigOption = None,
    router: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Route a file with this trained router.", show_default=False),
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--input", metavar="FILE", help="Its prompts.", show_default=False)
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Decisions; resumed if it exists.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say which expert should answer a prompt, and why. No expert is asked.

    Without --url it decides in this process, as if every expert were healthy and awake. With --router,
    --input and --output it decides for a whole file by a router that `coe train` made.
    """
    if router is not None or source is not None or target is not None:
        _route_file(prompt, router, source, target, as_json=as_json)
        return
    if prompt is None:
        raise typer.BadParameter("Name a prompt, or --router, --input and --output.", param_hint="PROMPT")
    routed = _decided(read_prompt(prompt), model, url, key, config)
    if as_json:
        print_json(explanation(routed))
    else:
        console().print(decision_view(routed))


def _route_file(
    prompt: str | None, router: Path | None, source: Path | None, target: Path | None, *, as_json: bool
) -> None:
    if router is None or source is None or target is None or prompt is not None:
        raise typer.BadParameter("--router, --input and --output go together, without PROMPT.")
    arguments = ["--router", str(router), "--input", str(source), "--output", str(target)]
    command = load_command(FILE_COMMAND)
    command.main([*arguments, *(["--json"] if as_json else [])], prog_name="coe route", standalone_mode=False)


def _decided(prompt: str, model: str, url: str | None, key: str | None, config: Path | None) -> Routed:
    if url is not None:
        with Client(url, api_key=key) as client:
            return client.route(prompt, model=model)
    router = Router.open(config)
    router.route(prompt, model=model)  # the first decision of a process also loads what later ones find ready
    started_ns = time.perf_counter_ns()
    decision = router.route(prompt, model=model)
    route_us = (time.perf_counter_ns() - started_ns) // 1000
    return Routed(model=model, decision=decision, cache="off", route_us=route_us)
