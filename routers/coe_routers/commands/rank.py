"""`coe rank`: what to evaluate next, so that the map is settled with few evaluations."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Annotated

import numpy as np
import typer

from coe_routers.commands._shared import JsonOption, OutcomesArgument, console, plain, print_json, table
from coe_routers.outcomes import Outcomes, read_outcomes
from coe_routers.ranking import Plan, Standing, rank

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_DEFAULT = Plan()


@app.command()
def command(
    outcomes: OutcomesArgument,
    expert: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Another expert, without any score yet. May be repeated."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Proposals at most.")] = 20,
    delta: Annotated[
        float, typer.Option(help="Chance that any category is settled wrongly.")
    ] = _DEFAULT.delta,
    tolerance: Annotated[
        float, typer.Option(help="Difference in mean score (0..1) that does not matter.")
    ] = _DEFAULT.tolerance,
    batch: Annotated[int, typer.Option(help="Prompts of one proposal.")] = _DEFAULT.batch,
    first: Annotated[
        int, typer.Option(help="Prompts that every expert is tried on in every category.")
    ] = _DEFAULT.first,
    as_json: JsonOption = False,
) -> None:
    """Say which categories are settled, and which (expert, category) cells to evaluate next.

    Rows need a category; scores may be missing, that is what can be evaluated. Add the new scores to the file
    and ask again.
    """
    plan = Plan(delta=delta, tolerance=tolerance, first=first, batch=batch)
    standing = rank(_with(read_outcomes(outcomes, unscored=True), expert or []), plan, limit=limit)
    if as_json:
        print_json({"plan": plain(asdict(plan)), **plain(asdict(standing))})
    else:
        _show(standing, plan)


def _with(outcomes: Outcomes, names: list[str]) -> Outcomes:
    """The outcomes with further experts, unscored; those that have scores already stay as they are."""
    new = [name for name in dict.fromkeys(names) if name not in outcomes.experts]
    gap = np.full((len(outcomes), len(new)), np.nan, np.float32)
    # Optional columns speak of the old experts only, and ranking reads none of them.
    return replace(
        outcomes,
        experts=(*outcomes.experts, *new),
        scores=np.hstack([outcomes.scores, gap]),
        cost_usd=None,
        output_tokens=None,
        response_chars=None,
        latency_s=None,
    )


def _show(standing: Standing, plan: Plan) -> None:
    out = console()
    settled = sum(verdict.settled for verdict in standing.verdicts)
    rows = [
        [
            verdict.category,
            verdict.expert,
            f"{verdict.score:.3f}",
            "settled" if verdict.settled else "needs more prompts" if verdict.exhausted else "open",
            str(len(verdict.contenders)),
            str(verdict.evaluated),
        ]
        for verdict in standing.verdicts
    ]
    out.print(table("Categories", ("category", "expert", "score", "state", "contenders", "evaluated"), rows))
    out.print(
        f"{settled} of {len(rows)} settled. Settled means: with {1 - plan.delta:.0%} confidence for all "
        f"together, the expert is within {100 * plan.tolerance:g} points of the category's best."
    )
    if standing.proposals:
        rows = [
            [
                proposal.category,
                proposal.expert,
                str(len(proposal.prompt_ids)),
                ", ".join(proposal.prompt_ids[:3]) + (" …" if len(proposal.prompt_ids) > 3 else ""),
            ]
            for proposal in standing.proposals
        ]
        out.print(table("Evaluate next", ("category", "expert", "prompts", "prompt_id"), rows))
    else:
        out.print("Nothing is left to evaluate on these prompts.")
