"""Predicts when a growing service reaches its nearest ceiling."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from harness.core.cycle import Observation, Phase
from harness.core.metric import Key
from harness.core.units import bytes_text
from harness.core.verdict import Exhaustion, Finding, Rate

# metric → the ceilings that bound it (proc(5), inotify(7), libzmq's ZMQ_MAX_SOCKETS)
CEILINGS = {
    "fds": ("RLIMIT_NOFILE",),
    "threads": ("pids.max", "RLIMIT_NPROC"),
    "processes": ("pids.max", "RLIMIT_NPROC"),
    "mappings": ("vm.max_map_count",),
    "memory": ("memory.max", "MemTotal"),
    # The garbage-collected heap, whose runtime ends the process: v8.getHeapStatistics(), and -XX:MaxHeapSize.
    "memory/heap-bytes": ("V8 heap_size_limit", "JVM MaxHeapSize"),
    "fds/inotify": ("fs.inotify.max_user_instances",),
    "fds/eventfd": ("ZMQ_MAX_SOCKETS",),  # per context; set where libzmq is loaded
}
# Ceilings that are a number of bytes.
_BYTES = frozenset(
    name for metric, names in CEILINGS.items() if metric.startswith("memory") for name in names
)


def ceiling_text(exhausts: Exhaustion) -> str:
    """``RLIMIT_NOFILE (1,024)``, ``memory.max (537 MB)``."""
    limit = bytes_text(exhausts.limit) if exhausts.ceiling in _BYTES else f"{exhausts.limit:,.0f}"
    return f"{exhausts.ceiling} ({limit})"


def nearest(
    metric: str,
    level: float,
    rate: Rate,
    limits: Mapping[str, float],
    *,
    per_second: float | None = None,
    over_time: bool = False,
) -> Exhaustion | None:
    """The ceiling that is reached first at ``rate`` from ``level``; None without a ceiling or without growth.

    per_second: connections per second under the load measured, for the time it will take. over_time: the rate is per
    second and holds with or without clients, so the ceiling is reached after a time and not after connections.
    """
    known = [(limits[name], name) for name in CEILINGS.get(metric, ()) if name in limits]
    if not known or rate.value <= 0:
        return None
    limit, name = min(known)
    room = max(0.0, limit - level)
    after = room / rate.value
    if over_time:
        return Exhaustion(name, limit, None, round(after, 1))
    return Exhaustion(
        ceiling=name,
        limit=limit,
        after_connections=round(after, 1),
        after_seconds=round(after / per_second, 1) if per_second else None,
        after_connections_low=round(room / rate.high, 1) if rate.high > 0 else None,
        # A rate whose interval reaches zero may never reach the ceiling, which None expresses.
        after_connections_high=round(room / rate.low, 1) if rate.low > 0 else None,
    )


def soonest(forecasts: Iterable[Exhaustion | None]) -> Exhaustion | None:
    """The forecast that comes true first, by its time, or by its connections where no time is known."""
    known = [one for one in forecasts if one]
    timed = [one for one in known if one.after_seconds is not None]
    if timed and len(timed) == len(known):
        return min(timed, key=lambda one: one.after_seconds or 0.0)
    return min(
        known,
        key=lambda one: math.inf if one.after_connections is None else one.after_connections,
        default=None,
    )


def first_limit(findings: Iterable[Finding]) -> Exhaustion | None:
    """The limit that all this growth together reaches first; None where it is not known. More memory comes in more
    mappings, so where no limit of the memory was read, that of the mappings is not named."""
    growing = [one for one in findings if one.rate]
    unlimited = any(Key(one.metric, one.kind).unit == "B" and not one.exhausts for one in growing)
    return soonest(one.exhausts for one in growing if not (unlimited and one.metric == "mappings"))


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
