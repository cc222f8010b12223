"""The report of a build, as Markdown and as one HTML page with a picture of the regions."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe_mop._build import Made

_SHOWN_CHARS = 160
_WIDTH, _HEIGHT, _EDGE = 760, 460, 24
_MOST_DOTS = 1500
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}td,th{padding:.25rem .7rem;border-bottom:1px solid #ddd;text-align:left;"
    "vertical-align:top}svg{border:1px solid #ddd;max-width:100%;height:auto}"
)


def markdown(made: Made) -> str:
    """The report as Markdown."""
    lines = ["# Mixture of prompts", "", *_summary(made), ""]
    for title, header, rows in _tables(made):
        lines += [f"## {title}", "", _row(header), _row(["---"] * len(header)), *map(_row, rows), ""]
    return "\n".join(lines)


def page(made: Made) -> str:
    """The report as one HTML page without scripts or outside resources."""
    parts = [f"<p>{html.escape(line)}</p>" for line in _summary(made) if line]
    parts.append(_picture(made.points, made.labels, made.bundle.centroids))
    for title, header, rows in _tables(made):
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
        )
        parts.append(f"<h2>{html.escape(title)}</h2><table><tr>{head}</tr>{body}</table>")
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Mixture of prompts</title>'
        f"<style>{_STYLE}</style><h1>Mixture of prompts</h1>{''.join(parts)}</html>\n"
    )


def _summary(made: Made) -> list[str]:
    about, k = made.bundle.about, len(made.bundle.prompts)
    lines = [
        f"{about['examples']} examples, {k} regions, {about['calls']} of at most {about['budget']} calls"
        + (f" to `{about['base']}`." if made.plan is not None else "; none was needed without instructions."),
        f"The number of regions has the least scatter left plus {made.choice.penalty:.4f} per region; "
        f"{made.choice.split} more come from cutting regions that were plainly two. Inputs "
        f"with a margin below {made.bundle.min_margin:.3f} get the single prompt.",
    ]
    if made.plan is not None:
        lines.append(
            f"Plan: {made.plan.search_calls(k)} calls to search, as many at most for APE, "
            f"{made.plan.reported} held-back examples for each policy, {made.plan.reserve} in reserve."
        )
    return lines


def _tables(made: Made) -> list[tuple[str, list[str], list[list[str]]]]:
    regions = [
        [
            str(number),
            str(region.size),
            " ".join(region.terms),
            " · ".join(_short(text) for text in region.samples[:2]),
            _short(prompt.instruction) or "(none)",
            ""
            if region.score is None
            else f"{region.score:.2f} {_interval(region.interval)} n={region.checked}",
        ]
        for number, (region, prompt) in enumerate(zip(made.bundle.regions, made.bundle.prompts, strict=True))
    ]
    header = ["region", "examples", "telling terms", "typical inputs", "instruction", "validation score"]
    tables = [("Regions", header, regions)]
    if made.policies is not None:
        rows = [_policy_row(row) for row in made.policies.rows()]
        title = f"On {len(made.policies.tasks)} held-back examples, with 95 % intervals"
        tables.append((title, ["policy", "score", "lead of mop", "prompt characters"], rows))
        tasks = made.policies.by_task()
        if len(tasks) > 1:
            names = list(made.policies.scores)
            rows = [
                [task, str(facts["examples"]), *(f"{facts['scores'][name]:.2f}" for name in names)]
                for task, facts in tasks.items()
            ]
            tables.append(("By task", ["task", "examples", *names], rows))
    curve = [[str(k), f"{left:.3f}", f"{score:.3f}"] for k, left, score in made.choice.curve]
    tables.append(("Number of regions", ["regions", "scatter left", "with penalty"], curve))
    return tables


def _policy_row(row: dict[str, Any]) -> list[str]:
    return [
        row["policy"],
        f"{row['score']:.3f} {_interval(row['ci95'])}",
        f"{row['mop_lead']:+.3f} ({row['mop_lead_ci95'][0]:+.3f} to {row['mop_lead_ci95'][1]:+.3f})",
        f"{row['prompt_chars']:.0f}",
    ]


def _interval(ends: Sequence[float] | None) -> str:
    return "" if ends is None else f"({ends[0]:.2f} to {ends[1]:.2f})"


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _SHOWN_CHARS else flat[: _SHOWN_CHARS - 1] + "…"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _picture(points: NDArray[np.float32], labels: NDArray[np.int64], centroids: NDArray[np.float32]) -> str:
    """The first two principal components: a dot per example, a numbered disc per region."""
    flat = np.zeros((len(points) + len(centroids), 2), np.float64)
    width = min(2, points.shape[1])
    flat[:, :width] = np.vstack([points, centroids])[:, :width]
    low, span = flat.min(axis=0), np.maximum(np.ptp(flat, axis=0), 1e-9)
    spots = (flat - low) / span * (_WIDTH - 2 * _EDGE, _HEIGHT - 2 * _EDGE) + _EDGE
    step = max(len(points) // _MOST_DOTS, 1)
    dots = [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{_colour(region, len(centroids))}" opacity=".6"/>'
        for (x, y), region in zip(spots[: len(points) : step].tolist(), labels[::step].tolist(), strict=True)
    ]
    discs = [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="11" fill="#fff" stroke="{_colour(region, len(centroids))}" '
        f'stroke-width="3"/><text x="{x:.1f}" y="{y + 4:.1f}" font-size="12" text-anchor="middle">'
        f"{region}</text>"
        for region, (x, y) in enumerate(spots[len(points) :].tolist())
    ]
    label = "Inputs in the plane of their first two principal components, coloured by region"
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" role="img" aria-label="{label}">'
        f"{''.join(dots)}{''.join(discs)}</svg>"
    )


def _colour(region: int, regions: int) -> str:
    return f"hsl({360 * region // max(regions, 1)},65%,42%)"
