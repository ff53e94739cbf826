"""Streams in Locust's statistics, as entries of their own: connect, headers, first event, gap, life.

Locust's request event costs about 10 us; thousands of streams with several times each would spend the
core on it. So times are collected here by the millisecond and poured in every second. ``life`` is the one
entry per stream: it alone counts into Locust's totals, and failures are told by their cause.
"""

from __future__ import annotations

import time
from collections import Counter as Counts
from typing import Any

from locust.stats import StatsError, bucket_response_time

from harness.swarm.order import Report

CONNECT, HEADERS, FIRST_EVENT, GAP, LIFE = "connect", "headers", "first event", "gap", "life"
IDS = "ids"
FLUSH = 1.0  # seconds between two pours
BATCH = 1024  # times, or reports, kept as they came: adding them up together costs a third


class StreamFailure(Exception):
    """A stream that failed, by its cause: Locust groups failures by this text."""


class Times:
    """Times of one entry since the last pour; milliseconds."""

    __slots__ = ("_fresh", "bytes", "count", "counts", "highest", "lowest", "total")

    def __init__(self) -> None:
        self._fresh: list[float] = []
        self.clear()

    def clear(self) -> None:
        """Nothing counted yet."""
        self.counts: Counts[int] = Counts()
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
        self.counts.update(map(int, values))
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
        self._own_listeners = 1  # Locust's own, which writes into its statistics

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
            self._of(name).first_event.add(report.first_event)

    def over(self, report: Report, name: str, *, told: bool = False) -> None:
        """One stream has ended. told: ``headed`` and ``first`` were called when it was time."""
        listeners = self._environment.events.request._handlers
        if report.cause is None and not told and len(listeners) <= self._own_listeners:
            ended = self._of(name).ended
            ended.append(report)
            if len(ended) >= BATCH:
                self._fold(name)
            return
        if not told or report.headers is None:
            self.headed(report, name)
        if not told:
            self.first(report, name)
        if report.cause is None and len(listeners) <= self._own_listeners:
            times = self._of(name).life
            times.add(report.life)
            times.bytes += report.bytes
            return
        self._environment.events.request.fire(
            request_type=LIFE,
            name=name,
            response_time=report.life * 1000.0,
            response_length=report.bytes,
            exception=StreamFailure(report.cause) if report.cause else None,
            context={"left": report.left, "events": report.events, "status": report.status},
        )

    def _fold(self, name: str) -> None:
        """The times of streams that ended well, added up together."""
        entries = self._entries[name]
        ended, entries.ended = entries.ended, []
        entries.connect.extend([report.connect for report in ended if report.connect is not None])
        entries.headers.extend([report.headers for report in ended if report.headers is not None])
        entries.first_event.extend([report.first_event for report in ended if report.first_event is not None])
        entries.life.extend([report.life for report in ended])
        entries.life.bytes += sum([report.bytes for report in ended])

    def ids(self, counter: Any, name: str, told: tuple[int, int, int] = (0, 0, 0)) -> tuple[int, int, int]:
        """Ids that were missing, came again or out of order: failures of an entry of their own.

        told: what was counted of this counter before. Returns what to give the next time.
        """
        now = (counter.missed, counter.repeated, counter.disordered)
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
                if kind == LIFE:
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
    entry.max_response_time = max(entry.max_response_time, times.highest)
    lowest = entry.min_response_time
    entry.min_response_time = times.lowest if lowest is None else min(lowest, times.lowest)
    for value, count in times.counts.items():
        entry.response_times[bucket_response_time(value)] += count
