"""Streams in Locust's statistics, as entries of their own: connect, headers, first event, gap, life.

Locust's request event costs about 10 µs. For thousands of streams with several times each it would use the whole core,
so times are collected here and added to Locust's entries every second.

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
from harness.swarm.stream_spec import Report

CONNECT, HEADERS, FIRST_EVENT, GAP, LIFE = "connect", "headers", "first event", "gap", "life"
IDS = "ids"
FLUSH_INTERVAL = 1.0  # seconds
BATCH = 1024  # times, or reports, that are added up together, which costs a third of adding them one by one


def bucket(milliseconds: float, rounding: Callable[[float], float] = round) -> float:
    """The time to two significant digits. Locust rounds to whole milliseconds, which makes 0 of a connect to a service
    near by, and puts its 95th percentile below its minimum. rounding: floor and ceil make a lower and an upper
    bound."""
    if milliseconds <= 0:
        return 0.0
    digits = 1 - math.floor(math.log10(milliseconds))
    # 10**-1 has no exact float: dividing by a power of ten keeps 150 a whole number.
    step = 10.0 ** abs(digits)
    scaled = milliseconds * step if digits > 0 else milliseconds / step
    nearest = round(scaled)
    # A time that has two digits already must keep them: floor would make 14 of 15 - 1e-15.
    whole = nearest if math.isclose(scaled, nearest, rel_tol=1e-9) else rounding(scaled)
    return whole / step if digits > 0 else whole * step


# Every bucket: times to two significant digits, or to a microsecond where that is coarser, up to 30 years;
# milliseconds. To find a time between the bounds costs a tenth of computing its bucket, which was 6 % of an event's
# cost.
BUCKETS = (
    *(float(f"{number}e-3") for number in range(10)),
    *(float(f"{number}e{power}") for power in range(-3, 11) for number in range(10, 100)),
)
BOUNDS = tuple((low + high) / 2 for low, high in pairwise(BUCKETS))  # between two buckets


class StreamFailure(Exception):
    """A stream that failed, by its cause: Locust groups failures by this text."""


def none_open() -> int:
    """The number of open streams while nothing opens any."""
    return 0


class Times:
    """Times of one entry since the last flush; milliseconds."""

    __slots__ = ("_fresh", "bytes", "count", "counts", "highest", "lowest", "total")

    def __init__(self) -> None:
        self._fresh: list[float] = []
        self.clear()

    def clear(self) -> None:
        """Forget what was counted."""
        self.counts: Counts[float] = Counts()  # by the rounded time that Locust shows
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
        """Add up what was added since the last call."""
        if not self._fresh:
            return
        values = [seconds * 1000.0 for seconds in self._fresh]
        self._fresh.clear()
        self.counts.update([BUCKETS[bisect_left(BOUNDS, value)] for value in values])
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
        self.ended: list[Report] = []  # of streams that succeeded, not added up yet


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

    def _entries_of(self, name: str) -> Entries:
        found = self._entries.get(name)
        if found is None:
            found = self._entries[name] = Entries(self, name)
        return found

    def on_head(self, report: Report, name: str) -> None:
        """A response head arrived. It is counted at once, because a stream may last for hours."""
        entries = self._entries_of(name)
        if report.connect is not None:
            entries.connect.add(report.connect)
        if report.headers is not None:
            entries.headers.add(report.headers)

    def on_first_event(self, report: Report, name: str) -> None:
        """The first event arrived."""
        if report.first_event is not None:
            self.answered += 1
            self._entries_of(name).first_event.add(report.first_event)
            # A success, even if the stream fails later: that failure is one of ``life``.
            self._fire_request_event(FIRST_EVENT, name, report.first_event, report, None)

    def on_closed(self, report: Report, name: str, *, reported: bool = False) -> None:
        """One stream has closed. reported: ``on_head`` and ``on_first_event`` were called when those arrived."""
        # The fast path: without a listener of the user, a successful stream only has to be added up later.
        if report.cause is None and not report.cut and not reported and not self._listeners():
            ended = self._entries_of(name).ended
            ended.append(report)
            if len(ended) >= BATCH:
                self._fold(name)
            return
        if not reported or report.headers is None:
            self.on_head(report, name)
        if not reported:
            self.on_first_event(report, name)
        if report.cut or report.cause == causes.CANCELLED:
            self.cut += 1
        elif report.cause is None or report.first_event is not None:
            times = self._entries_of(name).life
            times.add(report.life)
            times.bytes += report.bytes
            if report.cause is not None:
                self._environment.stats.log_error(LIFE, name, StreamFailure(report.cause))
            self._fire_request_event(LIFE, name, report.life, report, report.cause)
        else:
            # Like Locust, which counts the time of a failed request until its failure.
            self._entries_of(name).first_event.add(report.life)
            self._environment.stats.log_error(FIRST_EVENT, name, StreamFailure(report.cause))
            self._fire_request_event(FIRST_EVENT, name, report.life, report, report.cause)

    def _listeners(self) -> list[Any]:
        """The user's listeners of request events, without Locust's own: its statistics are written here."""
        handlers = self._environment.events.request._handlers
        return [handler for handler in handlers if handler.__module__ != "locust.runners"]

    def _fire_request_event(
        self, kind: str, name: str, seconds: float, report: Report, cause: str | None
    ) -> None:
        """Call the user's listeners: ``first event`` when it arrives or fails, ``life`` when the stream closes."""
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
            context={"disconnect": report.disconnect, "events": report.events, "status": report.status},
        )

    def _fold(self, name: str) -> None:
        """Add up the times of the streams that succeeded."""
        entries = self._entries[name]
        ended, entries.ended = entries.ended, []
        entries.connect.extend([report.connect for report in ended if report.connect is not None])
        entries.headers.extend([report.headers for report in ended if report.headers is not None])
        first = [report.first_event for report in ended if report.first_event is not None]
        self.answered += len(first)
        entries.first_event.extend(first)
        entries.life.extend([report.life for report in ended])
        entries.life.bytes += sum([report.bytes for report in ended])

    def ids(
        self, ids: IdSequence, name: str, reported: tuple[int, int, int] = (0, 0, 0)
    ) -> tuple[int, int, int]:
        """Count ids that were missing, repeated or out of order as failures of an entry of their own.

        reported: what was counted of these ids before. Returns what to pass the next time.
        """
        now = (ids.missed, ids.repeated, ids.disordered)
        if now == reported:
            return now
        for what, total, before in zip(("missed", "repeated", "out of order"), now, reported, strict=True):
            if count := total - before:
                stats = self._environment.stats
                # log_error counts one; the others are added to the entry that it made.
                stats.log_error(IDS, name, f"ids {what}")
                stats.errors[StatsError.create_key(IDS, name, f"ids {what}")].occurrences += count - 1
        return now

    def flush(self) -> None:
        """Move everything collected into Locust's statistics."""
        stats = self._environment.stats
        moment = time.time()
        for name, entries in self._entries.items():
            if entries.ended:
                self._fold(name)
        for (kind, name), times in self._times.items():
            times.fold()
            if times.count:
                _add_to_entry(stats.get(name, kind), times, moment)
                if kind == FIRST_EVENT:
                    _add_to_entry(stats.total, times, moment)
                times.clear()


def _add_to_entry(entry: Any, times: Times, moment: float) -> None:
    last = entry.last_request_timestamp
    if entry.use_response_times_cache and last and int(moment) > int(last):
        # As Locust's own StatsEntry.log does, which is not called here: its charts read recent percentiles from this
        # cache.
        entry._cache_response_times(int(moment) - 1)
    entry.num_requests += times.count
    entry.num_reqs_per_sec[int(moment)] += times.count
    entry.last_request_timestamp = moment
    entry.total_response_time += times.total
    entry.total_content_length += times.bytes
    # Rounded like the percentiles: Locust limits its median, and no other percentile, to the range of these two.
    entry.max_response_time = max(entry.max_response_time, bucket(times.highest, math.ceil))
    lowest, least = entry.min_response_time, bucket(times.lowest, math.floor)
    entry.min_response_time = least if lowest is None else min(lowest, least)
    for value, count in times.counts.items():
        entry.response_times[value] += count


csv_percentiles.install()
STATISTICS: WeakKeyDictionary[Any, Statistics] = WeakKeyDictionary()  # by Locust environment
