"""How many clients a service serves at once, where these are fewer than were asked for.

A service with a worker for each stream (Puma, Waitress, Sinatra, php-fpm) serves as many clients at once as it has
workers, and the others wait without an answer. That limits how it can be loaded, and says nothing about what it
retains. So the plan counts the clients that are served while all of them stay and goes on with that number, and the
cycles before count neither for a leak nor for a stall.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from harness.core.cycle import Observation, Phase
from harness.core.record import Trial

MIN_STALLED_SHARE = 0.5  # of the streams of a cycle that must have stalled
MAX_UNANSWERED_SHARE = 0.02  # of the streams of a service that serves its clients
# A service that serves one client at once may hold a lock for as long as a stream lasts, which is a fault.
MIN_AT_ONCE = 2
CONNECT_TIMEOUT = "timeout"  # the cause of a stream whose connection the kernel gave up (harness.http.causes)


@dataclass(frozen=True, slots=True)
class AtOnce:
    """clients: as many as the service serves at once. asked: as many as connected at first. since: index of the first
    observation with no more clients at once than that."""

    clients: int
    asked: int
    since: int

    def text(self) -> str:
        """A sentence for a verdict."""
        return (
            f"it served {self.clients} of {self.asked} clients at once: it has no more workers, or is too slow for "
            f"more; so the load was {self.clients} clients at once"
        )


def stalled_streams(observation: Observation) -> int:
    """The streams of a cycle that stalled, or whose connection was never accepted."""
    return observation.ledger.stalls + observation.ledger.causes.get(CONNECT_TIMEOUT, 0)


def unanswered_streams(loads: Sequence[Observation]) -> int:
    """The streams whose request was sent, or whose connection was begun, and that were never answered."""
    return sum(o.ledger.unanswered + o.ledger.causes.get(CONNECT_TIMEOUT, 0) for o in loads)


def served_in_part(loads: Sequence[Observation]) -> bool:
    """Whether a service served some clients in each of these loads, and most of those that stalled were never answered:
    it may have a worker for each stream, and fewer of them than clients. Puma with 5 threads answered 356 of 1,650
    streams of 50 clients at once."""
    if not loads or not all((o.ledger.answered or 0) and o.ledger.events for o in loads):
        return False
    return unanswered_streams(loads) >= MIN_STALLED_SHARE * sum(map(stalled_streams, loads))


def at_once(trial: Trial) -> AtOnce | None:
    """How many clients the service serves at once, from the warm-up; None where these are as many as were asked for, or
    not known."""
    warm = _warm_up(trial)
    counts = [n for n, seen in enumerate(warm) if _is_count(warm, seen)]
    if not counts:
        return None
    asked, since = warm[0].spec.concurrency, counts[0] + 1
    clients = warm[counts[0]].ledger.answered or 0
    if not MIN_AT_ONCE <= clients < asked:
        return None
    for index, seen in enumerate(warm[since:], since):
        if unanswered_streams([seen]) > MAX_UNANSWERED_SHARE * seen.ledger.opened:
            # A worker that notices late that its client has left serves the next one late.
            clients, since = max(1, clients // 2), index + 1
    return AtOnce(clients, asked, since)


def must_count(trial: Trial) -> bool:
    """Whether the next cycle should count the clients that are served at once: those of the first cycle were served in
    part."""
    warm = _warm_up(trial)
    return (
        len(warm) == len(trial.observations) == 1
        and warm[0].spec.concurrency > MIN_AT_ONCE
        and warm[0].spec.events > 0
        and stalled_streams(warm[0]) >= MIN_STALLED_SHARE * warm[0].ledger.opened
        and served_in_part(warm)
    )


def as_served(trial: Trial) -> Trial:
    """The trial without the cycles that had more clients at once than the service serves."""
    found = at_once(trial)
    if found is None:
        return trial
    restarts = tuple(replace(one, after=max(0, one.after - found.since)) for one in trial.restarts)
    return replace(trial, observations=trial.observations[found.since :], restarts=restarts)


def _warm_up(trial: Trial) -> list[Observation]:
    """The cycles of the first warm-up: a soak that is resumed has another one."""
    return list(takewhile(lambda seen: seen.spec.phase is Phase.WARMUP, trial.observations))


def _is_count(warm: Sequence[Observation], seen: Observation) -> bool:
    """Whether a cycle of the warm-up counted the clients that are served at once: they did not wait for an event."""
    return warm[0].spec.events > 0 and seen.spec.events == 0
