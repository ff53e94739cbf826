"""Resources and load of a trial over time, as charts and rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.core.cycle import Ledger, Observation
from harness.core.record import Trial
from harness.core.sample import Sample
from harness.core.segments import last_process
from harness.core.units import counted
from harness.report.svg import Chart, Line, Mark
from harness.report.words import number

MAX_POINTS = 2000  # points of one line in a chart
RESOURCES = (
    ("fds", "Descriptors", "descriptors", "RLIMIT_NOFILE"),
    ("threads", "Threads", "threads", "pids.max"),
    ("memory", "Resident memory", "MiB", "memory.max"),
)
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class CycleRow:
    """One cycle of the load table, as texts."""

    cycle: str
    phase: str
    streams: str
    peak: str
    p50: str
    p95: str
    p99: str
    failures: str


def thin(samples: Sequence[Sample], limit: int = MAX_POINTS) -> list[Sample]:
    """At most ``limit`` samples: of each stretch the one with the most descriptors, so that no peak is
    lost, and never across a gap; the first and the last are always kept."""
    if len(samples) <= limit:
        return list(samples)
    # Two fewer, for the first and the last sample. The division rounds up, so that the limit holds.
    step = -(-len(samples) // (limit - 2))
    kept = [samples[0]]
    for start in range(1, len(samples) - 1, step):
        stretch = samples[start : min(start + step, len(samples) - 1)]
        gaps = [sample for sample in stretch if sample.gap]
        kept.append(gaps[0] if gaps else max(stretch, key=lambda sample: (sample.fds or 0, sample.rss or 0)))
    return [*kept, samples[-1]]


def columns(trial: Trial, samples: Sequence[Sample]) -> dict[str, Any]:
    """``{"x": [s], "fds": [...], "threads": [...], "memory": [MiB], "cycles": [...], "crash": s | None}``;
    times are seconds since the trial's start, None marks a gap."""
    kept = thin([sample for sample in samples if sample.at >= trial.started])
    start = trial.started
    return {
        "x": [round(sample.at - start, 3) for sample in kept],
        "fds": [sample.fds for sample in kept],
        "threads": [sample.threads for sample in kept],
        "memory": [None if sample.rss is None else round(sample.rss / MIB, 2) for sample in kept],
        "cycles": [
            {
                "from": round(o.started - start, 3),
                "load": round((o.load_ended or o.ended) - start, 3),
                "to": round(o.ended - start, 3),
                "phase": o.spec.phase.value,
            }
            for o in trial.observations
        ],
        "crash": round(trial.exit.at, 3) if trial.exit else None,
    }


def resources(trial: Trial, samples: Sequence[Sample], identifier: str) -> Iterator[Chart]:
    """Descriptors, threads and memory, each with its limit where in sight. What was never read is absent."""
    data = columns(trial, samples)
    shades = [(c["from"], c["load"], "busy") for c in data["cycles"]]
    for name, title, unit, limit in RESOURCES:
        values = data[name]
        seen = [value for value in values if value is not None]
        if len(seen) < 2:
            continue
        ceiling = trial.target.limits.get(limit, 0.0) / (MIB if name == "memory" else 1)
        yield Chart(
            title=f"{title} over time",
            description=f"{title} over {number(data['x'][-1])} s: first {number(seen[0])}, peak {number(max(seen))}, "
            f"last {number(seen[-1])} {unit}. Shaded: clients connected.",
            x_label="seconds",
            y_label=unit,
            lines=[Line(list(zip(data["x"], values, strict=True)), "series")],
            rules=[(ceiling, f"{limit} {number(ceiling)}")] if ceiling else [],
            shades=shades,
            crashed_at=data["crash"],
            identifier=f"{identifier}-{name}",
        )


def load(trial: Trial, identifier: str) -> Iterator[Chart]:
    """Open streams, and the time to the first event."""
    loaded = [one for one in trial.observations if one.ledger.opened]
    start = trial.started
    if any(one.ledger.peak for one in loaded):
        steps: list[tuple[float, float | None]] = []
        for one in loaded:
            ended = (one.load_ended or one.ended) - start
            began = one.started - start
            # A record has only the peak of each cycle, so the cycle is drawn as a rectangle.
            steps += [
                (began, 0.0),
                (began, float(one.ledger.peak)),
                (ended, float(one.ledger.peak)),
                (ended, 0.0),
            ]
        most = max(one.ledger.peak for one in loaded)
        yield Chart(
            title="Streams open at once",
            description="Most streams open at once in each of "
            f"{counted(len(loaded), 'cycle')} with clients; {most} at most.",
            x_label="seconds", y_label="streams", lines=[Line(steps, "series")], identifier=f"{identifier}-open",
        )  # fmt: skip
    named: tuple[tuple[str, Callable[[Ledger], float | None]], ...] = (
        ("p50", lambda ledger: ledger.first_event_p50),
        ("p95", lambda ledger: ledger.first_event_p95),
        ("p99", lambda ledger: ledger.first_event_p99),
    )
    lines, marks, ranges = [], [], []
    for name, of in named:
        points = [
            (_middle(one) - start, value * 1000) for one in loaded if (value := of(one.ledger)) is not None
        ]
        if points:
            lines.append(Line(points, name))
            marks += [Mark(x, y, name, f"{name}: {number(y)} ms") for x, y in points]
            ranges.append(
                f"{name} {number(min(y for _, y in points))} to {number(max(y for _, y in points))} ms"
            )
    if lines:
        yield Chart(
            title="Time to the first event: p50 (solid), p95 (dashed), p99 (dotted)",
            description=f"Time to the first event in each cycle: {'; '.join(ranges)}.",
            x_label="seconds", y_label="milliseconds", lines=lines, marks=marks, identifier=f"{identifier}-first",
        )  # fmt: skip


def cycles(trial: Trial) -> list[CycleRow]:
    """The load of each cycle."""

    def ms(value: float | None) -> str:
        return "–" if value is None else f"{number(value * 1000)} ms"

    return [
        CycleRow(
            str(one.spec.index),
            one.spec.phase.value,
            number(one.ledger.opened),
            number(one.ledger.peak),
            ms(one.ledger.first_event_p50),
            ms(one.ledger.first_event_p95),
            ms(one.ledger.first_event_p99),
            ", ".join(f"{count} {cause}" for cause, count in one.ledger.causes.items()) or "none",
        )
        for one in trial.observations
        if one.ledger.opened
    ]


def classes(trial: Trial) -> list[tuple[str, str, str, str]]:
    """Each class that was counted: name, level before, level after, change. Classes of descriptors, sockets, threads
    and tasks at the first and at the last settled moment."""
    # The levels of an earlier process of the service cannot be compared with those of this one.
    seen = last_process(trial).observations
    read = [dict(one.levels) for one in seen if one.levels and one.settled]
    if len(read) < 2:
        return []
    first, last = read[0], read[-1]
    keys = sorted(
        {
            key
            for key in (*first, *last)
            if key.kind and key.metric in ("fds", "threads", "tasks", "processes")
        }
    )
    rows = []
    for key in keys:
        before, after = first.get(key, 0.0), last.get(key, 0.0)
        change = after - before
        rows.append((str(key), number(before), number(after), f"{change:+,.0f}" if change else "0"))
    return rows


def _middle(one: Observation) -> float:
    return (one.started + (one.load_ended or one.ended)) / 2
