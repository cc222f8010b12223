"""`coe optimize`: the map under a budget, and what it rests on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from coe.errors import ConfigError
from coe_routers.commands._plot import check_suffix, front, write_plot
from coe_routers.commands._shared import (
    JsonOption,
    RouterArgument,
    SeedOption,
    console,
    pairs,
    plain,
    points,
    print_json,
    steps,
    table,
)
from coe_routers.commands.train import choice_summary
from coe_routers.mapping import LIMITS, Budget
from coe_routers.offline import Optimized, optimize, require_map

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def command(
    router: RouterArgument,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LIMIT=NUMBER",
            help="active_params_b, total_params_b, usd_per_1k or p95_latency_s; may be repeated.",
        ),
    ] = None,
    max_experts: Annotated[int | None, typer.Option(help="Experts in use, at most.")] = None,
    require: Annotated[
        list[str] | None,
        typer.Option(metavar="CATEGORY=EXPERT", help="Who must answer a category; may be repeated."),
    ] = None,
    forbid: Annotated[
        list[str] | None,
        typer.Option(metavar="CATEGORY=EXPERT", help="Who must not; the category * stands for all."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the Pareto front: .svg, or .png (extra: plot).", show_default=False
        ),
    ] = None,
    no_fall_back: Annotated[
        bool,
        typer.Option("--no-fall-back", help="Route even where it does not beat the best single expert."),
    ] = False,
    nodes: Annotated[
        int, typer.Option(min=1, help="Branches after which to take the best map so far, with its gap.")
    ] = Budget().nodes,
    resamples: Annotated[int, typer.Option(min=1, help="Resamples for the stability of the map.")] = 100,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Solve the map exactly within a budget and save it; without one: best score, ties to the cheaper."""
    check_suffix(plot)
    limits = replace(parse_budget(budget or [], max_experts, require or [], forbid or []), nodes=nodes)
    require_map(router)
    with steps("solving the map"):
        found = optimize(router, limits, seed=seed, resamples=resamples, fall_back=not no_fall_back)
    if plot is not None:
        write_plot(plot, front(found.axis, [(point.spend, point.value) for point in found.front]))
    if as_json:
        print_json(_summary(found, limits))
        return
    _show(found)


def parse_budget(budget: list[str], max_experts: int | None, require: list[str], forbid: list[str]) -> Budget:
    """A budget from the options. Raises `ConfigError` or `DataError`."""
    limits: dict[str, Any] = {}
    for name, text in pairs(budget, "--budget"):
        if name not in LIMITS:
            raise ConfigError(f"--budget names `{name}`.", hint=f"Known: {', '.join(LIMITS)}.")
        try:
            limits[name] = int(text) if name == "max_experts" else float(text)
        except ValueError:
            raise ConfigError(f"--budget {name}={text}: expected a number.") from None
    if max_experts is not None:
        limits["max_experts"] = max_experts
    forbidden: dict[str, set[str]] = {}
    for category, expert in pairs(forbid, "--forbid"):
        forbidden.setdefault(category, set()).add(expert)
    return Budget(
        **limits,
        required=dict(pairs(require, "--require")),
        forbidden={category: frozenset(experts) for category, experts in forbidden.items()},
    )


def _summary(found: Optimized, budget: Budget) -> dict[str, Any]:
    return plain(
        {
            "revision": found.revision,
            "budget": budget.limits(),
            **choice_summary(found.choice),
            "stability": [
                {
                    "category": each.category,
                    "expert": each.expert,
                    "kept": each.kept,
                    "rival": each.rival,
                    "rival_share": each.rival_share,
                }
                for each in found.stability
            ],
            "pareto_axis": found.axis,
            "pareto": [
                {
                    "spend": point.spend,
                    "value": point.value,
                    "gap": point.map.gap,
                    "experts": point.map.used(),
                }
                for point in found.front
            ],
            "marginal_value_points": {each.expert: 100 * each.loss for each in found.marginal},
            "pruning": [
                {
                    "experts": point.experts,
                    "k": point.k,
                    "score": point.score,
                    "score_ci95": point.score_ci95,
                    "loss_points": 100 * point.loss,
                    "loss_ci95": [100 * end for end in point.loss_ci95],
                    "measurable": point.measurable,
                }
                for point in found.pruning
            ],
            "can_be_switched_off": _idle(found),
        }
    )


def _idle(found: Optimized) -> list[str]:
    """Experts outside the smallest pool whose loss is not measurable."""
    enough = next((point for point in found.pruning if not point.measurable), None)
    kept = set(enough.experts if enough else found.choice.map.used())
    return [name for name in found.choice.map.experts if name not in kept]


def _show(found: Optimized) -> None:
    shown, choice = console(), found.choice
    low, high = choice.score_ci95
    shown.print(choice.verdict)
    shown.print(f"Expected score {choice.score:.4f} ({low:.4f} to {high:.4f}), decided by {choice.kind}.")
    if found.spends:
        shown.print("Uses " + ", ".join(f"{name} {spent:.4g}" for name, spent in found.spends.items()) + ".")
    if choice.map.gap:
        shown.print(
            f"The search gave up: a map may be better by up to {100 * choice.map.gap:.3f} points (--nodes)."
        )
    for name, experts in choice.map.unknown.items():
        shown.print(f"Left out, {name} unknown: {', '.join(experts)}.")
    shown.print(
        table(
            "Map",
            ("category", "expert", "kept", "rival"),
            [
                [
                    each.category,
                    each.expert,
                    f"{each.kept:.0%}",
                    f"{each.rival} {each.rival_share:.0%}" if each.rival else "",
                ]
                for each in found.stability
            ],
        )
    )
    if found.front:
        rows = [
            [f"{point.spend:.4g}", f"{point.value:.4f}", ", ".join(point.map.used())] for point in found.front
        ]
        shown.print(table("Pareto front of maps", (found.axis, "value", "experts"), rows))
    worth = [[each.expert, f"{100 * each.loss:+.2f}"] for each in found.marginal if each.loss > 0]
    if worth:
        shown.print(table("Lost without", ("expert", "points"), worth))
    pruned = [
        [
            str(point.k),
            f"{point.score:.4f}",
            f"{100 * point.loss:+.1f}",
            points(100 * point.loss_ci95[0], 100 * point.loss_ci95[1]),
            "yes" if point.measurable else "no",
            ", ".join(point.experts),
        ]
        for point in found.pruning
    ]
    columns = ("experts", "score", "loss", "95%", "measurable", "keep")
    shown.print(table("Fewer experts, on held-out prompts", columns, pruned))
    if idle := _idle(found):
        shown.print(f"Can be switched off without a measurable loss: {', '.join(idle)}.")
