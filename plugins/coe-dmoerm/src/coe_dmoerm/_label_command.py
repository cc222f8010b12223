"""`coe rewards label`."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from coe.errors import DataError
from coe_dmoerm._command_parts import ConfigOption, JsonOption, host_of, print_json, write_rows
from coe_dmoerm._label import Labelled, label, open_verdicts, own_answers, read_questions


def label_command(
    context: typer.Context,
    pairs: Annotated[
        list[Path], typer.Argument(metavar="PAIRS…", help="JSON Lines of {prompt, response_a, response_b}.")
    ],
    judge: Annotated[str, typer.Option("--judge", metavar="EXPERT", help="Who judges.")],
    capability: Annotated[
        list[str],
        typer.Option("--capability", metavar="NAME[=RESPECT]", help="What is judged. Repeat for more."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Labels that were kept, to train on.")],
    budget: Annotated[int, typer.Option("--budget", metavar="CALLS", min=1, help="Calls at most.")] = 500,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, help="Calls at once.")] = 4,
    calls: Annotated[
        Path | None,
        typer.Option(
            "--calls",
            metavar="FILE",
            help="Where verdicts are kept; beside FILE by default.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have an expert compare pairs by capability; keep what it says in both orders.

    Interrupted, or with a larger budget, the same command goes on where it was: verdicts are kept.
    """
    questions = read_questions(pairs)
    respects = _respects(capability)
    kept = calls or out.with_name(f"{out.name}.calls.jsonl")
    shown = Console(stderr=True, highlight=False)

    async def run() -> tuple[Labelled, int]:
        async with host_of(context).open(config) as build:
            expert = build.expert(judge)
            biased = own_answers(questions, expert)
            if biased:
                shown.print(
                    f"Warning: in {biased} of {len(questions)} pairs `{judge}` judges an answer of its own; "
                    "judges favour those."
                )
            with open_verdicts(kept, judge, budget) as verdicts:
                found = await label(
                    questions, respects, expert, verdicts, clock=time.monotonic, concurrency=concurrency
                )
            return found, biased

    found, biased = asyncio.run(run())
    write_rows(out, found.rows)
    facts: dict[str, Any] = {
        "pairs": len(questions),
        "kept": len(found.rows),
        "calls": found.calls,
        "budget": budget,
        "complete": found.complete,
        "judges_own_answers": biased,
        "capabilities": {
            name: {"agreement": found.agreement(name), **counts} for name, counts in found.outcomes.items()
        },
    }
    if as_json:
        print_json(facts)
        return
    for name, counts in found.outcomes.items():
        rate = found.agreement(name)
        print(f"{name}: agreement {'unknown' if rate is None else f'{rate:.0%}'}, {json.dumps(counts)}")
    print(f"{len(found.rows)} labels written to {out}; {found.calls} of {budget} calls spent.")
    if not found.complete:
        print("The budget ended first. The same command with a larger --budget goes on.")


def _respects(given: Sequence[str]) -> dict[str, str]:
    """What is asked about each capability. Raises `DataError` for one that is named twice."""
    found: dict[str, str] = {}
    for each in given:
        name, _, respect = each.partition("=")
        if name in found:
            raise DataError(f"--capability {name} is given twice.")
        found[name] = respect or name
    return found
