"""Drawings of quality against tokens, as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import TypeAlias

Point: TypeAlias = tuple[float, float]
"""Mean tokens, and quality."""

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 960.0, 420.0, 56.0, 300.0, 30.0, 44.0
GREYS = ("#a9b2bd", "#8d97a3", "#6f7a87", "#4d5763")
BLUES = ("#0b6bcb", "#53a2ee", "#7a4fc9", "#3a8f8a")


class Axes:
    """Tokens on a logarithmic x axis, quality on the y axis."""

    def __init__(self, tokens: Sequence[float], quality: Sequence[float]) -> None:
        self.low, self.high = math.log(max(1.0, min(tokens))), math.log(max(tokens))
        if self.high - self.low < 0.1:
            self.high = self.low + 0.1
        self.floor = max(0.0, math.floor(10.0 * min(quality)) / 10.0)
        self.top = max(self.floor + 0.1, math.ceil(20.0 * max(quality)) / 20.0)

    def x(self, tokens: float) -> float:
        """Return the place of a number of tokens."""
        share = (math.log(max(1.0, tokens)) - self.low) / (self.high - self.low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, quality: float) -> float:
        """Return the place of a quality."""
        share = (quality - self.floor) / (self.top - self.floor)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def frame(self, measure: str) -> list[str]:
        """Return the axes with their lines and names."""
        right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
        lines: list[str] = []
        steps = round((self.top - self.floor) / 0.1)
        stride = 0.1 if steps > 2 else 0.05
        for i in range(round((self.top - self.floor) / stride) + 1):
            quality = self.floor + i * stride
            y = self.y(quality)
            lines.append(f'<line x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" '
                         'stroke="#e6eaee"/>')  # fmt: skip
            lines.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
                         f"{quality:.2f}</text>")  # fmt: skip
        marks = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
        for tokens in (m for m in marks if self.low <= math.log(m) <= self.high):
            x = self.x(tokens)
            lines.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}" '
                         'stroke="#e6eaee"/>')  # fmt: skip
            lines.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{tokens:,}'
                         "</text>")  # fmt: skip
        middle = (LEFT + right) / 2
        lines.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">'
                     "mean tokens of context, logarithmic</text>")  # fmt: skip
        lines.append(
            f'<text class="strong" x="{LEFT - 44}" y="{TOP - 14}">{escape(measure)}</text>'
        )
        return lines


def curve(points: Sequence[Point], axes: Axes, colour: str, *, strong: bool) -> str:
    """Return a line through points, or one dot."""
    places = [(axes.x(tokens), axes.y(quality)) for tokens, quality in points]
    if len(places) == 1:
        x, y = places[0]
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>'
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    width = 2.6 if strong else 1.4
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def target_line(quality: float, text: str, axes: Axes) -> list[str]:
    """Return a dashed line at a quality that is wanted."""
    y, right = axes.y(quality), WIDTH - RIGHT
    return [
        f'<line x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#9a6700" '
        'stroke-dasharray="5 4"/>',
        f'<text x="{right - 6}" y="{y + 15:.1f}" text-anchor="end">target: {escape(text)}</text>',
    ]


def drawing(label: str, shapes: Iterable[str]) -> str:
    """Return the whole drawing; `label` says what it shows to those who do not see it."""
    head = (
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT + 8:g}" role="img" aria-label="{escape(label)}">\n'
        '<g transform="translate(0 8)">'
    )
    return "\n".join([head, *shapes, "</g></svg>"])


def diamond(x: float, y: float, colour: str) -> str:
    """Return a mark at a place of the drawing."""
    return (
        f'<path d="M{x:.1f} {y - 8:.1f} l8 8 l-8 8 l-8 -8 z" fill="{colour}" stroke="#fff" '
        'stroke-width="1.5"/>'
    )


def legend(entries: Sequence[tuple[str, str, str]]) -> list[str]:
    """Return colour, name and detail of each entry."""
    x = WIDTH - RIGHT + 16
    shapes: list[str] = []
    for i, (colour, name, detail) in enumerate(entries):
        y = TOP + 10 + 32 * i
        shapes.append(f'<rect x="{x}" y="{y - 6:.1f}" width="12" height="4" fill="{colour}"/>')
        shapes.append(f'<text class="strong" x="{x + 18}" y="{y}">{escape(name[:44])}</text>')
        shapes.append(f'<text x="{x + 18}" y="{y + 14}">{escape(detail)}</text>')
    return shapes
