"""`coe evaluate`: a router against the best single expert and others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from coe_routers.commands._plot import check_suffix, policies, write_plot
from coe_routers.commands._shared import (
    JsonOption,
    OutcomesArgument,
    RouterArgument,
    SeedOption,
    console,
    plain,
    points,
    print_json,
    steps,
    table,
)
from coe_routers.evaluation import Report, evaluate, evaluate_decisions
from coe_routers.offline import decides_by, find_embedder
from coe_routers.outcomes import read_outcomes

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def command(
    router: RouterArgument,
    outcomes: OutcomesArgument,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write score over cost: .svg, or .png (extra: plot).", show_default=False
        ),
    ] = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Compare a router with the best single expert, chance, k-NN and both oracles on other outcomes."""
    check_suffix(plot)
    with steps("evaluating"):
        # Routers of other kinds have no classifier, or do not decide by the map alone.
        compared = evaluate if decides_by(router) == "expected" else evaluate_decisions
        report = compared(router, read_outcomes(outcomes), find_embedder, seed=seed)
    if plot is not None:
        rows = [(row.policy, row.cost, row.score) for row in report.rows]
        write_plot(plot, policies(report.cost_unit, rows))
    if as_json:
        print_json(_summary(report))
        return
    _show(report)


def _summary(report: Report) -> dict[str, Any]:
    return plain(
        {
            "rows": [
                {
                    "policy": row.policy,
                    "score": row.score,
                    "score_ci95": row.score_ci95,
                    "cost": row.cost,
                    "diff_points": row.diff_points,
                    "diff_ci95": row.diff_ci95,
                    "n": row.n,
                }
                for row in report.rows
            ],
            "best_single": report.single,
            "cost_unit": report.cost_unit,
            "general_share": report.general_share,
            "general_by": report.general_by,
            "stated_coverage": report.stated_coverage,
            "coverage": report.coverage,
            "set_size": report.set_size,
            "accuracy": report.accuracy,
            "calibration_error": report.calibration_error,
            "categories": report.categories,
            "confusion": report.confusion.tolist(),
            "experts": report.experts,
        }
    )


def _show(report: Report) -> None:
    shown = console()
    rows = [
        [
            row.policy,
            f"{row.score:.4f}",
            f"{row.score_ci95[0]:.4f} to {row.score_ci95[1]:.4f}",
            "" if row.cost != row.cost else f"{row.cost:.4g}",
            f"{row.diff_points:+.1f}",
            points(*row.diff_ci95),
            str(row.n),
        ]
        for row in report.rows
    ]
    columns = ("policy", "score", "95%", report.cost_unit, "points", "95% of points", "n")
    shown.print(table(f"Points are to the best single expert, {report.single}", columns, rows))
    if report.accuracy == report.accuracy:
        shown.print(
            f"Classifier: {report.accuracy:.1%} right, calibration error {report.calibration_error:.3f}, "
            f"{report.general_share:.1%} sent to general."
        )
    if report.coverage == report.coverage:
        shown.print(
            f"Prediction sets hold the category of {report.coverage:.1%} "
            f"(stated: {report.stated_coverage:.0%}) and {report.set_size:.2f} categories on average."
        )
    used = sorted(report.experts.items(), key=lambda pair: -pair[1])
    shown.print("Traffic: " + ", ".join(f"{name} {share:.1%}" for name, share in used) + ".")
