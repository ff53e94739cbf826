"""The first picture of a report: the level of a metric against what drives it, cycle by cycle, with the fitted line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.core.cycle import Phase
from harness.core.judge.moment import Moment
from harness.core.judge.moments import DRIVERS, WORDS, level_of, moments, split_warmup
from harness.core.metric import Key
from harness.core.record import Trial
from harness.core.units import counted
from harness.core.verdict import Bound, Finding
from harness.report.nouns import driver, growth, in_bytes, interval, noun, plural, quantity, unit_of
from harness.report.svg import Chart, Line, Mark
from harness.report.words import number

MAX_FURTHER_CHARTS = 6  # charts beside the headline's
MIB = float(1 << 20)
SYMBOLS = (
    ("load", "after a cycle with clients"),
    ("warmup", "warm-up"),
    ("idle", "idle control: no clients"),
    ("retention", "retention control: no clients, or requests that end it"),
    ("fit", "fitted line, and its 95 % interval"),
    ("band", "largest growth that could have been retained (95 %)"),
)
FACTORS = {words: factor for factor, words in reversed(WORDS.items())}
STYLES = {Phase.IDLE: "idle", Phase.RETENTION: "retention", Phase.WARMUP: "warmup"}


def charts(trial: Trial, identifier: str) -> Iterator[Chart]:
    """The evidence of each finding, the headline's first; without any that of the metric with which the explanation
    begins, else of the first bound. Only a metric with readings at two moments or more has a chart."""
    verdict = trial.verdict
    assert verdict
    found = moments(trial)
    about: Sequence[Finding | Bound] = list(verdict.findings[: MAX_FURTHER_CHARTS + 1])
    if not about:
        known = [
            one
            for one in verdict.bounds
            if one.scope == "after-disconnect" and not one.unit.endswith("/hour")
        ]
        # Of a run that is inconclusive because of one metric, the evidence is that metric.
        undecided = [one for one in known if verdict.explanation.startswith(f"{Key(one.metric, one.kind)}: ")]
        first = [one for one in known if (one.metric, one.kind) == ("fds", "")]
        about = [*undecided, *first, *known][:1]
    for index, one in enumerate(about):
        name = f"{identifier}-{index}"
        if isinstance(one, Finding) and one.scope == "while-connected":
            chart = _connected(trial, one, name)
        else:
            chart = _after_disconnect(trial, found, one, name)
        if chart:
            yield chart


def legend(chart: Chart) -> list[tuple[str, str]]:
    """The symbols that a chart of this module shows: CSS class and meaning."""
    drawn = {mark.style for mark in chart.marks} | {line.style for line in chart.lines}
    if "fit" not in drawn and chart.band:
        drawn.add("band")
    return [(style, text) for style, text in SYMBOLS if style in drawn]


def _sum_of(unit: str) -> str:
    """The sum in ``Moment.done`` that a rate's unit counts."""
    name = unit.rpartition("/")[2]
    if name == "hour":
        return "time"
    # Reversed, so that the first driver of a published name is the one that stays.
    sums = {factor: factor for _, factor, _ in DRIVERS} | {
        published: factor for published, factor, _ in reversed(DRIVERS)
    }
    return sums.get(name, "connection")


def _after_disconnect(trial: Trial, found: Sequence[Moment], one: Finding | Bound, name: str) -> Chart | None:
    key = Key(one.metric, one.kind)
    rate = one.rate if isinstance(one, Finding) else None
    unit = rate.unit if rate else (one.unit if isinstance(one, Bound) else f"{one.metric}/connection")
    per = unit_of(one) if isinstance(one, Finding) else driver(unit)
    # The words name one way to disconnect, where the unit of the rate has them all: "abort".
    column = FACTORS.get(per) or _sum_of(unit)
    scale, level_name = _scale(key)
    points = [
        (moment, moment.done.get(column, 0.0) / (3600.0 if column == "time" else 1.0), level / scale)
        for moment in found
        if (level := level_of(moment, key)) is not None
    ]
    if len(points) < 2:
        return None
    marks = [
        Mark(x, y, STYLES.get(moment.phase, "load"), f"{moment.phase.value}: {number(y)} at {number(x)}")
        for moment, x, y in points
    ]
    base = {id(moment) for moment in split_warmup(found)[1]}
    # The warm-up is drawn, but the fitted line starts after it, as the judgement does.
    kept = [(x, y) for moment, x, y in points if id(moment) in base] or [(x, y) for _, x, y in points]
    start, end = kept[0], kept[-1]
    lines: list[Line] = [Line([(x, y) for _, x, y in points], "levels")]
    band: list[tuple[float, float, float]] = []
    if rate:
        # The line starts at the base of the judgement and has the slope of the headline.
        lines.append(Line(_line_from(start, end, rate.value / scale), "fit"))
        lower, upper = _line_from(start, end, rate.low / scale), _line_from(start, end, rate.high / scale)
        band = [(x, low, high) for (x, low), (_, high) in zip(lower, upper, strict=True)]
    elif isinstance(one, Bound):
        band = [
            (start[0], start[1], start[1]),
            (end[0], start[1], start[1] + one.at_most * (end[0] - start[0]) / scale),
        ]
    what = (
        growth(one)
        if isinstance(one, Finding)
        else f"at most {quantity(one.metric, one.kind, one.at_most)} per {driver(unit)}"
    )
    title = f"{_title(key)} after each cycle"
    ends = f" {interval(rate, size=in_bytes(one.metric, one.kind))}".rstrip() if rate else ""
    controls = [kind for kind, phase in (("idle", Phase.IDLE), ("retention", Phase.RETENTION))
                if any(moment.phase is phase for moment, _, _ in points)]  # fmt: skip
    x_label = "hours" if column == "time" else f"{plural(per)} so far"
    return Chart(
        title=title,
        description=(
            f"{title}, against {x_label}: from {number(points[0][2])} at {number(points[0][1])} to "
            f"{number(points[-1][2])} at {number(points[-1][1])} over {counted(len(points), 'reading')}; {what}{ends}."
            + (f" Controls without clients: {' and '.join(controls)}." if controls else "")
        ),
        x_label=x_label,
        y_label=level_name,
        lines=lines,
        marks=marks,
        band=band,
        rules=_ceilings(trial, key, scale),
        zero=False,
        identifier=name,
    )


def _connected(trial: Trial, finding: Finding, name: str) -> Chart | None:
    """Growth while clients stay connected: the readings of the longest hold cycle."""
    key = Key(finding.metric, finding.kind)
    scale, level_name = _scale(key)
    holds = [one for one in trial.observations if sum(key in reading.levels for reading in one.connected) > 1]
    if not holds:
        return None
    # The longest hold shows most of the growth.
    hold = max(holds, key=lambda one: one.connected[-1].at - one.connected[0].at)
    read = [one for one in hold.connected if key in one.levels]
    begun = read[0].at
    points = [(one.at - begun, one.levels[key] / scale) for one in read]
    title = f"{_title(key)} while clients stay connected"
    return Chart(
        title=title,
        description=f"{title}, over {number(points[-1][0])} s: from {number(points[0][1])} to {number(points[-1][1])}; "
        f"{growth(finding)}.",
        x_label="seconds connected",
        y_label=level_name,
        lines=[Line(points, "levels")],
        marks=[Mark(x, y, "load", f"{number(y)} after {number(x)} s") for x, y in points],
        rules=_ceilings(trial, key, scale),
        zero=False,
        identifier=name,
    )


def _line_from(
    start: tuple[float, float], end: tuple[float, float], slope: float
) -> list[tuple[float, float]]:
    return [start, (end[0], start[1] + slope * (end[0] - start[0]))]


def _scale(key: Key) -> tuple[float, str]:
    """The divisor of a level, and the label of its axis."""
    if in_bytes(key.metric, key.kind):
        return MIB, f"{noun(key.metric, key.kind)} (MiB)"
    return 1.0, plural(noun(key.metric, key.kind))


def _title(key: Key) -> str:
    name = noun(key.metric, key.kind)
    text = name if in_bytes(key.metric, key.kind) else plural(name)
    return text[:1].upper() + text[1:]


LIMITS = {"fds": ("RLIMIT_NOFILE", "fs.file-max"), "threads": ("pids.max", "RLIMIT_NPROC"), "processes": ("pids.max",),
          "mappings": ("vm.max_map_count",), "memory": ("memory.max",)}  # fmt: skip


def _ceilings(trial: Trial, key: Key, scale: float) -> list[tuple[float, str]]:
    """The limits of the service, and the ceiling of its budget."""
    known = [
        (trial.target.limits[name] / scale, f"{name} {number(trial.target.limits[name] / scale)}")
        for name in LIMITS.get(key.metric, ())
        if name in trial.target.limits
    ]
    for name, level in trial.budget.ceilings.items():
        if name == str(key):
            known.append((level / scale, f"budget {number(level / scale)}"))
    return known
