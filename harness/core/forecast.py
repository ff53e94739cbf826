"""When will a growing service meet its nearest ceiling?"""

from __future__ import annotations

import math
from collections.abc import Mapping

from harness.core.verdict import Exhaustion, Rate

# metric → the ceilings that bound it (proc(5), libzmq's ZMQ_MAX_SOCKETS)
CEILINGS = {
    "fds": ("RLIMIT_NOFILE",),
    "threads": ("pids.max", "RLIMIT_NPROC"),
    "processes": ("pids.max", "RLIMIT_NPROC"),
    "mappings": ("vm.max_map_count",),
    "memory": ("memory.max",),
    "fds/eventfd": ("ZMQ_MAX_SOCKETS",),  # per context; set where libzmq is loaded
}


def nearest(
    metric: str, level: float, rate: Rate, limits: Mapping[str, float], *, per_second: float | None = None
) -> Exhaustion | None:
    """The ceiling met first at ``rate`` from ``level``; None without a ceiling or without growth.

    per_second: connections per second under the load measured, for the time it will take.
    """
    best: Exhaustion | None = None
    for name in CEILINGS.get(metric, ()):
        limit = limits.get(name)
        if limit is None or rate.value <= 0:
            continue
        room = max(0.0, limit - level)
        after = room / rate.value
        found = Exhaustion(
            ceiling=name,
            limit=limit,
            after_connections=round(after, 1),
            after_seconds=round(after / per_second, 1) if per_second else None,
            after_connections_low=round(room / rate.high, 1) if rate.high > 0 else None,
            after_connections_high=round(room / rate.low, 1) if rate.low > 0 else math.inf,
        )
        if best is None or after < (best.after_connections or math.inf):
            best = found
    if best and best.after_connections_high == math.inf:
        best = Exhaustion(
            best.ceiling,
            best.limit,
            best.after_connections,
            best.after_seconds,
            best.after_connections_low,
            None,
        )
    return best
