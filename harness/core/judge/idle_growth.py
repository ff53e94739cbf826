"""Growth over time beside a leak per stream, in the same count.

The driver of a finding is the one that explains most of the growth. A service that keeps a file of each fifth stream
and opens another every 2.5 s, whatever its clients do, has two causes. Who mends the first would be told of the second
only by the next run. The readings without clients show the second alone.
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


def idle_growth(results: Mapping[Key, Assessed], found: Sequence[Moment]) -> list[str]:
    """A warning for each count that leaks with the streams and rises steadily without clients as well. Of a metric with
    a total, the total speaks for its classes."""
    leaking = [
        key
        for key, one in sorted(results.items())
        if one.status == "leaking"
        and one.factor != "time"
        and key.judged is Judged.EXACT
        and key.metric != "memory"
    ]
    totals = {key.metric for key in leaking if not key.kind}
    texts = [_text(key, found) for key in leaking if not key.kind or key.metric not in totals]
    return [text for text in texts if text]


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
        f"{key} also grew without clients: by {grown:g} in {seconds:.0f} s, about {hourly:,.0f} per hour, "
        "which is a cause of its own"
    )
