"""The quiet part of a cycle: wait until the service is at rest, then read its levels."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.core.census_diff import levels as census_levels
from harness.core.metric import Key
from harness.core.quiescence import QUARTERS, NeverSettled, Quiescent, Settling, Tracker
from harness.core.sample import Census, Sample
from harness.experiment.remote_target import Watching

POLL = 0.05
LEAST_NAP = 0.01
LATE = 0.005  # seconds after it is due by which a sample can be seen
ASK_CLIENTS = 0.25  # seconds, at least, between two looks at who is connected
LEAST_STILL = 0.5  # seconds: a quarter of what is looked at where a service never holds still
LOOKS = 5  # censuses of such a service, of which the lowest counts


@dataclass(frozen=True, slots=True)
class Quiet:
    """How the rest was reached. level: hot-lane counts at rest. idle_cpu: cores used while at rest,
    None where it could not be read. restless: at rest, but for the counts named in ``moving``. held: nothing
    changed for as long as was asked for counts that are not back."""

    settled: bool
    moving: str
    level: dict[str, float]
    close_lag: float
    idle_cpu: float | None = None
    restless: bool = False
    held: bool = True

    def levels(self, *censuses: Census) -> dict[Key, float]:
        """The census's levels, the lowest where there are several; the totals of the hot lane where no
        census could be taken. Nothing at all for a cycle that never settled: its counts are not a level."""
        if not self.settled:
            return {}
        found = {
            Key(name): value for name, value in self.level.items() if name in ("fds", "threads", "processes")
        }
        read = [census_levels(census) for census in censuses]
        for key in {key for one in read for key in one}:
            # A class that one census did not meet is zero; a metric that it could not read is not known.
            known = [
                one.get(key, 0.0 if key.kind else None)
                for one in read
                if key in one or Key(key.metric) in one
            ]
            found[key] = min((value for value in known if value is not None), default=0.0)
        if self.restless and (lowest := found.get(Key("fds"))) is not None:
            found[Key("fds")] = min(lowest, self.level.get("fds", lowest))
        if self.idle_cpu is not None:
            found[Key("idle-cpu")] = self.idle_cpu
        return found


class Clients:
    """How many are connected to a port. To look walks all sockets of the kernel, 2 to 14 ms here, against 60 µs of a
    sample. Whoever is accepted or leaves moves the target's descriptors, so one look at the end of a window in which
    they did not move speaks for all of it; only once somebody was seen it is looked at again, until they have left.
    port None: nobody is looked for, a census will tell."""

    def __init__(self, sampler: Watching, port: int | None, clock: Callable[[], float]) -> None:
        self._sampler, self._port, self._clock = sampler, port, clock
        self._value: float | None = 0.0
        self._looked = -math.inf

    def count(self) -> float | None:
        """As far as is known; None where it could not be read."""
        if self._value != 0 and self._clock() - self._looked >= ASK_CLIENTS:
            self.look()
        return self._value

    def look(self) -> float | None:
        """Now."""
        if self._port is not None:
            self._value, self._looked = self._sampler.inbound(self._port), self._clock()
        return self._value


@dataclass(frozen=True, slots=True)
class Stillness:
    """What counts as settled; times are in seconds. window: how long counts must stay unchanged, or their
    minimum for four times ``settle``. patience: after which the counts count as never settling. pace: between two
    samples. hold: without change, instead of ``window``, until the counts are back where they were. accept_falling:
    counts that fall all the time have a level too."""

    window: float
    settle: float
    patience: float
    pace: float = POLL
    hold: float = 0.0
    accept_falling: bool = False


def rest(
    sampler: Watching,
    want: Stillness,
    *,
    port: int | None,
    clock: Callable[[], float],
    stopped: Callable[[], bool],
    tick: Callable[[], None],
    back: Callable[[Mapping[str, float]], bool] = lambda _: True,
) -> Quiet:
    """Poll until the counts are as still as wanted, and no client is connected any more. port: of the clients; None:
    they are not looked for. back: whether a level is back where the counts were; asked while ``want.hold`` runs."""
    started = clock()
    window, hold = want.window, want.hold
    still = max(want.settle, LEAST_STILL, hold / QUARTERS)
    tracker = Tracker(
        started, window=window, patience=want.patience, still=still, accept_falling=want.accept_falling
    )
    looked = -math.inf  # when ``back`` was asked last: it may take a census
    clients = Clients(sampler, port, clock)
    used: list[Sample] = []

    def feed(sample: Sample, inbound: float | None) -> Settling | Quiescent | NeverSettled:
        now = clock()
        counts: dict[str, float | None] = {
            "fds": sample.fds,
            "threads": sample.threads,
            "processes": sample.processes,
            "inbound": -now if inbound else inbound,  # somebody is connected: never equal to the last reading
        }
        return tracker.feed(now, counts)

    def returned(level: Mapping[str, float]) -> bool:
        nonlocal looked
        if clock() - looked < window:
            return False
        looked = clock()
        return back(level)

    while True:
        sample = sampler.latest()
        state = feed(sample, clients.count())
        if not used or used[-1] is not sample:
            used.append(sample)
        if isinstance(state, Quiescent) and not state.restless:
            still_for = clock() - started - state.lag
            if still_for < hold and not returned(state.level):
                state = Settling(started + state.lag, "what departed clients left behind")
        if isinstance(state, Quiescent) and clients.look() != 0:
            state = feed(sample, clients.count())
        if isinstance(state, Quiescent):
            busy = bool(state.restless)
            cores = cores_used(used, max(window, 1.0) if busy else window)
            held = busy or clock() - started - state.lag >= hold
            return Quiet(True, state.restless, dict(state.level), state.lag, cores, busy, held)
        if isinstance(state, NeverSettled):
            return Quiet(False, state.moving, dict(state.level), want.patience)
        if stopped():
            return Quiet(False, "stopped before it settled", {}, 0.0)
        tick()
        time.sleep(_nap(clock(), sample.at + want.pace + LATE, state.since + window + LATE))


def _nap(now: float, *moments: float) -> float:
    """Seconds until the next of some moments: nothing is new before the next sample, but the window may be full.
    POLL for one that has passed: what was due is late."""
    return max(LEAST_NAP, min(moment - now if moment > now else POLL for moment in moments))


def after(
    sampler: Watching, level: Mapping[str, float], *, clock: Callable[[], float], patience: float = 1.0
) -> None:
    """Wait until what a reading of the counters opened for itself (a connection, a thread) is gone again: a
    sample taken from now on that is not above ``level``. What never comes back was not the reading's."""
    start = clock()
    while clock() - start < patience:
        sample = sampler.latest()
        now = {"fds": sample.fds, "threads": sample.threads}
        if sample.at > start and all(
            value is None or value <= level.get(name, value) for name, value in now.items()
        ):
            return
        time.sleep(POLL)


def cores_used(seen: list[Sample], window: float) -> float | None:
    """CPU seconds per second over the last ``window`` seconds: what a service at rest still burns."""
    last = seen[-1]
    first = next((sample for sample in seen if last.at - sample.at <= window), last)
    if last.cpu is None or first.cpu is None or last.at - first.at < window / 2:
        return None
    return max(0.0, (last.cpu - first.cpu) / (last.at - first.at))
