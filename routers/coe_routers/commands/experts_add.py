"""Adding experts to a trained router: what `coe experts add` runs."""

from __future__ import annotations

import typer

from coe_routers.commands._shared import (
    JsonOption,
    ModelsOption,
    OutcomesArgument,
    RouterArgument,
    SeedOption,
    cards_at,
    console,
    print_json,
    steps,
    table,
)
from coe_routers.commands.train import choice_summary
from coe_routers.offline import add_experts
from coe_routers.outcomes import read_outcomes

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def command(
    router: RouterArgument,
    outcomes: OutcomesArgument,
    models: ModelsOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Add experts to a trained router from their scores on prompts that it was trained on.

    The classifier stays as it is; the map is solved again within the budget of the last one.
    """
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
