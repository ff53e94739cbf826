"""Times of streams as a Locust user reads them: consistent percentiles, one response per stream."""

from __future__ import annotations

import csv
import io
import math
import random
from bisect import bisect_left
from types import SimpleNamespace
from typing import Any

import pytest
from locust.event import EventHook
from locust.stats import RequestStats, StatsCSV

from harness.http import causes
from harness.swarm.statistics import BOUNDS, BUCKETS, CONNECT, FIRST_EVENT, LIFE, Statistics, Times, bucket
from harness.swarm.stream_spec import Report, StreamSpec

NAME = "/events"


def environment() -> Any:
    return SimpleNamespace(stats=RequestStats(), events=SimpleNamespace(request=EventHook()))


def report(cause: str | None = None, *, cut: bool = False, first_event: float | None = 0.02) -> Report:
    return Report(
        StreamSpec(NAME),
        connect=0.0003,
        headers=0.01,
        first_event=first_event,
        life=1.5,
        cause=cause,
        cut=cut,
    )


@pytest.mark.parametrize("highest", [0.0004, 0.02, 0.8, 40.0])
def test_percentiles_never_fall(highest: float) -> None:
    """Times from a tenth of the highest on: minimum, percentiles and maximum are in order."""
    statistics = Statistics(environment())
    rng = random.Random(1)
    times = statistics.times(CONNECT, NAME)
    for _ in range(500):
        times.add(rng.uniform(highest / 10, highest))
    statistics.flush()
    entry = statistics._environment.stats.get(NAME, CONNECT)
    shares = [0.0, 0.1, 0.5, 0.66, 0.9, 0.95, 0.99, 1.0]
    levels = [entry.get_response_time_percentile(share) for share in shares]
    levels = [entry.min_response_time, *levels, entry.max_response_time]
    assert levels == sorted(levels)
    assert entry.min_response_time <= entry.median_response_time <= entry.get_response_time_percentile(0.95)
    assert entry.median_response_time == pytest.approx(highest * 550, rel=0.15)
    assert entry.num_requests == 500


@pytest.mark.parametrize(
    ("milliseconds", "shown"), [(0.2341, 0.23), (4.56, 4.6), (147, 150), (58760, 59000), (0, 0)]
)
def test_times_keep_two_digits(milliseconds: float, shown: float) -> None:
    assert bucket(milliseconds) == shown
    assert bucket(shown, math.floor) == bucket(shown, math.ceil) == shown
    assert bucket(milliseconds, math.floor) <= milliseconds <= bucket(milliseconds, math.ceil)


def test_a_counted_time_is_shown_as_its_bucket() -> None:
    """By a table, which is faster: as near as the computed one, for short times and some longer ones."""
    rng = random.Random(2)
    for microseconds in (
        *range(20_000),
        *(rng.randrange(10**9) for _ in range(20_000)),
        315_360_000_000_000,
    ):
        milliseconds = microseconds / 1000
        found = BUCKETS[bisect_left(BOUNDS, milliseconds)]
        # Halfway between two, either is as near.
        nearest = abs(bucket(milliseconds) - milliseconds)
        assert abs(found - milliseconds) == pytest.approx(nearest, rel=1e-6, abs=1e-12), milliseconds


def test_the_table_is_what_times_are_counted_by() -> None:
    times = Times()
    for seconds in (0.0, 0.0002341, 0.00456, 0.147, 58.76):
        times.add(seconds)
    times.fold()
    assert times.counts == {0.0: 1, 0.23: 1, 4.6: 1, 150.0: 1, 59000.0: 1}


@pytest.mark.parametrize("reported", [False, True])
@pytest.mark.parametrize(
    ("ended", "counts"),
    [  # (responses, failed responses, lives, failed lives, all requests, all failures)
        (report(), (1, 0, 1, 0, 1, 0)),
        (report("stalled"), (1, 0, 1, 1, 1, 1)),
        (report("refused", first_event=None), (1, 1, 0, 0, 1, 1)),
        (report(cut=True), (1, 0, 0, 0, 1, 0)),
        (report(causes.CANCELLED), (1, 0, 0, 0, 1, 0)),
        (report(first_event=None), (0, 0, 1, 0, 0, 0)),
        (report(cut=True, first_event=None), (0, 0, 0, 0, 0, 0)),
    ],
)
def test_the_first_event_is_the_response(ended: Report, counts: tuple[int, ...], reported: bool) -> None:
    statistics = Statistics(environment())
    if reported:
        statistics.on_head(ended, NAME)
        statistics.on_first_event(ended, NAME)
    statistics.on_closed(ended, NAME, reported=reported)
    statistics.flush()
    stats = statistics._environment.stats
    first, life, total = stats.get(NAME, FIRST_EVENT), stats.get(NAME, LIFE), stats.total
    assert (
        first.num_requests, first.num_failures, life.num_requests, life.num_failures,
        total.num_requests, total.num_failures,
    ) == counts  # fmt: skip
    assert stats.get(NAME, CONNECT).num_requests == 1


def test_listeners_are_called_for_the_first_event_and_for_the_end() -> None:
    """Also those that were added before Locust's own."""
    found: list[tuple[str, float, bool]] = []
    statistics = Statistics(environment())
    request = statistics._environment.events.request
    request.add_listener(
        lambda request_type, response_time, exception, **_: found.append(
            (request_type, response_time, exception is not None)
        )
    )
    statistics.on_closed(report(), NAME)
    statistics.on_closed(report("refused", first_event=None), NAME)
    statistics.on_closed(report(cut=True), NAME)
    statistics.on_closed(report("stalled"), NAME)
    statistics.on_closed(report(causes.CANCELLED), NAME)
    assert found == [
        (FIRST_EVENT, 20.0, False), (LIFE, 1500.0, False), (FIRST_EVENT, 1500.0, True), (FIRST_EVENT, 20.0, False),
        (FIRST_EVENT, 20.0, False), (LIFE, 1500.0, True), (FIRST_EVENT, 20.0, False),
    ]  # fmt: skip


def test_percentiles_in_the_csv_files_are_those_of_the_table() -> None:
    where = environment()
    statistics = Statistics(where)
    for number in range(1, 101):
        statistics.times("connect", "/events").add(number * 1e-5)  # 0.01 to 1 ms
        statistics.times("life", "/events").add(2.0)
    statistics.flush()
    file = io.StringIO()
    StatsCSV(where, [0.5, 0.95, 1.0]).requests_csv(csv.writer(file))
    rows = {row["Type"]: row for row in csv.DictReader(file.getvalue().splitlines())}
    connect = rows["connect"]
    assert 0 < float(connect["Min Response Time"]) <= float(connect["50%"]) < float(connect["95%"])
    assert float(connect["50%"]) == float(connect["Median Response Time"])
    assert float(connect["95%"]) <= float(connect["100%"]) <= float(connect["Max Response Time"])
    assert (rows["life"]["50%"], rows["life"]["100%"]) == ("2000", "2000"), "whole numbers stay whole"
