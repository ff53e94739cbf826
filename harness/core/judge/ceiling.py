"""Judges a count that has reached a ceiling of the kernel or of libzmq, by its growth before.

A service may swallow the refusal ("too many inotify instances") and continue to serve. Its level then stays the same,
as that of a full cache does, though it could not have grown any further.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from harness.core.judge.assessed import Allowed, Assessed
from harness.core.judge.forecast import CEILINGS
from harness.core.judge.limit import assess_limited
from harness.core.judge.moment import Moment
from harness.core.judge.moments import Series, level_of, series
from harness.core.metric import Key

# Share of a ceiling from which on a level is at it: the user's other processes share the ceilings of a user.
AT_CEILING_SHARE = 0.9
# Times the ceiling. A level beyond it is not bound by it: a process may have eventfds of several ZeroMQ contexts.
BEYOND_CEILING = 1.1
PER_PROCESS = ("RLIMIT_NOFILE", "vm.max_map_count", "V8 heap_size_limit", "JVM MaxHeapSize")
MIN_GROWN_SHARE = 0.5  # share of the ceiling that must have been added during the run


def ceiling_of(key: Key, limits: Mapping[str, float], *, alone: bool = False) -> tuple[str, float] | None:
    """The smallest ceiling that bounds the sum over the processes, with its name; None where none is known. alone:
    there has been one process only, whose descriptors are all that there are."""
    names = (
        name
        for name in CEILINGS.get(str(key), ())
        if name not in PER_PROCESS or (alone and name == "RLIMIT_NOFILE")
    )
    known = [(limits[name], name) for name in names if name in limits]
    return (min(known)[1], min(known)[0]) if known else None


def assess_at_ceiling(
    found: Sequence[Moment],
    key: Key,
    limits: Mapping[str, float],
    result: Assessed,
    granted: Allowed,
    assess: Callable[[Series], Assessed],
) -> Assessed:
    """``result``, or that of the readings before the count stood at its ceiling, where the ceiling ended its growth.
    assess: the test of one series."""
    bound = ceiling_of(key, limits, alone=_alone(found))
    if bound is None or result.status == "leaking":
        return result
    name, limit = bound
    read = [
        (index, level) for index, moment in enumerate(found) if (level := level_of(moment, key)) is not None
    ]
    full = [index for index, level in read if level >= AT_CEILING_SHARE * limit]
    if (
        not full
        or read[-1][1] < AT_CEILING_SHARE * limit
        or max(level for _, level in read) > BEYOND_CEILING * limit
    ):
        return result
    grew = read[-1][1] - read[0][1]
    if grew < MIN_GROWN_SHARE * limit:
        return result
    stands = f"{name} ({limit:g}) allowed no more"
    # The load that reached the ceiling may have been cut off by it, which makes its rate too low. It counts only where
    # the loads before it are not enough.
    for last in (full[0], full[0] + 1):
        before = series(found[:last], key)
        early = assess(before) if before else None
        if early and early.status == "leaking":
            return replace(early, why=f"{early.why}, then {stands}")
    # No pool is made as large as a ceiling of the kernel, so rare growth in step with the streams is a leak too.
    early = assess_limited(found, key, stands, granted, full[0], rare=0.0)
    why = f"grew by {grew:g}, then {stands}"
    return early or replace(result, status="undecided", growing=True, total=grew, why=why, per_burst=False)


def _alone(found: Sequence[Moment]) -> bool:
    """Whether the service was one process at every reading. A C service with RLIMIT_NOFILE of 350 had one descriptor
    left between two streams, and served them one at a time for 80 s: its growth looked like that of a full pool."""
    many = [level for moment in found if (level := level_of(moment, Key("processes"))) is not None]
    return bool(many) and max(many) <= 1
