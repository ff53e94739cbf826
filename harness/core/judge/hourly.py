"""The results of a run so far: growth per connection, and a bound over time for every metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness.core.judge.assessed import Assessed
from harness.core.judge.counts import CERTIFIED
from harness.core.metric import Key, rank
from harness.core.record import Trial
from harness.core.units import bytes_text, counted
from harness.core.verdict import Bound

MINUTE, HOUR = 60.0, 3600.0


def so_far(bounds: Sequence[Bound], seconds: float) -> str:
    """``over 8.0 h at most 0.38 fds, 0.38 threads and 131 kB of memory/anonymous per hour (95 %)``: totals, and kinds
    of metrics without a total. seconds: the time that the run covers. Empty where nothing was read twice."""
    hourly = [(Key(one.metric, one.kind), one.at_most) for one in bounds if one.unit.endswith("/hour")]
    totals = {key.metric for key, _ in hourly if not key.kind}
    amounts = [_amount(key, most) for key, most in hourly if not key.kind or key.metric not in totals]
    if not amounts:
        return ""
    *most, last = amounts
    listed = f"{', '.join(most)} and {last}" if most else last
    return f"over {time_text(seconds)} at most {listed} per hour (95 %)"


def growth_so_far(results: Mapping[Key, Assessed], connections: float) -> str:
    """``no growth over 6,000 connections: at most 0.0005 per connection (95 %)``, of the counts that decide a pass; or
    which of them grew. What else may have grown is named first, with its reason: without it, an interrupted leak of
    objects would read as "no growth". connections: of the judged part of the run. Empty where nothing was read
    twice."""
    open_ = sorted(
        (key for key, one in results.items() if one.growing or one.status == "suspected"),
        key=lambda key: (key.metric not in CERTIFIED, rank(key), str(key)),
    )
    if open_ and open_[0].metric in CERTIFIED:
        return f"{open_[0]}: {results[open_[0]].why}"
    counts = [one.at_most for key, one in results.items() if key.metric in CERTIFIED and not key.kind]
    most = max((at_most for at_most in counts if math.isfinite(at_most)), default=None)
    if most is None or connections <= 0:
        return ""
    seen = counted(connections, "connection", ",.0f")
    if not open_:
        return f"no growth over {seen}: at most {most:.2g} per connection (95 %)"
    *names, last = sorted(
        "descriptors" if key.metric == "fds" else key.metric.replace("-", " ")
        for key in results
        if key.metric in CERTIFIED and not key.kind
    )
    of = f"{', '.join(names)} and {last}" if names else last
    rest = f"no growth of {of} over {seen}: at most {most:.2g} per connection (95 %)"
    return f"{open_[0]}: {results[open_[0]].why}; {rest}"


def restarts_text(trial: Trial) -> list[str]:
    """A warning if the service was restarted during the run, because the levels of a new process start again."""
    if not trial.restarts:
        return []
    gap = sum(one.gap for one in trial.restarts)
    number = len(trial.restarts)
    times = "once" if number == 1 else counted(number, "time")
    return [
        f"interrupted and resumed {times}, with {time_text(gap)} in between; the service was started anew, so growth "
        "is counted within each part and not across"
    ]


def _amount(key: Key, value: float) -> str:
    if key.unit == "B":
        return f"{bytes_text(value)} of {key}"
    return f"{value:,.0f} {key}" if value >= 10 else f"{value:.2g} {key}"


def time_text(seconds: float) -> str:
    """``96 s``, ``25.0 minutes``, ``8.0 h``."""
    if seconds >= HOUR:
        return f"{seconds / HOUR:.1f} h"
    return f"{seconds / MINUTE:.1f} minutes" if seconds >= 2 * MINUTE else f"{seconds:.0f} s"
