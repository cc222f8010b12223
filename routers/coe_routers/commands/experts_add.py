"""Adding experts to a trained router: what `coe experts add` runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coe.errors import ConfigError
from coe_routers.commands._shared import (
    JsonOption,
    ModelsOption,
    RouterArgument,
    SeedOption,
    cards_at,
    console,
    print_json,
    steps,
    table,
)
from coe_routers.commands.place import place_unmeasured
from coe_routers.commands.train import choice_summary
from coe_routers.offline import add_experts, require_map
from coe_routers.outcomes import read_outcomes

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def command(
    router: RouterArgument,
    outcomes: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[OUTCOMES...]", help="Scores of the new experts: .jsonl, .jsonl.gz or .parquet."
        ),
    ] = None,
    models: ModelsOption = None,
    expert: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Without scores: the name of the expert.", show_default=False),
    ] = None,
    examples: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Without scores: prompts it is good at.", show_default=False),
    ] = None,
    description: Annotated[
        str, typer.Option(metavar="TEXT", help="Without scores: what it is for; says far less than examples.")
    ] = "",
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Add experts to a trained router from their scores on prompts that it was trained on.

    The classifier stays as it is; the map is solved again within the budget of the last one. An expert
    without scores is placed by example prompts or a description: unmeasured, behind all measured ones.
    """
    require_map(router)
    if not outcomes:
        if expert is None:
            raise ConfigError(
                "Neither outcomes nor an expert are given.",
                hint="Name files of outcomes, or --expert with --examples or --description.",
            )
        place_unmeasured(router, expert, examples, description, [], as_json=as_json)
        return
    if expert is not None or examples is not None or description:
        raise ConfigError(
            "--expert, --examples and --description are for an expert without scores.",
            hint="Leave out the outcomes, or these options.",
        )
    with steps("solving the map"):
        added = add_experts(router, read_outcomes(outcomes), cards_at(models), seed=seed)
    if as_json:
        print_json(
            {
                "revision": added.revision,
                "added": added.experts,
                "matched_prompts": added.matched,
                "takes": dict(added.takes),
                **choice_summary(added.choice),
            }
        )
        return
    shown = console()
    shown.print(f"Added {', '.join(added.experts)} by {added.matched} prompts. {added.choice.verdict}")
    if added.takes:
        shown.print(table("Takes over", ("category", "expert"), [list(pair) for pair in added.takes]))
    else:
        shown.print("It takes over no category.")
