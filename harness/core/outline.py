"""The plan in words, before it starts: how many cycles, how large, and the smallest leak that they detect."""

from __future__ import annotations

from harness.core.certified import EXPECTED_LEAKS_CERTIFIED
from harness.core.design import GROWTH, MAX_CONNECTIONS, MAX_LOAD, Goal
from harness.core.judge.memory import BLOCK, SIGNS, WARM_UP_CONNECTIONS
from harness.core.units import counted, duration_text
from harness.core.warm_up import MAX_WARMUP, MIN_WARMUP

SETTLE_TIME = 2.0  # seconds that settling takes in a cycle, about
# Seconds that a leak takes beside the wait for the retention time: its cycles, and settling.
WAIT_BESIDE = 30.0
PACE = 800.0  # connections per second of a small server, assumed before the first cycle


def quiet_connections(sensitivity: float) -> int:
    """Connections without growth that certify a pass."""
    return round(EXPECTED_LEAKS_CERTIFIED / sensitivity)


def outline(goal: Goal, sensitivity: float, max_seconds: float | None = None) -> tuple[str, ...]:
    """The plan to reach ``sensitivity`` (units per connection) within the time, line by line."""
    limit = goal.max_seconds if goal.max_seconds is not None else max_seconds
    needed = quiet_connections(sensitivity)
    lines = [
        f"warm up: {MIN_WARMUP} to {MAX_WARMUP} cycles of {counted(goal.connections, 'connection', ',')}, "
        f"{goal.concurrency:,} at "
        "once, until the counts are steady",
        f"control: {counted(goal.idle_cycles, 'cycle')} without clients",
    ]
    if goal.vary:
        count, size = _cycles(goal, needed)
        lines.append(
            f"load: about {counted(count, 'cycle')} of {goal.connections:,} to {counted(size, 'connection', ',')}; "
            f"a pass needs {counted(needed, 'connection', ',')} without growth (sensitivity {sensitivity:.2g} per "
            "connection); a certain leak ends the load sooner"
        )
        wait = (
            f"; then no clients until the growth is older than {goal.retention:g} s, the retention time"
            if goal.retention > 0
            else ""
        )
        lines.append(
            "if something grows: cycles that differ by design, until the leak is certain and its driver is known"
            + wait
        )
    else:
        lines.append(
            f"load: up to {goal.cycles} equal cycles of {counted(goal.connections, 'connection', ',')}"
        )
    if goal.memory:
        blocks = SIGNS[-1][0]
        lines.append(
            f"memory without runtime counters: {WARM_UP_CONNECTIONS:,.0f} connections of warm-up, then up to "
            f"{blocks} blocks of {BLOCK:,.0f}; constant memory passes sooner"
        )
    if limit is not None:
        guess = _seconds(goal, needed)
        enough = "" if guess <= limit else (
            f"; likely too short: about {guess:.0f} s are needed at {PACE:.0f} connections per second"
        )  # fmt: skip
        waits = goal.retention + WAIT_BESIDE if goal.retention > 0 and goal.vary else 0.0
        outlived = ""
        if waits > limit:
            outlived = f"; too short to show growth that outlives the retention time: --max-time {duration_text(waits)}"
        lines.append(f"time: at most {limit:g} s{enough}{outlived}")
    return tuple(lines)


def _cycles(goal: Goal, needed: int) -> tuple[int, int]:
    """Load cycles until this many connections, each larger than the last; the largest of them."""
    top = min(MAX_CONNECTIONS, int(MAX_LOAD * PACE))
    size, total, count = float(goal.connections), 0.0, 0
    while total < needed and count < goal.cycles:
        total += size
        count += 1
        last = size
        size = max(goal.connections, min(top, size * GROWTH))
    return count, int(last)


def _seconds(goal: Goal, needed: int) -> float:
    """Time of a pass: loads and settling."""
    count, _ = _cycles(goal, needed)
    # One more than MIN_WARMUP: the counts of three cycles are compared (``warm_up.steady``).
    return (MIN_WARMUP + 1 + goal.idle_cycles + count) * SETTLE_TIME + needed / PACE
