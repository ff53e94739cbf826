"""Clients whose departure the service has not noticed yet: their sockets are still open.

A service that does not read notices a departure only when a write fails. Until then the client's socket stays open:
in CLOSE_WAIT after a FIN, without a row in the kernel's tables after a RST, or as an MPTCP socket (Go has listened with
MPTCP since 1.24). That takes up to two events, which may come every 5 to 30 s: the first write after a FIN still
succeeds. A level read before that counts sockets that the service is about to close, so it is not a level at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness.core.cycle import Observation
from harness.core.metric import Key

KINDS = (Key("fds", "close-wait"), Key("fds", "rowless-socket"), Key("fds", "mptcp"))
MAX_TIME = 180.0  # seconds: two heartbeats of 30 s, and cycles in between whose sockets hide the release
MIN_SOCKETS = 2.0  # sockets, or
MIN_SHARE = 0.02  # of them, that must be closed for a release rather than a straggler
CYCLES = 10  # three warm-ups, a control, four loads, a hold, and one to spare
LOAD_SECONDS = 5.0  # seconds of one
MAX_LONGER = 1.25  # times the length of a run, up to which no longer run is advised
SLOW_CLOSE = 3.0  # seconds: a healthy server that watches its sockets closes within 1 s (docs/detector.md)


def unnoticed(levels: Mapping[Key, float]) -> float:
    """The number of open sockets of departed clients."""
    return math.fsum(levels.get(key, 0.0) for key in KINDS)


def premature(seen: Sequence[Observation]) -> frozenset[int]:
    """Positions of cycles whose levels were read before the service had noticed all departures: some of the sockets
    were closed in a later cycle. Not when a process exited in between, because that closes everything, and not after
    MAX_TIME: a socket that stays open for longer is retained."""
    held = [unnoticed(o.levels) if o.levels else math.nan for o in seen]
    found = set()
    for index, one in enumerate(seen):
        count = held[index]
        if not count >= MIN_SOCKETS:
            continue
        for later in range(index + 1, len(seen)):
            after = seen[later]
            left = one.load_ended if one.load_ended is not None else one.ended
            if after.events or after.ended - left > MAX_TIME:
                break
            if count - held[later] >= max(MIN_SOCKETS, MIN_SHARE * count):
                found.add(index)
                break
    return frozenset(found)


def settle_for(seen: Sequence[Observation], wait: float = 0.0) -> str:
    """The options that give such a service time to close: seconds for the slowest close, and minutes for
    CYCLES of them and for the wait that follows them, in seconds. "" for a service that closes at once, and for a run
    that gave it that time."""
    slow = slowest_close(seen)
    early = premature(seen)
    if not early and slow < SLOW_CLOSE:
        return ""
    if early and slow < SLOW_CLOSE:  # all sockets were closed while clients were connected
        slow = max(_released(seen, index) for index in early)
    settle = math.ceil(1.05 * slow)
    minutes = max(2, math.ceil((CYCLES * (settle + LOAD_SECONDS) + wait) / 60))
    if 60 * minutes <= MAX_LONGER * (seen[-1].ended - seen[0].started):
        return ""  # it had that time
    return f"--settle {settle}s --max-time {minutes}m"


def _released(seen: Sequence[Observation], index: int) -> float:
    """Seconds from the end of a cycle's load to the end of the first cycle with fewer open sockets."""
    one = seen[index]
    left = one.load_ended if one.load_ended is not None else one.ended
    count = unnoticed(one.levels)
    return next((o.ended - left for o in seen[index + 1 :] if o.levels and unnoticed(o.levels) < count), 0.0)


def slowest_close(seen: Sequence[Observation]) -> float:
    """Seconds from a client's departure to the latest close that was seen. Cycles that never settled, or whose counts
    fluctuate, are left out."""
    return max((o.close_lag for o in seen if o.settled and not o.unsettled), default=0.0)
