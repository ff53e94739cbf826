"""What a run has shown of growth over time: one sentence with a bound for every metric."""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.metric import Key
from harness.core.units import bytes_text
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


def _amount(key: Key, value: float) -> str:
    if key.unit == "B":
        return f"{bytes_text(value)} of {key}"
    return f"{value:,.0f} {key}" if value >= 10 else f"{value:.2g} {key}"


def _time(seconds: float) -> str:
    if seconds >= HOUR:
        return f"{seconds / HOUR:.1f} h"
    return f"{seconds / MINUTE:.1f} minutes" if seconds >= 2 * MINUTE else f"{seconds:.0f} s"
