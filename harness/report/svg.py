"""Line charts as SVG: they scale, print, follow light and dark by CSS, and carry a text alternative. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from markupsafe import Markup, escape

from harness.core.quote import plain

LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 40  # margins, in units of the viewBox
TICKS = 5  # of an axis, about


@dataclass(frozen=True, slots=True)
class Line:
    """Points joined by a line; None is a gap. style: a CSS class."""

    points: Sequence[tuple[float, float | None]]
    style: str


@dataclass(frozen=True, slots=True)
class Mark:
    """One point. style: a CSS class; ``idle`` is drawn as a square, ``retention`` as a diamond. text: its tooltip."""

    x: float
    y: float
    style: str
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart. title and description are its text alternative. band: (x, low, high). rules: horizontal lines with
    their label; one far above the data is not drawn. shades: (from, to, CSS class) on the x axis. crashed_at: x of a
    red vertical line. zero: whether the y axis begins at 0."""

    title: str
    description: str
    x_label: str
    y_label: str
    lines: Sequence[Line] = ()
    marks: Sequence[Mark] = ()
    band: Sequence[tuple[float, float, float]] = ()
    rules: Sequence[tuple[float, str]] = ()
    shades: Sequence[tuple[float, float, str]] = ()
    crashed_at: float | None = None
    zero: bool = True
    identifier: str = field(default="chart")


def ticks(low: float, high: float, most: int = TICKS) -> list[float]:
    """Round numbers between two ends (1, 2 or 5 times a power of ten apart)."""
    if not high > low:
        return [low]
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(step * power for step in (1, 2, 5, 10) if step * power >= raw)
    # The tolerance keeps a tick at an end that a binary fraction misses by its rounding error.
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def short(value: float) -> str:
    """A tick: ``0.5``, ``300``, ``12k``, ``4.5M``."""
    # From 10,000 on: 1,200 is no longer than 1.2k.
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == 'k' else size):g}{unit}"
    return f"{value:g}"


@dataclass(frozen=True, slots=True)
class _Frame:
    """The rectangle of the data, and the values at its edges. It turns values into places on the drawing."""

    width: int
    height: int
    left: float
    right: float
    bottom: float
    top: float

    @property
    def inner(self) -> tuple[int, int]:
        """Width and height without the margins."""
        return self.width - LEFT - RIGHT, self.height - TOP - BOTTOM

    def at(self, x: float, y: float) -> tuple[float, float]:
        across, down = self.inner
        return (
            LEFT + (x - self.left) / (self.right - self.left) * across,
            TOP + (1 - (y - self.bottom) / (self.top - self.bottom)) * down,
        )


def draw(chart: Chart, width: int = 720, height: int = 300) -> Markup:
    """The chart as an SVG element of this shape; it takes the width of its container."""
    # A limit of a million descriptors would press the data into a line at the bottom.
    ys = _y_values(chart)
    rules = [(level, label) for level, label in chart.rules if ys and in_sight(level, max(ys))]
    frame = _frame(chart, ys, [level for level, _ in rules], width, height)
    if frame is None:
        return Markup("")
    # In the order of painting: what comes later covers what came before.
    parts = [
        *_shades(chart, frame),
        *_grid(frame),
        *_band(chart, frame),
        *_rules(rules, frame),
        *_lines(chart, frame),
        *(_mark(mark, *frame.at(mark.x, mark.y)) for mark in chart.marks),
        *_crash(chart, frame),
        *_axis_labels(chart, frame),
    ]
    # The page has each chart twice, for wide and narrow screens, and identifiers must be unique.
    name = f"{chart.identifier}-{width}"
    return Markup(  # noqa: S704 - every text in it is escaped
        f'<svg class="plot" role="img" aria-labelledby="{name}-t {name}-d" viewBox="0 0 {width} {height}">'
        f'<title id="{name}-t">{_text(chart.title)}</title><desc id="{name}-d">{_text(chart.description)}</desc>'
        f"{''.join(parts)}</svg>"
    )


def _y_values(chart: Chart) -> list[float]:
    ys = [y for line in chart.lines for _, y in line.points if y is not None]
    return [
        *ys,
        *(mark.y for mark in chart.marks),
        *(end for _, low, high in chart.band for end in (low, high)),
    ]


def _frame(
    chart: Chart, ys: Sequence[float], rules: Sequence[float], width: int, height: int
) -> _Frame | None:
    """The frame that shows all the data and these horizontal lines; None for a chart without data."""
    xs = [x for line in chart.lines for x, _ in line.points] + [mark.x for mark in chart.marks]
    xs += [end for low, high, _ in chart.shades for end in (low, high)]
    xs += [chart.crashed_at] if chart.crashed_at is not None else []
    if not xs or not ys:
        return None
    left, right = min(xs), max(xs)
    # A single point, or a constant level, has no extent, and ``at`` would divide by zero.
    right = right if right > left else left + 1
    bottom, top = (min(0.0, *ys) if chart.zero else min(ys)), max(*ys, *rules)
    # A little room above, so that the highest mark and its label are not cut off.
    top = bottom + (top - bottom) * 1.06 if top > bottom else bottom + 1
    return _Frame(width, height, left, right, bottom, top)


def _shades(chart: Chart, frame: _Frame) -> list[str]:
    parts = []
    for start, end, style in chart.shades:
        (x0, _), (x1, _) = frame.at(start, frame.bottom), frame.at(end, frame.bottom)
        parts.append(_rect(x0, TOP, max(0.0, x1 - x0), frame.inner[1], style))
    return parts


def _grid(frame: _Frame) -> list[str]:
    parts = []
    for y in ticks(frame.bottom, frame.top):
        _, down = frame.at(frame.left, y)
        parts.append(_segment(LEFT, down, frame.width - RIGHT, down, "grid"))
        parts.append(_label(LEFT - 6, down + 4, short(y), "end"))
    for x in ticks(frame.left, frame.right, 2 * TICKS if frame.width > 500 else TICKS):
        across, _ = frame.at(x, frame.bottom)
        parts.append(_label(across, frame.height - BOTTOM + 17, short(x), "middle"))
    return parts


def _band(chart: Chart, frame: _Frame) -> list[str]:
    if not chart.band:
        return []
    upper = [frame.at(x, high) for x, _, high in chart.band]
    lower = [frame.at(x, low) for x, low, _ in reversed(chart.band)]
    shape = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*upper, *lower])
    return [f'<polygon class="band" points="{shape}"/>']


def _rules(rules: Sequence[tuple[float, str]], frame: _Frame) -> list[str]:
    parts = []
    for level, label in rules:
        _, y = frame.at(frame.left, level)
        parts.append(_segment(LEFT, y, frame.width - RIGHT, y, "ceiling"))
        parts.append(_label(frame.width - RIGHT - 4, y - 5, label, "end", "ceiling-label"))
    return parts


def _lines(chart: Chart, frame: _Frame) -> list[str]:
    parts = []
    for line in chart.lines:
        # A gap in the readings interrupts the line: connecting its ends would show values that were not measured.
        for there, group in groupby(line.points, key=lambda point: point[1] is not None):
            if there:
                path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (frame.at(x, y or 0.0) for x, y in group))
                parts.append(f'<polyline class="{line.style}" points="{path}"/>')
    return parts


def _crash(chart: Chart, frame: _Frame) -> list[str]:
    if chart.crashed_at is None:
        return []
    x, _ = frame.at(chart.crashed_at, frame.bottom)
    return [
        _segment(x, TOP, x, TOP + frame.inner[1], "exited"),
        _label(x - 5, TOP + 28, "exited", "end", "exited-label"),
    ]


def _axis_labels(chart: Chart, frame: _Frame) -> list[str]:
    across, down = frame.inner
    return [
        _label(LEFT + across / 2, frame.height - 6, chart.x_label, "middle", "axis"),
        f'<text class="axis" text-anchor="middle" transform="translate(13 {TOP + down / 2:.1f}) rotate(-90)">'
        f"{_text(chart.y_label)}</text>",
    ]


def in_sight(level: float, top: float) -> bool:
    """Whether a ceiling is near enough to be drawn without flattening the data: at most twice as high."""
    return math.isfinite(level) and 0 < level <= 2 * top


def _text(text: str) -> str:
    return str(escape(plain(text, 1000)))


def _rect(x: float, y: float, width: float, height: float, style: str) -> str:
    return f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'


def _segment(x0: float, y0: float, x1: float, y1: float, style: str) -> str:
    return f'<line class="{style}" x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"/>'


def _label(x: float, y: float, text: str, anchor: str, style: str = "tick") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{_text(text)}</text>'


def _mark(mark: Mark, x: float, y: float) -> str:
    tip = f"<title>{_text(mark.text)}</title>"
    if mark.style == "idle":
        return f'<rect class="mark idle" x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10">{tip}</rect>'
    if mark.style == "retention":
        return (
            f'<polygon class="mark retention" points="{x:.1f},{y - 7:.1f} {x + 7:.1f},{y:.1f} {x:.1f},{y + 7:.1f} '
            f'{x - 7:.1f},{y:.1f}">{tip}</polygon>'
        )
    return f'<circle class="mark {mark.style}" cx="{x:.1f}" cy="{y:.1f}" r="4.5">{tip}</circle>'
