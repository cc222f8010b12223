"""`coe rewards calibrate` and `coe rewards outcomes`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from coe.errors import DataError
from coe_dmoerm._answers import outcomes_of, read_answered
from coe_dmoerm._calibrate import calibrate
from coe_dmoerm._command_parts import ConfigOption, JsonOption, open_model, print_json, write_rows


def calibrate_command(
    context: typer.Context,
    answers: Annotated[
        list[Path],
        typer.Argument(
            metavar="ANSWERS…",
            help="JSON Lines of {prompt, scores, answers or rewards, cost_usd?}, each by expert.",
        ),
    ],
    expert: Annotated[
        list[str],
        typer.Option("--expert", metavar="NAME", help="Of the cascade, the cheapest first. Repeat."),
    ],
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            metavar="DIR",
            help="Scores `answers`; without it, rows bring `rewards`.",
            show_default=False,
        ),
    ] = None,
    loss: Annotated[
        float, typer.Option("--loss", min=0, help="Of the best single expert's score, that may be lost.")
    ] = 0.01,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Choose the thresholds of a cascade from answers whose scores are known.

    They are the cheapest that lose at most --loss on these prompts. What is said of their worth was
    measured on prompts that they were not chosen on.
    """
    scorer = None if model is None else open_model(context, model, config).model
    answered = read_answered(answers, expert, scorer)
    found = calibrate(answered, loss)
    held = found.held_back
    singles = dict(zip(expert, answered.scores.mean(axis=0).tolist(), strict=True))
    facts: dict[str, Any] = {
        "prompts": len(answered.scores),
        # JSON knows no infinity: a threshold that nothing reaches, or that everything does.
        "thresholds": [round(float(np.clip(each, -1e9, 1e9)), 6) for each in found.thresholds],
        "score": round(float(held.score.mean()), 4),
        "usd": float(held.usd.mean()),
        "taken": {name: round(float((held.step == at).mean()), 4) for at, name in enumerate(expert)},
        "best_single": found.single,
        "best_single_usd": float(answered.usd[:, expert.index(found.single)].mean()),
        "less_best_single": [round(each, 4) for each in found.lead],
        "singles": {name: round(score, 4) for name, score in singles.items()},
    }
    if as_json:
        print_json(facts)
        return
    lead, low, high = found.lead
    print(f"thresholds: [{', '.join(f'{each:g}' for each in facts['thresholds'])}]")
    share = facts["usd"] / max(facts["best_single_usd"], 1e-12)
    print(
        f"{facts['prompts']} prompts, held back in turn: score {facts['score']:.3f}, {lead:+.3f} "
        f"({low:+.3f} to {high:+.3f}) against `{found.single}`, at {share:.0%} of its cost."
    )
    for name, taken in facts["taken"].items():
        print(f"  {name}: answers {taken:.0%}; {singles[name]:.3f} on its own")


def outcomes_command(
    records: Annotated[
        list[Path],
        typer.Argument(metavar="RECORDS…", help="JSON Lines of `coe journal tail --json`, prompts kept."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Outcomes to write, for `coe train`.")],
) -> None:
    """Make outcomes for training a router from the rewards that the journal keeps of candidates."""
    rows = [row for path in records for row in outcomes_of(path)]
    if not rows:
        raise DataError(
            f"{', '.join(map(str, records))}: no request with a prompt and scored answers of two experts.",
            hint="Set `journal: {prompts: true}`, and a `reward` for best_of_n or ensemble.",
        )
    write_rows(out, rows)
    experts = sorted({name for row in rows for name in row["scores"]})
    print(f"{len(rows)} outcomes of {', '.join(experts)} written to {out}.")
