"""Routing a file of prompts with a trained router: what `coe route --router` runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coe.contracts import Card
from coe_routers.commands._shared import JsonOption, console, print_json, steps
from coe_routers.offline import find_embedder, load_router_of, read_state, route_file

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def command(
    router: Annotated[Path, typer.Option(metavar="DIR", help="Folder that `coe train` wrote.")],
    source: Annotated[
        Path, typer.Option("--input", metavar="FILE", help="Prompts: .jsonl, .jsonl.gz or .parquet.")
    ],
    target: Annotated[
        Path, typer.Option("--output", metavar="FILE", help="Decisions, one line each; resumed if it exists.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Decide for every prompt of a file. An interrupted run goes on where it stopped."""
    with steps("loading the router") as shown:
        task = shown.task_ids[0]
        decider, experts = load_router_of(router, find_embedder)
        cards = read_state(router).cards
        routed, before = route_file(
            decider,
            [cards.get(name, Card(name=name)) for name in experts],
            source,
            target,
            say=lambda done: shown.update(task, description=f"{done} prompts routed"),
        )
    if as_json:
        print_json({"routed": routed, "already": before, "output": str(target)})
        return
    console().print(f"{routed} prompts routed, {before} were there already: {target}.")
