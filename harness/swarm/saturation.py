"""Detects that the generator itself was the bottleneck: its core was busy, or its loop was late."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

WINDOW = 1.0  # seconds over which the core's use is judged: shorter cycles cannot be
BUSY = 0.9  # share of one core; a Python process uses no second one
SCHEDSTAT = Path("/proc/self/schedstat")
LATE = 0.25  # seconds by which the loop may be late before its measured times are wrong


def wanted_core() -> float:
    """Seconds for which the main thread, which gevent's loop is in, ran or waited for a core: the core is
    busy in both cases (Documentation/scheduler/sched-stats.rst)."""
    try:
        ran, waited, _ = map(int, SCHEDSTAT.read_bytes().split())
    except (OSError, ValueError):  # a kernel without CONFIG_SCHED_INFO
        return time.process_time()
    return (ran + waited) / 1e9


class Saturation:
    """Fed with every tick of the wheel during a cycle; remembers the worst window."""

    def __init__(self, start: float, cpu_clock: Callable[[], float] = wanted_core) -> None:
        self._cpu_clock = cpu_clock
        self._since, self._cpu = start, cpu_clock()
        self.busiest = 0.0  # the largest share of a core in a window
        self.most_late = 0.0  # seconds

    def tick(self, moment: float, late: float) -> None:
        """One tick, and by how many seconds it came too late."""
        self.most_late = max(self.most_late, late)
        passed = moment - self._since
        if passed >= WINDOW:
            used = self._cpu_clock()
            self.busiest = max(self.busiest, (used - self._cpu) / passed)
            self._since, self._cpu = moment, used

    @property
    def reason(self) -> str | None:
        """Why the generator was the bottleneck; None if it was not."""
        found = [f"its core was {self.busiest:.0%} busy"] if self.busiest >= BUSY else []
        found += [f"its loop was {self.most_late:.2f} s late"] if self.most_late >= LATE else []
        return f"the generator was the bottleneck: {', and '.join(found)}; use processes" if found else None
