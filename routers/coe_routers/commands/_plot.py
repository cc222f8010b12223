"""Plots as SVG, written by hand: no plotting library is worth a line and a few dots."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 640, 400, 70, 50, 20, 20


def front_svg(axis: str, points: Sequence[tuple[float, float]]) -> str:
    """A Pareto front: expected score over what is spent."""
    return _svg(axis or "spend", "expected score", [(x, y, "") for x, y in points], line=True)


def policies_svg(unit: str, rows: Sequence[tuple[str, float, float]]) -> str:
    """Policies by cost and score: (name, cost, score)."""
    return _svg(unit, "score", [(cost, score, name) for name, cost, score in rows], line=False)


def _svg(x_name: str, y_name: str, points: Sequence[tuple[float, float, str]], *, line: bool) -> str:
    known = [point for point in points if point[0] == point[0] and point[1] == point[1]]
    x_low, x_high = _range([x for x, _, _ in known])
    y_low, y_high = _range([y for _, y, _ in known])

    def at(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (x - x_low) / (x_high - x_low) * (_WIDTH - _LEFT - _RIGHT)
        down = _HEIGHT - _BOTTOM - (y - y_low) / (y_high - y_low) * (_HEIGHT - _BOTTOM - _TOP)
        return round(across, 1), round(down, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
    ]
    for step in range(5):
        x, y = x_low + step / 4 * (x_high - x_low), y_low + step / 4 * (y_high - y_low)
        across, down = at(x, y)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{down}" y2="{down}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{down + 4}" text-anchor="end">{y:.3g}</text>')
        label_y = _HEIGHT - _BOTTOM + 18
        parts.append(f'<text x="{across}" y="{label_y}" text-anchor="middle">{x:.3g}</text>')
    middle = (_WIDTH + _LEFT) / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 10}" text-anchor="middle">{escape(x_name)}</text>')
    parts.append(f'<text x="{_LEFT}" y="14">{escape(y_name)}</text>')
    if line and known:
        path = " ".join("{},{}".format(*at(x, y)) for x, y, _ in known)
        parts.append(f'<polyline points="{path}" fill="none" stroke="#1f6feb" stroke-width="2"/>')
    for x, y, name in known:
        across, down = at(x, y)
        parts.append(f'<circle cx="{across}" cy="{down}" r="4" fill="#1f6feb"/>')
        parts.append(f'<text x="{across + 7}" y="{down - 6}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _range(values: Sequence[float]) -> tuple[float, float]:
    """From least to largest with a margin; never empty."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    return low - margin, high + margin
