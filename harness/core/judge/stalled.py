"""Streams that stall although the service runs: no first event, events that stop, no accept."""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.cycle import Observation, Phase
from harness.core.judge.signature import find
from harness.core.record import Trial
from harness.core.units import counted

MIN_STALLED_SHARE = 0.5  # of the streams of a cycle that must have stalled
EXHAUSTED = ("emfile", "zeromq-epoll-emfile", "thread-exhaustion")  # signatures
MAX_LINE = 120  # characters of a line of the log
CONNECT_TIMEOUT = "timeout"  # the cause of a stream whose connection the kernel gave up (harness.http.causes)


def stalled(trial: Trial) -> str | None:
    """Why the service counts as stalled, or None. A cycle in which the broker was silenced on purpose, and
    one whose clients did not wait for an event, prove nothing."""
    loaded = [
        o
        for o in trial.observations
        if o.ledger.opened
        and o.spec.mode == "stream"
        and not o.spec.fault
        and o.spec.phase is not Phase.SEARCH
    ]
    stalled_cycles = [o for o in loaded if _stalled_streams(o) >= MIN_STALLED_SHARE * o.ledger.opened]
    if not stalled_cycles:
        return None
    opened = sum(o.ledger.opened for o in loaded)
    silent = sum(_stalled_streams(o) for o in loaded)
    events = sum(o.ledger.events for o in loaded)
    share = f"{silent} of {counted(opened, 'stream')} stalled"
    if not events:
        return f"{share}: the process is running, but sent no event"
    if silent >= MIN_STALLED_SHARE * opened:
        return f"{share}: the process is running, but sent only {counted(events, 'event')}"
    return _stopped(trial, loaded, stalled_cycles)


def ran_out(trial: Trial) -> str | None:
    """The resource that a running service has exhausted according to its log: "descriptors ran out: LINE"."""
    found = find(list(trial.about.last_words))
    if found is None or found.signature.name not in EXHAUSTED:
        return None
    return f"its log says that {found.signature.meaning}: {found.line[:MAX_LINE]}"


def _stalled_streams(observation: Observation) -> int:
    ledger = observation.ledger
    return ledger.stalls + ledger.causes.get(CONNECT_TIMEOUT, 0)


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
