"""Streams in Locust's statistics, as entries of their own: connect, headers, first event, gap, life.

Locust's request event costs about 10 us; thousands of streams with several times each would spend the
core on it. So times are collected here by the microsecond and poured in every second.

The first event is what a Locust user calls the response: it alone counts into the totals, so that RPS and the charts
show it. A stream that fails before it is a failed response; one that fails later is a failure of ``life``. Streams that
Stop cuts short are neither successes nor failures: they are not in ``life``.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections import Counter as Counts
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from weakref import WeakKeyDictionary

from locust.event import EventHook
from locust.stats import StatsError

from harness.core.sse.ids import IdSequence
from harness.http import causes
from harness.swarm import csv_percentiles
from harness.swarm.order import Report

CONNECT, HEADERS, FIRST_EVENT, GAP, LIFE = "connect", "headers", "first event", "gap", "life"
IDS = "ids"
FLUSH = 1.0  # seconds between two pours
BATCH = 1024  # times, or reports, kept as they came: adding them up together costs a third


def bucket(milliseconds: float, rounded: Callable[[float], float] = round) -> float:
    """The time to two significant digits. Locust rounds to whole milliseconds, which makes 0 of a connect to a service
    near by, and puts its 95th percentile below its minimum. rounded: floor and ceil make a lower and an upper bound."""
    if milliseconds <= 0:
        return 0.0
    digits = 1 - math.floor(math.log10(milliseconds))
    # 10**-1 has no exact float: dividing by a power of ten keeps 150 a whole number.
    step = 10.0 ** abs(digits)
    scaled = milliseconds * step if digits > 0 else milliseconds / step
    nearest = round(scaled)
    whole = nearest if math.isclose(scaled, nearest, rel_tol=1e-9) else rounded(scaled)
    return whole / step if digits > 0 else whole * step


# Every time to two significant digits, or to a microsecond where that is coarser, up to 30 years; milliseconds. To find
# a time's place between the bounds costs a tenth of computing its bucket, which was 6 % of an event's cost.
SHOWN = (
    *(float(f"{number}e-3") for number in range(10)),
    *(float(f"{number}e{power}") for power in range(-3, 11) for number in range(10, 100)),
)
BOUNDS = tuple((low + high) / 2 for low, high in pairwise(SHOWN))


class StreamFailure(Exception):
    """A stream that failed, by its cause: Locust groups failures by this text."""


def none_open() -> int:
    """Streams open now, while nothing opens any."""
    return 0


class Times:
    """Times of one entry since the last pour; milliseconds."""

    __slots__ = ("_fresh", "bytes", "count", "counts", "highest", "lowest", "total")

    def __init__(self) -> None:
        self._fresh: list[float] = []
        self.clear()

    def clear(self) -> None:
        """Nothing counted yet."""
        self.counts: Counts[float] = Counts()  # by what is shown
        self.count = self.bytes = 0
        self.total = self.highest = 0.0
        self.lowest = float("inf")

    def add(self, seconds: float, count: int = 1) -> None:
        """Count a time; it is in the sums after the next ``fold``."""
        fresh = self._fresh
        if count == 1:
            fresh.append(seconds)
        else:
            fresh.extend([seconds] * count)
        if len(fresh) >= BATCH:
            self.fold()

    def extend(self, times: list[float]) -> None:
        """Count many times (seconds)."""
        self._fresh += times
        if len(self._fresh) >= BATCH:
            self.fold()

    def fold(self) -> None:
        """Add up what came since the last time."""
        if not self._fresh:
            return
        values = [seconds * 1000.0 for seconds in self._fresh]
        self._fresh.clear()
        self.counts.update([SHOWN[bisect_left(BOUNDS, value)] for value in values])
        self.count += len(values)
        self.total += sum(values)
        self.highest = max(self.highest, max(values))
        self.lowest = min(self.lowest, min(values))


class Entries:
    """Where the times of the streams of one name go."""

    __slots__ = ("connect", "ended", "first_event", "headers", "life")

    def __init__(self, statistics: Statistics, name: str) -> None:
        self.connect = statistics.times(CONNECT, name)
        self.headers = statistics.times(HEADERS, name)
        self.first_event = statistics.times(FIRST_EVENT, name)
        self.life = statistics.times(LIFE, name)
        self.ended: list[Report] = []  # well, and not added up yet


class Statistics:
    """Collects for one Locust environment."""

    def __init__(self, environment: Any) -> None:
        self._environment = environment
        self._times: dict[tuple[str, str], Times] = {}
        self._entries: dict[str, Entries] = {}
        self.open_now: Callable[[], int] = none_open  # set by what opens the streams
        self.answered = 0  # streams that had a first event
        self.cut = 0  # streams that Stop cut short

    def times(self, kind: str, name: str) -> Times:
        """Where times of one entry are added."""
        found = self._times.get((kind, name))
        if found is None:
            found = self._times[kind, name] = Times()
        return found

    def _of(self, name: str) -> Entries:
        found = self._entries.get(name)
        if found is None:
            found = self._entries[name] = Entries(self, name)
        return found

    def headed(self, report: Report, name: str) -> None:
        """The response head has come: streams that last for hours must be seen while they do."""
        entries = self._of(name)
        if report.connect is not None:
            entries.connect.add(report.connect)
        if report.headers is not None:
            entries.headers.add(report.headers)

    def first(self, report: Report, name: str) -> None:
        """The first event has come."""
        if report.first_event is not None:
            self.answered += 1
            self._of(name).first_event.add(report.first_event)
            self._announce(FIRST_EVENT, name, report.first_event, report, None)  # whatever befell it later

    def over(self, report: Report, name: str, *, told: bool = False) -> None:
        """One stream has ended. told: ``headed`` and ``first`` were called when it was time."""
        if report.cause is None and not report.cut and not told and not self._listeners():
            ended = self._of(name).ended
            ended.append(report)
            if len(ended) >= BATCH:
                self._fold(name)
            return
        if not told or report.headers is None:
            self.headed(report, name)
        if not told:
            self.first(report, name)
        if report.cut or report.cause == causes.CANCELLED:
            self.cut += 1
        elif report.cause is None or report.first_event is not None:
            times = self._of(name).life
            times.add(report.life)
            times.bytes += report.bytes
            if report.cause is not None:
                self._environment.stats.log_error(LIFE, name, StreamFailure(report.cause))
            self._announce(LIFE, name, report.life, report, report.cause)
        else:
            self._of(name).first_event.add(report.life)  # as Locust has the time of a request that failed
            self._environment.stats.log_error(FIRST_EVENT, name, StreamFailure(report.cause))
            self._announce(FIRST_EVENT, name, report.life, report, report.cause)

    def _listeners(self) -> list[Any]:
        """Who listens to requests, besides Locust's own statistics: those are written here."""
        handlers = self._environment.events.request._handlers
        return [handler for handler in handlers if handler.__module__ != "locust.runners"]

    def _announce(self, kind: str, name: str, seconds: float, report: Report, cause: str | None) -> None:
        """To the listeners of the user: the ``first event`` when it comes or fails, ``life`` once it is over."""
        if not (listeners := self._listeners()):
            return
        hook: Any = EventHook()  # type: ignore[no-untyped-call]
        hook._handlers = listeners
        hook.fire(
            request_type=kind,
            name=name,
            response_time=seconds * 1000.0,
            response_length=report.bytes,
            exception=StreamFailure(cause) if cause else None,
            context={"left": report.left, "events": report.events, "status": report.status},
        )

    def _fold(self, name: str) -> None:
        """The times of streams that ended well, added up together."""
        entries = self._entries[name]
        ended, entries.ended = entries.ended, []
        entries.connect.extend([report.connect for report in ended if report.connect is not None])
        entries.headers.extend([report.headers for report in ended if report.headers is not None])
        first = [report.first_event for report in ended if report.first_event is not None]
        self.answered += len(first)
        entries.first_event.extend(first)
        entries.life.extend([report.life for report in ended])
        entries.life.bytes += sum([report.bytes for report in ended])

    def ids(self, ids: IdSequence, name: str, told: tuple[int, int, int] = (0, 0, 0)) -> tuple[int, int, int]:
        """Ids that were missing, came again or out of order: failures of an entry of their own.

        told: what was counted of these ids before. Returns what to give the next time.
        """
        now = (ids.missed, ids.repeated, ids.disordered)
        if now == told:
            return now
        for what, total, before in zip(("missed", "repeated", "out of order"), now, told, strict=True):
            if count := total - before:
                stats = self._environment.stats
                stats.log_error(IDS, name, f"ids {what}")
                stats.errors[StatsError.create_key(IDS, name, f"ids {what}")].occurrences += count - 1
        return now

    def pour(self) -> None:
        """Everything collected into Locust's statistics."""
        stats = self._environment.stats
        moment = time.time()
        for name, entries in self._entries.items():
            if entries.ended:
                self._fold(name)
        for (kind, name), times in self._times.items():
            times.fold()
            if times.count:
                _pour(stats.get(name, kind), times, moment)
                if kind == FIRST_EVENT:
                    _pour(stats.total, times, moment)
                times.clear()


def _pour(entry: Any, times: Times, moment: float) -> None:
    last = entry.last_request_timestamp
    if entry.use_response_times_cache and last and int(moment) > int(last):
        entry._cache_response_times(int(moment) - 1)
    entry.num_requests += times.count
    entry.num_reqs_per_sec[int(moment)] += times.count
    entry.last_request_timestamp = moment
    entry.total_response_time += times.total
    entry.total_content_length += times.bytes
    # As coarse as the percentiles between them: Locust cuts its median, and no other percentile, to these two.
    entry.max_response_time = max(entry.max_response_time, bucket(times.highest, math.ceil))
    lowest, least = entry.min_response_time, bucket(times.lowest, math.floor)
    entry.min_response_time = least if lowest is None else min(lowest, least)
    for value, count in times.counts.items():
        entry.response_times[value] += count


csv_percentiles.install()
STATISTICS: WeakKeyDictionary[Any, Statistics] = WeakKeyDictionary()  # by Locust environment
