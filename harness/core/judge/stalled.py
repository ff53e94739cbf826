"""Streams that stall although the service runs: no first event, events that stop, no accept."""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.cycle import Observation, Phase
from harness.core.judge.signature import find
from harness.core.record import Trial
from harness.core.units import counted

SHARE = 0.5  # of the streams of a cycle that must have stalled
EXHAUSTED = ("emfile", "zeromq-epoll-emfile", "thread-exhaustion")  # signatures
LINE = 120  # characters of a line of the log
CONNECT_TIMEOUT = "timeout"  # the cause of a stream whose connection the kernel gave up (harness.http.causes)


def stalled(trial: Trial) -> str | None:
    """Why the service counts as stalled, or None. A cycle in which the broker was silenced on purpose, and
    one whose clients did not wait for an event, prove nothing."""
    asked = [
        o
        for o in trial.observations
        if o.ledger.opened
        and o.spec.mode == "stream"
        and not o.spec.fault
        and o.spec.phase is not Phase.SEARCH
    ]
    mute = [o for o in asked if _mute(o) >= SHARE * o.ledger.opened]
    if not mute:
        return None
    opened = sum(o.ledger.opened for o in asked)
    silent = sum(_mute(o) for o in asked)
    events = sum(o.ledger.events for o in asked)
    share = f"{silent} of {counted(opened, 'stream')} stalled"
    if not events:
        return f"{share}: the process is running, but sent no event"
    if silent >= SHARE * opened:
        return f"{share}: the process is running, but sent only {counted(events, 'event')}"
    return _stopped(trial, asked, mute)


def ran_out(trial: Trial) -> str | None:
    """What a running service has exhausted according to its log: "descriptors ran out: LINE"."""
    found = find(list(trial.about.last_words))
    if found is None or found.signature.name not in EXHAUSTED:
        return None
    return f"its log says that {found.signature.meaning}: {found.line[:LINE]}"


def _mute(observation: Observation) -> int:
    ledger = observation.ledger
    return ledger.stalls + ledger.causes.get(CONNECT_TIMEOUT, 0)


def _stopped(trial: Trial, asked: Sequence[Observation], mute: Sequence[Observation]) -> str | None:
    """Why the service counts as stalled when events arrived at first and none in the last two cycles; else None."""
    if len(asked) < 2 or asked[-1] is not mute[-1] or (len(mute) < 2 or asked[-2] is not mute[-2]):
        return None
    since = len(mute)
    while since > 1 and asked[-since] is not mute[-since]:
        since -= 1
    before = sum(o.ledger.opened for o in trial.observations[: trial.observations.index(asked[-since])])
    served = counted(before, "connection")
    return f"events stopped after {served}: {since} cycles in a row stalled, while the process was running"
