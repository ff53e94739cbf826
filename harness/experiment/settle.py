"""After a load: wait until the service has settled, then read its levels."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.core.census_diff import levels as census_levels
from harness.core.metric import Key
from harness.core.quiescence import WINDOWS_COMPARED, NeverSettled, Quiescent, Settling, Tracker
from harness.core.sample import Census, Sample
from harness.experiment.remote_target import ProbeSampler

POLL = 0.05  # seconds until the next check where no sample and no end of a window is due
MIN_SLEEP = 0.01  # seconds, so that a sample that is a little late does not make the loop spin
SAMPLE_DELAY = 0.005  # seconds after its due time at which a sample is available
CLIENT_CHECK_INTERVAL = 0.25  # seconds, at least, between two counts of the connected clients
MIN_FLOOR_WINDOW = 0.5  # seconds: a quarter of the time over which a fluctuating service is watched
CENSUSES_WHILE_FLUCTUATING = 5  # the lowest of them counts


@dataclass(frozen=True, slots=True)
class SettleResult:
    """The result of waiting until a service has settled.

    moving: names of the counts that still changed, or why the wait was stopped; "" for none. level: hot-lane counts
    once settled. close_lag: seconds from the start of the wait until no count changed any more. idle_cpu: cores used
    while idle, None where it could not be read. fluctuating: settled although the counts named in ``moving`` still
    change. stable: nothing changed for the whole long window, which is needed only while counts are above the last
    level.
    """

    settled: bool
    moving: str
    level: dict[str, float]
    close_lag: float
    idle_cpu: float | None = None
    fluctuating: bool = False
    stable: bool = True

    def levels(self, *censuses: Census) -> dict[Key, float]:
        """The levels of the censuses, the lowest where there are several. Without a census the totals of the hot
        lane. Empty for a cycle that never settled: its counts are not a level."""
        if not self.settled:
            return {}
        found = {
            Key(name): value for name, value in self.level.items() if name in ("fds", "threads", "processes")
        }
        read = [census_levels(census) for census in censuses]
        for key in {key for one in read for key in one}:
            # A class that is absent from a census has zero members; a metric that it could not read is unknown.
            known = [
                one.get(key, 0.0 if key.kind else None)
                for one in read
                if key in one or Key(key.metric) in one
            ]
            found[key] = min((value for value in known if value is not None), default=0.0)
        # Ten hot samples a second see the minimum of a fluctuating count better than a few censuses do.
        if self.fluctuating and (lowest := found.get(Key("fds"))) is not None:
            found[Key("fds")] = min(lowest, self.level.get("fds", lowest))
        if self.idle_cpu is not None:
            found[Key("idle-cpu")] = self.idle_cpu
        return found


class ConnectedClients:
    """Counts the clients connected to a port; with port None it counts none, because a census follows.

    A count is expensive (``harness.probe.sockets.inbound``). Accepting or closing a connection changes the target's
    descriptors, which each sample has. So one count at the end of a window in which they did not change covers the
    whole window, and only while clients are connected is the count repeated."""

    def __init__(self, sampler: ProbeSampler, port: int | None, clock: Callable[[], float]) -> None:
        self._sampler, self._port, self._clock = sampler, port, clock
        self._value: float | None = 0.0
        self._counted_at = -math.inf

    def latest(self) -> float | None:
        """The latest count, renewed while clients are connected; None where it could not be read."""
        if self._value != 0 and self._clock() - self._counted_at >= CLIENT_CHECK_INTERVAL:
            self.count()
        return self._value

    def count(self) -> float | None:
        """Count now."""
        if self._port is not None:
            self._value, self._counted_at = self._sampler.inbound(self._port), self._clock()
        return self._value


@dataclass(frozen=True, slots=True)
class SettleCriteria:
    """The criteria of a settled service; times are in seconds. window: how long counts must stay unchanged, or their
    minimum for four times ``settle``. timeout: after which the counts count as never settling. pace: between two
    samples. long_window: replaces ``window`` while counts are above the last level. accept_falling: counts that
    fall all the time have a level too."""

    window: float
    settle: float
    timeout: float
    pace: float = POLL
    long_window: float = 0.0
    accept_falling: bool = False


def wait_until_settled(
    sampler: ProbeSampler,
    criteria: SettleCriteria,
    *,
    port: int | None,
    clock: Callable[[], float],
    stopped: Callable[[], bool],
    tick: Callable[[], None],
    is_released: Callable[[Mapping[str, float]], bool] = lambda _: True,
) -> SettleResult:
    """Wait until the counts meet ``criteria`` and no client is connected. port: of the clients; None: they are not
    counted. is_released: whether counts are back at the last level; called while the long window is not over."""
    wait = _SettleWait(sampler, criteria, ConnectedClients(sampler, port, clock), clock, is_released)
    while True:
        if (result := wait.check()) is not None:
            return result
        if stopped():
            return SettleResult(False, "stopped before it settled", {}, 0.0)
        tick()
        wait.sleep()


class _SettleWait:
    """One wait for a service to settle."""

    def __init__(
        self,
        sampler: ProbeSampler,
        criteria: SettleCriteria,
        clients: ConnectedClients,
        clock: Callable[[], float],
        is_released: Callable[[Mapping[str, float]], bool],
    ) -> None:
        self._sampler, self._criteria, self._clients = sampler, criteria, clients
        self._clock, self._is_released = clock, is_released
        self._started = clock()
        self._tracker = Tracker(
            self._started,
            window=criteria.window,
            timeout=criteria.timeout,
            # Together the windows whose minima are compared must last as long as the wait for a late close.
            floor_window=max(criteria.settle, MIN_FLOOR_WINDOW, criteria.long_window / WINDOWS_COMPARED),
            accept_falling=criteria.accept_falling,
        )
        self._samples: list[Sample] = []
        self._unchanged_since = self._started
        self._release_checked_at = -math.inf

    def check(self) -> SettleResult | None:
        """Take the latest sample into account. The result once the counts have settled, or never will."""
        sample = self._sampler.latest()
        state = self._feed(sample)
        # The loop may run faster than the probe samples, and must not count one sample twice.
        if not self._samples or self._samples[-1] is not sample:
            self._samples.append(sample)
        if isinstance(state, Quiescent) and not state.fluctuating:
            # Above the last level, a short window is not enough: the service may close late what it still holds.
            still_for = self._clock() - self._started - state.lag
            if still_for < self._criteria.long_window and not self._released(state.level):
                state = Settling(self._started + state.lag, "what departed clients left behind")
        # Counted only now: one count covers the whole window in which the descriptors did not change.
        if isinstance(state, Quiescent) and self._clients.count() != 0:
            state = self._feed(sample)
        if isinstance(state, Quiescent):
            return self._settled(state)
        if isinstance(state, NeverSettled):
            return SettleResult(False, state.moving, dict(state.level), self._criteria.timeout)
        self._unchanged_since = state.since
        return None

    def _feed(self, sample: Sample) -> Settling | Quiescent | NeverSettled:
        inbound = self._clients.latest()
        now = self._clock()
        counts: dict[str, float | None] = {
            "fds": sample.fds,
            "threads": sample.threads,
            "processes": sample.processes,
            # While clients are connected this differs from reading to reading, so the counts never settle.
            "inbound": -now if inbound else inbound,
        }
        return self._tracker.feed(now, counts)

    def _released(self, level: Mapping[str, float]) -> bool:
        # The check may take a census, so it runs at most once in a window.
        if self._clock() - self._release_checked_at < self._criteria.window:
            return False
        self._release_checked_at = self._clock()
        return self._is_released(level)

    def _settled(self, state: Quiescent) -> SettleResult:
        window, fluctuating = self._criteria.window, bool(state.fluctuating)
        # The work of a fluctuating service comes in bursts, so a short window would catch one or miss all.
        cores = cores_used(self._samples, max(window, 1.0) if fluctuating else window)
        still_for = self._clock() - self._started - state.lag
        stable = fluctuating or still_for >= self._criteria.long_window
        return SettleResult(True, state.fluctuating, dict(state.level), state.lag, cores, fluctuating, stable)

    def sleep(self) -> None:
        """Sleep until the next sample or the end of the window. Polling would use CPU time that the service may
        need."""
        sample_due = self._samples[-1].at + self._criteria.pace + SAMPLE_DELAY
        window_ends = self._unchanged_since + self._criteria.window + SAMPLE_DELAY
        time.sleep(_sleep_time(self._clock(), sample_due, window_ends))


def _sleep_time(now: float, *moments: float) -> float:
    """Seconds until the earliest of some moments. A moment that has passed counts as POLL from now: a sample that
    was due is late."""
    return max(MIN_SLEEP, min(moment - now if moment > now else POLL for moment in moments))


def wait_for_counts_to_return(
    sampler: ProbeSampler, level: Mapping[str, float], *, clock: Callable[[], float], timeout: float = 1.0
) -> None:
    """Wait until a new sample is not above ``level``: a reading of the runtime's counters may open a connection or a
    thread of its own for a moment. Counts that stay above it were not raised by the reading."""
    start = clock()
    while clock() - start < timeout:
        sample = sampler.latest()
        now = {"fds": sample.fds, "threads": sample.threads}
        if sample.at > start and all(
            value is None or value <= level.get(name, value) for name, value in now.items()
        ):
            return
        time.sleep(POLL)


def cores_used(seen: list[Sample], window: float) -> float | None:
    """CPU seconds per second over the last ``window`` seconds: what an idle service still uses."""
    last = seen[-1]
    first = next((sample for sample in seen if last.at - sample.at <= window), last)
    # After a gap the samples may span only the end of the window, which does not represent it.
    if last.cpu is None or first.cpu is None or last.at - first.at < window / 2:
        return None
    return max(0.0, (last.cpu - first.cpu) / (last.at - first.at))
