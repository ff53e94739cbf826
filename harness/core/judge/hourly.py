"""What a run has shown so far: of growth per connection, and over time with a bound for every metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness.core.judge.counts import CERTIFIED
from harness.core.judge.growth import Assessed
from harness.core.metric import Key, rank
from harness.core.record import Trial
from harness.core.units import bytes_text, counted
from harness.core.verdict import Bound

MINUTE, HOUR = 60.0, 3600.0


def so_far(limits: Sequence[Bound], seconds: float) -> str:
    """``over 8.0 h at most 0.38 fds, 0.38 threads and 131 kB of memory/anonymous per hour (95 %)``: totals, and kinds
    of metrics without a total. seconds: that the run covers. Empty where nothing was read twice."""
    hourly = [(Key(one.metric, one.kind), one.at_most) for one in limits if one.unit.endswith("/hour")]
    totals = {key.metric for key, _ in hourly if not key.kind}
    told = [_amount(key, most) for key, most in hourly if not key.kind or key.metric not in totals]
    if not told:
        return ""
    *most, last = told
    listed = f"{', '.join(most)} and {last}" if most else last
    return f"over {_time(seconds)} at most {listed} per hour (95 %)"


def growth_so_far(results: Mapping[Key, Assessed], connections: float) -> str:
    """``no growth over 5,800 connections: at most 0.00052 per connection (95 %)``, of the counts that decide a pass; or
    what grew. connections: of the judged part of the run. Empty where nothing was read twice."""
    grown = {key: one for key, one in results.items() if one.growing or one.status == "suspected"}
    if grown:
        key = min(grown, key=lambda one: (rank(one), str(one)))
        return f"{key}: {grown[key].why}"
    counts = [one.at_most for key, one in results.items() if key.metric in CERTIFIED and not key.kind]
    most = max((at_most for at_most in counts if math.isfinite(at_most)), default=None)
    if most is None or connections <= 0:
        return ""
    return f"no growth over {counted(connections, 'connection', ',.0f')}: at most {most:.2g} per connection (95 %)"


def restarts_text(trial: Trial) -> list[str]:
    """A warning where the service was restarted during the run: its levels start anew."""
    if not trial.restarts:
        return []
    gap = sum(one.gap for one in trial.restarts)
    times = counted(len(trial.restarts), "time")
    return [
        f"interrupted and resumed {times}, with {_time(gap)} in between; the service was started anew, so growth is "
        "counted within each part and not across"
    ]


def _amount(key: Key, value: float) -> str:
    if key.unit == "B":
        return f"{bytes_text(value)} of {key}"
    return f"{value:,.0f} {key}" if value >= 10 else f"{value:.2g} {key}"


def _time(seconds: float) -> str:
    if seconds >= HOUR:
        return f"{seconds / HOUR:.1f} h"
    return f"{seconds / MINUTE:.1f} minutes" if seconds >= 2 * MINUTE else f"{seconds:.0f} s"
