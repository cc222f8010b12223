"""Plots of a line and a few dots: SVG written by hand, PNG drawn by Pillow (extra `plot`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from coe.errors import DataError
from coe_routers._extras import library

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 640, 400, 70, 50, 20, 20
_TEXT, _GRID, _INK = "#000000", "#dddddd", "#1f6feb"
_FONT_SIZE = 12
_SHARPER = 2
"""Pixels of a PNG for each unit; it is drawn twice as large once more and scaled down, for smooth edges."""

Point = tuple[float, float]


@dataclass(slots=True)
class Drawing:
    """Shapes in units of an SVG: lines (points, colour, width), dots, texts (place, text, anchor)."""

    lines: list[tuple[list[Point], str, float]] = field(default_factory=list[tuple[list[Point], str, float]])
    dots: list[Point] = field(default_factory=list[Point])
    texts: list[tuple[Point, str, str]] = field(default_factory=list[tuple[Point, str, str]])


def front(axis: str, points: Sequence[Point]) -> Drawing:
    """A Pareto front: expected score over what is spent."""
    return _drawn(axis or "spend", "expected score", [(x, y, "") for x, y in points], line=True)


def policies(unit: str, rows: Sequence[tuple[str, float, float]]) -> Drawing:
    """Policies by cost and score: (name, cost, score)."""
    return _drawn(unit, "score", [(cost, score, name) for name, cost, score in rows], line=False)


def write_plot(path: Path, drawing: Drawing) -> None:
    """Write a drawing as the suffix of the file says.

    Raises:
        DataError: the suffix is neither `.svg` nor `.png`, or there is no such folder.
        PluginError: PNG is asked for and the extra `plot` is not installed.
    """
    check_suffix(path)
    if path.suffix.lower() == ".svg":
        path.write_text(_svg(drawing), encoding="utf-8")
    else:
        _png(drawing).save(path, format="PNG")


def check_suffix(path: Path | None) -> None:
    """Refuse a plot that cannot be written, before the work that it would show. Raises as `write_plot`."""
    if path is None:
        return
    suffix = path.suffix.lower()
    if suffix not in (".svg", ".png"):
        raise DataError(f"--plot {path}: expected a file that ends in .svg or .png.")
    if not path.parent.is_dir():
        raise DataError(f"--plot {path}: there is no folder {path.parent}.")
    if suffix == ".png":
        library("PIL.ImageDraw", "plot")


def _drawn(x_name: str, y_name: str, points: Sequence[tuple[float, float, str]], *, line: bool) -> Drawing:
    known = [point for point in points if point[0] == point[0] and point[1] == point[1]]
    x_low, x_high = _range([x for x, _, _ in known])
    y_low, y_high = _range([y for _, y, _ in known])

    def at(x: float, y: float) -> Point:
        across = _LEFT + (x - x_low) / (x_high - x_low) * (_WIDTH - _LEFT - _RIGHT)
        down = _HEIGHT - _BOTTOM - (y - y_low) / (y_high - y_low) * (_HEIGHT - _BOTTOM - _TOP)
        return round(across, 1), round(down, 1)

    made = Drawing()
    for step in range(5):
        x, y = x_low + step / 4 * (x_high - x_low), y_low + step / 4 * (y_high - y_low)
        across, down = at(x, y)
        made.lines.append(([(_LEFT, down), (_WIDTH - _RIGHT, down)], _GRID, 1))
        made.texts.append(((_LEFT - 8, down + 4), f"{y:.3g}", "end"))
        made.texts.append(((across, _HEIGHT - _BOTTOM + 18), f"{x:.3g}", "middle"))
    made.texts.append((((_WIDTH + _LEFT) / 2, _HEIGHT - 10), x_name, "middle"))
    made.texts.append(((_LEFT, 14), y_name, "start"))
    if line and known:
        made.lines.append(([at(x, y) for x, y, _ in known], _INK, 2))
    for x, y, name in known:
        across, down = at(x, y)
        made.dots.append((across, down))
        if name:
            # Names go to the side on which there is room.
            right = across < _WIDTH * 0.75
            made.texts.append(((across + (7 if right else -7), down - 6), name, "start" if right else "end"))
    return made


def _svg(drawing: Drawing) -> str:
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="{_FONT_SIZE}">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
    ]
    for points, colour, width in drawing.lines:
        path = " ".join(f"{x},{y}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>')
    parts.extend(f'<circle cx="{x}" cy="{y}" r="4" fill="{_INK}"/>' for x, y in drawing.dots)
    parts.extend(
        f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'
        for (x, y), text, anchor in drawing.texts
    )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _png(drawing: Drawing) -> Any:
    """A Pillow image of the drawing."""
    image: Any = library("PIL.Image", "plot")
    draw: Any = library("PIL.ImageDraw", "plot")
    fonts: Any = library("PIL.ImageFont", "plot")
    large = 2 * _SHARPER
    made = image.new("RGB", (_WIDTH * large, _HEIGHT * large), "white")
    pen = draw.Draw(made)
    font = fonts.load_default(_FONT_SIZE * large)
    for points, colour, width in drawing.lines:
        pen.line([(x * large, y * large) for x, y in points], fill=colour, width=int(width * large))
    for x, y in drawing.dots:
        pen.ellipse([(x - 4) * large, (y - 4) * large, (x + 4) * large, (y + 4) * large], fill=_INK)
    anchors = {"start": "ls", "middle": "ms", "end": "rs"}
    for (x, y), text, anchor in drawing.texts:
        pen.text((x * large, y * large), text, fill=_TEXT, font=font, anchor=anchors[anchor])
    return made.resize((_WIDTH * _SHARPER, _HEIGHT * _SHARPER), image.Resampling.LANCZOS)


def _range(values: Sequence[float]) -> tuple[float, float]:
    """From least to largest with a margin; never empty."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    return low - margin, high + margin
