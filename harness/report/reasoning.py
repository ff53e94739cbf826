"""Explains how a trial was judged, metric by metric: levels, candidate drivers, the rule that decided, and what would
change it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from harness.core.judge import connected_findings
from harness.core.judge.assessed import Assessed
from harness.core.judge.counts import assess_counts
from harness.core.judge.hold_readings import holds, settled_readings
from harness.core.judge.memory import MEMORY
from harness.core.judge.memory_over_time import memory_of
from harness.core.judge.moments import DRIVERS, Series, moments, series
from harness.core.judge.while_connected import all_grown, certain, open_growth
from harness.core.metric import Key, rank
from harness.core.record import Trial
from harness.core.stats.distributions import NO_GROWTH
from harness.core.units import counted
from harness.report.nouns import in_bytes, noun, plural, quantity
from harness.report.words import number, size, span

MAX_LEVELS = 12  # readings shown of one metric
MAX_DRIVERS = 4  # drivers shown of one metric
STATUS_ORDER = ("leaking", "suspected", "undecided", "bounded")


def reasoning(trial: Trial, only: str = "") -> Iterator[str]:
    """The lines, for a person. only: a metric, such as ``fds`` or ``fds/eventfd``; all of them without it."""
    found = moments(trial)
    results = dict(assess_counts(trial, found))
    memory = memory_of(trial, found)
    if memory:
        results[MEMORY] = memory
    yield from while_connected(trial, only)
    for key in sorted(results, key=lambda key: (STATUS_ORDER.index(results[key].status), rank(key), key)):
        if only and only not in (str(key), key.metric):
            continue
        one, read = results[key], series(found, key)
        yield f"{key}: {one.status}"
        if read:
            yield f"  levels    {levels(key, read)}"
            yield from _drivers(key, one, read)
        yield f"  rule      {one.why}"
        yield f"  otherwise {change(trial, key, one)}"


def while_connected(trial: Trial, only: str = "") -> Iterator[str]:
    """What was measured while clients stayed connected: of each metric that is a finding or is not decided; with
    ``only`` of any that it names."""
    measured = {one.key: one for seen in holds(trial) for one in all_grown(trial, seen)}
    found = {one.key: one for one in certain(trial)}
    undecided = {one.key: one for one in open_growth(trial)}
    texts = {Key(one.metric, one.kind): one.explanation for one in connected_findings.findings(trial)}
    for key in sorted(measured, key=lambda key: (key not in found, key not in undecided, rank(key), key)):
        named = only in (str(key), key.metric)
        if not named and (only or key not in {**found, **undecided}):
            continue
        one = found.get(key) or undecided.get(key) or measured[key]
        limit = f"{quantity(key.metric, key.kind, one.limit)} per client"
        grew = f"grew by {quantity(key.metric, key.kind, one.per_client)} per client"
        if key in found:
            status, rule = "leaking", f"{texts[key]}; a bounded buffer may hold {limit}"
            otherwise = f"bounded if it had stopped, or stayed below {limit}"
        elif key in undecided:
            status, rule = "undecided", f"{grew}, which a bounded buffer of {limit} could explain"
            otherwise = f"leaking if a longer --hold shows more than {limit}, bounded if it stops"
        else:
            stopped = f"{grew}, and did not go on to the end of the hold, or remained after they disconnected"
            rule = (
                "did not grow"
                if one.total <= 0
                else stopped
                if not one.lasting
                else f"{grew}, as first buffers do"
            )
            status, rule = "bounded", f"{rule} (last hold)"
            otherwise = (
                f"leaking if it had grown until they disconnected, by more than {limit}, and been freed then"
            )
        yield f"{key} while clients stay connected: {status}"
        yield from _held_levels(trial, key)
        yield f"  rule      {rule}"
        yield f"  otherwise {otherwise}"


def _held_levels(trial: Trial, key: Key) -> Iterator[str]:
    """The levels of each hold, and what remained after it."""
    label = "levels"
    for seen in holds(trial):
        read = [reading.levels[key] for reading in settled_readings(seen) if key in reading.levels]
        if not read:
            continue
        clients, stalled = seen.spec.connections, seen.spec.stalled
        kind = "clients, some of them stalled" if stalled else "readers"
        kind = "stalled readers" if stalled == clients else kind
        seconds = (seen.ended if seen.load_ended is None else seen.load_ended) - seen.started
        after = f"; {_written(key, seen.levels[key])} after they disconnected" if key in seen.levels else ""
        yield f"  {label:9} {_listed(key, read)} with {clients} {kind} in {span(seconds)}{after}"
        label = ""


def levels(key: Key, read: Series) -> str:
    """``8 → 108 → 208 descriptors in 3 readings``; of many readings the first and the last."""
    return _listed(key, read.levels)


def _listed(key: Key, values: Sequence[float]) -> str:
    shown = [_written(key, level) for level in values]
    if len(shown) > MAX_LEVELS:
        half = MAX_LEVELS // 2
        shown = [*shown[:half], "…", *shown[-half:]]
    if len(set(values)) == 1:
        return f"{shown[0]} in all of {counted(len(values), 'reading')}"
    return f"{' → '.join(shown)}, {counted(len(values), 'reading')}"


def _written(key: Key, level: float) -> str:
    return size(level) if in_bytes(key.metric, key.kind) else number(level)


def explained(read: Series, factor: str) -> float | None:
    """The share of the growth (0 to 1) that a constant rate per unit of one driver explains; None when the driver
    never occurred or nothing grew."""
    grown, column = read.increments, read.column(factor)
    total, amount = math.fsum(grown), math.fsum(column)
    if total <= 0 or amount <= 0:
        return None
    missed = math.fsum(abs(value - total / amount * x) for value, x in zip(grown, column, strict=True))
    return max(0.0, 1.0 - missed / math.fsum(map(abs, grown)))


def _drivers(key: Key, one: Assessed, read: Series) -> Iterator[str]:
    shares = [
        (share, words, factor)
        for _, factor, words in DRIVERS
        if (share := explained(read, factor)) is not None
    ]
    if not shares:
        return
    # The chosen driver comes first, also when another explains as much.
    ordered = sorted(shares, key=lambda each: (each[2] != one.factor, -each[0]))[:MAX_DRIVERS]
    total = math.fsum(read.increments)
    for index, (share, words, factor) in enumerate(ordered):
        rate = total / math.fsum(read.column(factor))
        chosen = " (chosen)" if factor == one.factor and one.status in ("leaking", "suspected") else ""
        label = "drivers" if index == 0 else ""
        yield f"  {label:9} {quantity(key.metric, key.kind, rate)} per {words}: explains {100 * share:.0f} %{chosen}"


def change(trial: Trial, key: Key, one: Assessed) -> str:
    """The change that would have led to another decision."""
    amount = in_bytes(key.metric, key.kind)
    what = noun(key.metric, key.kind) if amount else plural(noun(key.metric, key.kind))
    match one.status:
        case "leaking":
            return (
                f"bounded if the {what} had been released within the retention time ({trial.retention:g} s), or if a "
                f'budget allowed the growth: "{key}" = "…/connection"'
            )
        case "suspected":
            after = f"after the retention time ({trial.retention:g} s)"
            return f"leaking if the {what} {'is' if amount else 'are'} still there {after}, bounded if not"
        case "bounded":
            return (
                f"not bounded if {what} had grown{'' if amount else ' by 3 or more'} in step with a driver, "
                f"or if --sensitivity asked for less than {one.at_most:.2g} per answered stream"
            )
    if one.growing:
        return "leaking if it keeps growing with a driver, bounded if it stops; more --max-time or --cycles decides"
    streams = math.ceil(NO_GROWTH / trial.sensitivity)
    return (
        f"bounded after {number(streams)} answered streams without growth ({NO_GROWTH:g} / sensitivity "
        f"{trial.sensitivity:g})"
    )
