"""Streams that stall although the service runs: no response, events that stop, no accept.

A service that answers each request with a response head, and sends no event as long as its clients stay, may be a
stream of notifications, of which the next may come after a minute. It has not been shown to stall.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.core.cycle import Observation, Phase
from harness.core.judge.at_once import (
    MAX_UNANSWERED_SHARE,
    MIN_STALLED_SHARE,
    served_in_part,
    stalled_streams,
    unanswered_streams,
)
from harness.core.judge.signature import find
from harness.core.record import Trial
from harness.core.units import counted

EXHAUSTED = ("emfile", "zeromq-epoll-emfile", "thread-exhaustion")  # signatures
MAX_LINE = 120  # characters of a line of the log


def stalled(trial: Trial) -> str | None:
    """Why the service counts as stalled, or None. A cycle in which the broker was silenced on purpose, and
    one whose clients did not wait for an event, prove nothing."""
    loaded = _loads(trial)
    stalled_cycles = [o for o in loaded if stalled_streams(o) >= MIN_STALLED_SHARE * o.ledger.opened]
    if not stalled_cycles or answered_without_event(trial):
        return None
    opened = sum(o.ledger.opened for o in loaded)
    silent = sum(stalled_streams(o) for o in loaded)
    events = sum(o.ledger.events for o in loaded)
    share = f"{silent} of {counted(opened, 'stream')} stalled"
    if not events:
        return f"{share}: the process is running, but sent no event"
    if silent >= MIN_STALLED_SHARE * opened:
        return f"{share}: the process is running, but sent only {counted(events, 'event')}"
    return _stopped(trial, loaded, stalled_cycles)


def _loads(trial: Trial) -> list[Observation]:
    """The cycles whose clients waited for events."""
    return [
        o
        for o in trial.observations
        if o.ledger.opened
        and o.spec.mode == "stream"
        and not o.spec.fault
        and o.spec.phase is not Phase.SEARCH
    ]


def answered_without_event(trial: Trial) -> int:
    """The number of streams that were answered and waited in vain for an event, of a service whose events are rare from
    the first cycle to the last; 0 for any other service. Whether their clients would have got one later is not known.
    """
    loads = [o for o in _loads(trial) if o.spec.events]
    opened = sum(o.ledger.opened for o in loads)
    answered = sum(o.ledger.answered or 0 for o in loads)
    unanswered = unanswered_streams(loads)
    known = all(o.ledger.answered is not None for o in loads)  # not in a record of an older harness
    rare = all(stalled_streams(o) >= MIN_STALLED_SHARE * o.ledger.opened for o in loads)
    if not loads or not known or not rare or unanswered > MAX_UNANSWERED_SHARE * opened:
        return 0
    # A service that sent events and has none left has stopped. A client that waits for more than one event may have got
    # its first, and a stall is then what it seems to be.
    stopped = not loads[-1].ledger.events or any(o.spec.events > 1 for o in loads)
    if stopped and any(o.ledger.events for o in loads):
        return 0
    return min(answered, sum(o.ledger.stalls for o in loads))


def more_than_served(trial: Trial) -> int:
    """The number of clients at once of which a service served some in each load, and never answered others. 0 for any
    other service."""
    loads = _loads(trial)
    if not served_in_part(loads):
        return 0
    return max(min(o.spec.concurrency, o.spec.connections) for o in loads)


def without_events(trial: Trial) -> int:
    """The same number; 0 where the user asked not to wait for events (``--events 0``). The plan then has only single
    cycles in which clients wait."""
    loads = _loads(trial)
    return answered_without_event(trial) if loads and loads[0].spec.events else 0


def ran_out(trial: Trial) -> str | None:
    """The resource that a running service has exhausted according to its log: "descriptors ran out: LINE"."""
    found = find(list(trial.about.last_lines))
    if found is None or found.signature.name not in EXHAUSTED:
        return None
    return f"its log says that {found.signature.meaning}: {found.line[:MAX_LINE]}"


def full_of_descriptors(trial: Trial) -> str | None:
    """That a process still had as many descriptors as it may open after its clients had disconnected: it can accept no
    further one. Not every service logs that."""
    limit = trial.target.limits.get("RLIMIT_NOFILE", math.inf)
    idle = [o.census.per_process for o in trial.observations if o.settled and o.census]
    most = max((count for each in idle for count in each.values()), default=0)
    if most < limit:
        return None
    had = f"a process had {counted(most, 'descriptor', ',')} open without clients"
    return f"{had}, and RLIMIT_NOFILE allows {limit:,.0f}"


def _stopped(
    trial: Trial, loaded: Sequence[Observation], stalled_cycles: Sequence[Observation]
) -> str | None:
    """Why the service counts as stalled when events arrived at first and none in the last two cycles; else None."""
    if (
        len(loaded) < 2
        or loaded[-1] is not stalled_cycles[-1]
        or (len(stalled_cycles) < 2 or loaded[-2] is not stalled_cycles[-2])
    ):
        return None
    since = len(stalled_cycles)
    while since > 1 and loaded[-since] is not stalled_cycles[-since]:
        since -= 1
    before = sum(o.ledger.opened for o in trial.observations[: trial.observations.index(loaded[-since])])
    served = counted(before, "connection")
    return f"events stopped after {served}: {since} cycles in a row stalled, while the process was running"
