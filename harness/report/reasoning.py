"""Explains how a trial was judged, metric by metric: levels, candidate drivers, the rule that decided, and what would
change it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from harness.core.judge.assessed import Assessed
from harness.core.judge.counts import assess_counts
from harness.core.judge.memory import MEMORY
from harness.core.judge.memory_over_time import memory_of
from harness.core.judge.moments import DRIVERS, Series, moments, series
from harness.core.metric import Key, rank
from harness.core.record import Trial
from harness.core.units import counted
from harness.report.nouns import in_bytes, noun, plural, quantity
from harness.report.words import number, size

LEVELS = 12  # readings shown of one metric
CANDIDATES = 4
ORDER = ("leaking", "suspected", "undecided", "bounded")


def reasoning(trial: Trial, only: str = "") -> Iterator[str]:
    """The lines, for a person. only: a metric, such as ``fds`` or ``fds/eventfd``; all of them without it."""
    found = moments(trial)
    results = dict(assess_counts(trial, found))
    memory = memory_of(trial, found)
    if memory:
        results[MEMORY] = memory
    for key in sorted(results, key=lambda key: (ORDER.index(results[key].status), rank(key), key)):
        if only and only not in (str(key), key.metric):
            continue
        one, read = results[key], series(found, key)
        yield f"{key}: {one.status}"
        if read:
            yield f"  levels    {levels(key, read)}"
            yield from _drivers(key, one, read)
        yield f"  rule      {one.why}"
        yield f"  change    {change(trial, key, one)}"


def levels(key: Key, read: Series) -> str:
    """``8 → 108 → 208 descriptors in 3 readings``; of many readings the first and the last."""
    write = size if in_bytes(key.metric, key.kind) else number
    shown = [write(level) for level in read.levels]
    if len(shown) > LEVELS:
        half = LEVELS // 2
        shown = [*shown[:half], "…", *shown[-half:]]
    if len(set(read.levels)) == 1:
        return f"{shown[0]} in all of {counted(len(read.levels), 'reading')}"
    return f"{' → '.join(shown)}, {counted(len(read.levels), 'reading')}"


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
    ordered = sorted(shares, key=lambda each: (each[2] != one.factor, -each[0]))[:CANDIDATES]
    total = math.fsum(read.increments)
    for index, (share, words, factor) in enumerate(ordered):
        rate = total / math.fsum(read.column(factor))
        chosen = " (chosen)" if factor == one.factor and one.status in ("leaking", "suspected") else ""
        label = "drivers" if index == 0 else ""
        yield f"  {label:9} {quantity(key.metric, key.kind, rate)} per {words}: explains {share:.0%}{chosen}"


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
    streams = math.ceil(3.0 / trial.sensitivity)
    return f"bounded after {number(streams)} answered streams without growth (3 / sensitivity {trial.sensitivity:g})"
