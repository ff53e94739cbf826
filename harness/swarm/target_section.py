"""The Target section of Locust's downloadable HTML report: the figures of the tab, without a script."""

from __future__ import annotations

from html import escape
from typing import Any

WIDTH, HEIGHT, LEFT, BOTTOM = 900, 180, 70, 36  # pixels of a chart, and of its margins with the labels
MAX_POINTS = 600  # points of a line, about: with more the report would only be larger
NAMES = {"fds": ("Descriptors", 1, ""), "threads": ("Threads", 1, ""), "rss": ("Memory", 1 << 20, "MiB")}
STYLE = (
    "<style>#harness-target{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;"
    "color:inherit}#harness-target table{border-collapse:collapse;margin:1rem 0}#harness-target th,"
    "#harness-target td{padding:.2rem 1rem .2rem 0;text-align:left;border-bottom:1px solid #8886}"
    "#harness-target svg{width:100%;height:auto}</style>"
)


def section(state: dict[str, Any]) -> str:
    """HTML of one feed's state. Whatever the target says about itself is escaped."""
    streams, metrics = state["streams"], state["metrics"]
    rows = "".join(_row(name, metrics[name]) for name in NAMES)
    classes = "".join(
        f"<tr><td>{escape(kind)}</td><td>{count}</td></tr>"
        for kind, count in sorted(state["classes"].items(), key=lambda item: (-item[1], item[0]))
    )
    problem = f"<p>{escape(state['problem'])}</p>" if state["problem"] else ""
    return (
        f'{STYLE}<section id="harness-target"><h2>Target</h2>{problem}<p>{streams["open"]} streams open, '
        f"{streams['answered']} answered, {streams['cut']} cut short by Stop</p><table><thead><tr><th>Metric</th>"
        "<th>Before</th><th>Peak</th><th>Now</th><th>Growth per answered stream (95 %)</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>{''.join(_chart(name, state) for name in NAMES)}"
        f"<table><thead><tr><th>Descriptor class</th><th>Count</th></tr></thead><tbody>{classes}</tbody>"
        "</table></section>"
    )


def level(name: str, value: float | None) -> str:
    """A level of a metric with its unit."""
    if value is None:
        return "–"
    _, divisor, unit = NAMES[name]
    return f"{value / divisor:,.1f} {unit}" if unit else f"{value:,.0f}"


def grown(name: str, growth: dict[str, float] | None) -> str:
    """A rate with its interval: bytes for memory, else pieces."""
    if growth is None:
        return "–"
    rate, low, high = (
        f"{growth[key]:,.0f}" if name == "rss" else f"{growth[key]:.2f}" for key in ("rate", "low", "high")
    )
    return f"{rate} ({low} to {high}){' B' if name == 'rss' else ''}"


def _row(name: str, metric: dict[str, Any]) -> str:
    cells = [NAMES[name][0], *(level(name, metric[key]) for key in ("before", "peak", "now"))]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in [*cells, grown(name, metric["growth"])]) + "</tr>"


def _chart(name: str, state: dict[str, Any]) -> str:
    """The readings of one metric as SVG, with the moments at which the test started and stopped; empty with fewer than
    two readings."""
    title, divisor, unit = NAMES[name]
    points = [
        (sample["at"], sample[name] / divisor) for sample in state["samples"] if sample[name] is not None
    ]
    if len(points) < 2:
        return ""
    zero = next((mark["at"] for mark in state["marks"] if mark["what"] == "start"), points[0][0])
    first, last = float(points[0][0]), float(points[-1][0])
    # A tenth of room above the highest reading; where all are 0, any height does.
    top = float(max(value for _, value in points)) * 1.1 or 1.0

    def x(at: float) -> float:
        return LEFT + (at - first) / max(last - first, 1e-9) * (WIDTH - LEFT - 10)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - 10)

    step = max(1, len(points) // MAX_POINTS)
    line = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in points[::step])
    marks = "".join(
        f'<line x1="{x(mark["at"]):.1f}" x2="{x(mark["at"]):.1f}" y1="8" y2="{HEIGHT - BOTTOM}" stroke="currentColor" '
        f'stroke-dasharray="4 3"/><text x="{x(mark["at"]) + 4:.1f}" y="18">{escape(mark["what"])}</text>'
        for mark in state["marks"]
        if first <= mark["at"] <= last
    )
    ticks = "".join(
        f'<text x="{LEFT + share * (WIDTH - LEFT - 40):.0f}" y="{HEIGHT - 20}">'
        f"{first + share * (last - first) - zero:.0f}</text>"
        for share in (0, 0.25, 0.5, 0.75, 1)
    )
    label = f"{title}{f' in {unit}' if unit else ''}: at most {top / 1.1:.0f}"
    return (
        f'<h3>{title}{f" ({unit})" if unit else ""}</h3><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{label}" font-size="12" fill="currentColor"><polyline points="{line}" fill="none" '
        f'stroke="#3b7ddd" stroke-width="1.6"/>{marks}{ticks}'
        f'<text x="4" y="{y(top / 1.1) + 4:.0f}">{top / 1.1:.0f}</text>'
        f'<text x="4" y="{HEIGHT - BOTTOM}">0</text><text x="{WIDTH / 2}" y="{HEIGHT - 4}">'
        "time since the test started (s)"
        "</text></svg>"
    )
