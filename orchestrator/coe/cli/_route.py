"""`coe route`: who should answer a prompt, and why."""

from __future__ import annotations

import time
from pathlib import Path

import typer

from coe.cli._connect import ModelOption, PromptArgument, UrlOption, read_prompt
from coe.cli._options import ConfigOption, JsonOption
from coe.cli._printing import console, decision_view, print_json
from coe.client import Client, Router
from coe.engine import Routed, explanation

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def route(
    prompt: PromptArgument,
    model: ModelOption = "auto",
    url: UrlOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say which expert should answer a prompt, and why. No expert is asked.

    Without --url it decides in this process, as if every expert were healthy and awake.
    """
    routed = _decided(read_prompt(prompt), model, url, config)
    if as_json:
        print_json(explanation(routed))
    else:
        console().print(decision_view(routed))


def _decided(prompt: str, model: str, url: str | None, config: Path | None) -> Routed:
    if url is not None:
        with Client(url) as client:
            return client.route(prompt, model=model)
    router = Router.open(config)
    router.route(prompt, model=model)  # the first decision of a process also loads what later ones find ready
    started_ns = time.perf_counter_ns()
    decision = router.route(prompt, model=model)
    route_us = (time.perf_counter_ns() - started_ns) // 1000
    return Routed(model=model, decision=decision, cache="off", route_us=route_us)
