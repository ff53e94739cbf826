"""Predicts when a growing service reaches its nearest ceiling."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness.core.cycle import Observation, Phase
from harness.core.verdict import Exhaustion, Rate

# metric → the ceilings that bound it (proc(5), inotify(7), libzmq's ZMQ_MAX_SOCKETS)
CEILINGS = {
    "fds": ("RLIMIT_NOFILE",),
    "threads": ("pids.max", "RLIMIT_NPROC"),
    "processes": ("pids.max", "RLIMIT_NPROC"),
    "mappings": ("vm.max_map_count",),
    "memory": ("memory.max",),
    "fds/inotify": ("fs.inotify.max_user_instances",),
    "fds/eventfd": ("ZMQ_MAX_SOCKETS",),  # per context; set where libzmq is loaded
}


def nearest(
    metric: str, level: float, rate: Rate, limits: Mapping[str, float], *, per_second: float | None = None
) -> Exhaustion | None:
    """The ceiling that is reached first at ``rate`` from ``level``; None without a ceiling or without growth.

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
    # A rate whose interval reaches zero may never reach the ceiling, which None expresses.
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


def first_full(observations: Sequence[Observation], limit: float) -> tuple[float, float] | None:
    """Descriptors of the process that reaches ``limit`` first, and its growth as a share of the growth of the tree.

    RLIMIT_NOFILE holds per process: with the sum over a pre-fork server's workers the forecast would be too early.
    None without two censuses after the warm-up. If no process that still runs has
    grown, because workers are replaced, the one with most descriptors and a share of 1: that is never too late. The
    share is 0 where all growth came with further processes.
    """
    read = [
        (sum(one.census.fds.values()), one.census.per_process)
        for one in observations
        if one.settled and one.spec.phase is not Phase.WARMUP and one.census and one.census.fds
        if one.census.per_process
    ]
    if len(read) < 2:
        return None
    all_after, after = read[-1]
    best: tuple[float, float] | None = None
    for pid, level in after.items():
        all_before, before = next((whole, each[pid]) for whole, each in read if pid in each)
        grown, whole = level - before, all_after - all_before
        if grown <= 0 or whole <= 0:
            continue
        share = grown / whole
        if best is None or (limit - level) / share < (limit - best[0]) / best[1]:
            best = (float(level), share)
    _, first = read[0]
    # There are more processes, and none has more descriptors than one had before: the further ones brought them.
    brought = len(after) > len(first) and max(after.values()) <= max(first.values())
    return best or (float(max(after.values())), 0.0 if brought else 1.0)
