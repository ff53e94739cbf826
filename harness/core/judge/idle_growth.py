"""Growth over time beside a leak per stream, in the same count.

A finding names the driver that explains most of the growth. But a service may keep a file for every fifth stream and
also open one every 2.5 s, whatever its clients do. Without a warning, the second cause would only be found after the
first was fixed. The readings without clients show it alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from harness.core.cycle import Phase
from harness.core.judge.assessed import Assessed
from harness.core.judge.moment import Moment
from harness.core.judge.moments import level_of
from harness.core.judge.tested_series import MIN_GROWTH
from harness.core.metric import Judged, Key

MIN_LATE_GROWTH = (
    3.0  # units in the second half of the time without clients: what streams left to do is done by then
)
SECONDS_PER_HOUR = 3600.0


def idle_growth(results: Mapping[Key, Assessed], found: Sequence[Moment]) -> dict[Key, str]:
    """A warning, by key, for each count that rises steadily without clients, beside a leak with the streams of the same
    or of another count. The classes of a metric speak for its total; sockets that change their class do not change
    it."""
    counts = [key for key in sorted(results) if key.judged is Judged.EXACT and key.metric != "memory"]
    if not any(results[key].status == "leaking" and results[key].factor != "time" for key in counts):
        return {}
    texts: dict[Key, str] = {}
    for metric in dict.fromkeys(key.metric for key in counts):
        told = {key: text for key in counts if key.metric == metric and (text := _text(key, found))}
        total = Key(metric)
        if total in results and total not in told:
            continue
        classes = {key: text for key, text in told.items() if key.kind} or told
        # What is a finding already needs no warning.
        known = [key for key in told if results[key].status == "leaking" and results[key].factor == "time"]
        texts.update({} if known else classes)
    return texts


def _text(key: Key, found: Sequence[Moment]) -> str:
    steps = [
        (after.at - max(before.at, before.left), b - a)
        for before, after in pairwise(found)
        if not after.peak
        and not after.asked
        and Phase.SEARCH not in (before.phase, after.phase)
        and (a := level_of(before, key)) is not None
        and (b := level_of(after, key)) is not None
    ]
    grown, seconds = math.fsum(rise for _, rise in steps), math.fsum(time for time, _ in steps)
    if grown < MIN_GROWTH or seconds <= 0 or any(rise < 0 for _, rise in steps):
        return ""
    passed, late = 0.0, 0.0
    for time, rise in steps:
        passed += time
        late += rise if passed > seconds / 2 else 0.0
    if late < MIN_LATE_GROWTH:
        return ""
    hourly = grown / seconds * SECONDS_PER_HOUR
    return (
        f"{key} also grew without clients, about {hourly:,.0f} per hour ({grown:g} in {seconds:.0f} s): "
        "a second cause"
    )
