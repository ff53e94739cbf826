"""A service that stops serving: limits, and the growth that reached one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from harness.core.cycle import Observation, Phase
from harness.core.judge.assessed import Allowed, Assessed
from harness.core.judge.counts import assess_counts
from harness.core.judge.limit import limit_of, limited
from harness.core.judge.moments import moments, served_streams
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.record import Trial
from tests.core.series import FDS, observation, trial

STREAMS = 300


def cycle(index: int, level: float, answered: int, **ledger: Any) -> Observation:
    found: dict[str, Any] = {
        "opened": STREAMS,
        "answered": answered,
        "unanswered": STREAMS - answered,
        **ledger,
    }
    return observation(index, {FDS: level}, ledger=found)


def served(answered: Sequence[int], levels: Sequence[float] = (), **ledger: Any) -> Trial:
    """Cycles of 300 streams of which so many were answered; ``ledger`` of those that hardly were."""
    seen = [
        cycle(index, (levels or [10.0] * len(answered))[index], many, **(ledger if many < 7 else {}))
        for index, many in enumerate(answered)
    ]
    return trial([], observations=seen)


@pytest.mark.parametrize(("last", "at"), [(15, 3), (16, None), (0, 3)])
def test_a_service_stops_serving_where_five_of_a_hundred_are_answered(last: int, at: int | None) -> None:
    limit = limit_of(served([300, 300, 300, last, last]))
    assert (limit and limit.cycle) == at


def test_a_limit_is_one_only_until_the_end() -> None:
    assert limit_of(served([300, 300, 0, 300, 300])) is None
    assert limit_of(served([0, 0, 0])) is None, "it never served"
    assert limit_of(served([300, 300, 300])) is None


@pytest.mark.parametrize(
    ("ledger", "happened"),
    [
        ({"statuses": {503: 300}, "unanswered": 0}, "only status 503"),
        ({"statuses": {500: 300}, "unanswered": 0}, "only status 500"),
        ({"statuses": {429: 300}, "unanswered": 0}, None),
        ({"statuses": {499: 300}, "unanswered": 0}, None),
        ({"unanswered": 200, "stalls": 100}, "no stream was answered any more"),
        ({"unanswered": 0, "causes": {"connection-refused": 300}}, "connections were refused"),
        ({"unanswered": 0, "causes": {"connection-reset": 300}}, "connections were refused"),
        ({"unanswered": 0, "causes": {"timeout": 300}}, None),
        ({"unanswered": 100, "statuses": {503: 101}}, "only status 503"),
        ({"unanswered": 102, "statuses": {503: 101}}, "no stream was answered any more"),
        ({"unanswered": 0, "stalls": 100, "statuses": {503: 200}}, "only status 503"),
    ],
)
def test_failures_of_clients_are_named(ledger: dict[str, Any], happened: str | None) -> None:
    limit = limit_of(served([300, 300, 300, 0], **ledger))
    assert (limit and limit.happened) == happened


def judged(
    grown: Sequence[float], after: float = 0.0, pool: float = 0.0, streams: int = STREAMS
) -> Assessed | None:
    """Cycles that were answered and left so much each, two that were not, and the level after those."""
    levels: list[float] = []
    for value in grown:
        levels.append((levels or [10.0])[-1] + value)
    levels += [levels[-1] + after] * 2
    counts = [streams] * len(grown) + [0, 0]
    one = trial([], observations=[cycle(index, level, many, opened=streams, unanswered=streams - many)
                                  for index, (level, many) in enumerate(zip(levels, counts, strict=True))])  # fmt: skip
    one = replace(one, initial={FDS: 10.0})
    return limited(one, moments(one), {FDS: Allowed(pool=pool)}).get(FDS)


def test_growth_until_the_limit_is_a_leak_with_its_rate() -> None:
    one = judged([300, 300, 300])
    assert one is not None
    assert (one.status, one.factor) == ("leaking", "answered")
    assert one.low <= 1.0 <= one.high
    assert "until 910, then no stream was answered any more" in one.why


@pytest.mark.parametrize(("each", "found"), [(89, False), (90, True)])
def test_growth_into_a_limit_needs_three_tenths_of_a_unit_per_stream(each: int, found: bool) -> None:
    assert (judged([each, each, each]) is not None) is found


@pytest.mark.parametrize(("pool", "found"), [(899.0, True), (900.0, False)])
def test_a_declared_pool_may_be_what_ran_out(pool: float, found: bool) -> None:
    assert (judged([300, 300, 300], pool=pool) is not None) is found


@pytest.mark.parametrize(("fall", "found"), [(89.0, True), (91.0, False)])
def test_nine_tenths_of_the_growth_stay(fall: float, found: bool) -> None:
    assert (judged([300, 300, 300], after=-fall) is not None) is found


@pytest.mark.parametrize(("off", "found"), [(65, True), (70, False)])
def test_the_streams_explain_all_but_a_seventh_of_the_growth(off: int, found: bool) -> None:
    """14.4 % and 15.6 % are left."""
    assert (judged([300 + off, 300 - off, 300]) is not None) is found


@pytest.mark.parametrize(("last", "found"), [(5, False), (6, True)])
def test_growth_that_ran_into_a_limit_is_at_least_sixteen(last: int, found: bool) -> None:
    assert (judged([5, 5, last], streams=15) is not None) is found


@pytest.mark.parametrize(
    ("grown", "status"),
    [
        (88.0, "suspected"),
        (85.0, "suspected"),
        (82.0, None),
        (96.0, "suspected"),
        (45.0, None),
        (180.0, "suspected"),
    ],
)
def test_a_pool_that_the_first_cycle_uses_up_is_a_leak_of_one_for_each_request(
    grown: float, status: str | None
) -> None:
    """90 of 100 requests reached a worker and kept it; 50 were open at once. Java's 90 workers were "stalled" alone."""
    first = observation(
        0,
        {FDS: 10.0 + grown},
        phase=Phase.WARMUP,
        opened=100,
        ledger={"opened": 100, "answered": 70, "reset": 20, "unanswered": 10, "stalls": 10},
    )
    later = [
        observation(
            i, {FDS: 10.0 + grown}, ledger={"opened": 300, "answered": 0, "unanswered": 300, "stalls": 300}
        )
        for i in (1, 2)
    ]
    seen = trial([], observations=[first, *later], initial={FDS: 10.0}, retention=60.0)
    one = assess_counts(seen)[FDS]
    assert (one.status if one.status == "suspected" else None) == status
    if status:
        assert "then no stream was answered any more" in one.why


def test_requests_that_wait_keep_no_descriptor_of_a_handler() -> None:
    """70 of 100 requests opened one each until there were none left, and 30 waited in the queue of the listener."""
    counts = {"opened": 100, "answered": 50, "reset": 20, "unanswered": 30, "stalls": 30}
    first = observation(0, {FDS: 80.0}, phase=Phase.WARMUP, opened=100, ledger=counts)
    later = observation(1, {FDS: 80.0}, ledger={"answered": 0, "unanswered": 300, "stalls": 300})
    seen = trial([], observations=[first, later], initial={FDS: 10.0}, retention=60.0)
    assert "in step with" in assess_counts(seen)[FDS].why


def test_a_pool_as_large_as_the_load_is_wide_is_none() -> None:
    """50 threads for 50 streams at once, and 50 answers: that is how a pool is filled, whatever stalled it."""
    first = observation(
        0, {FDS: 60.0}, phase=Phase.WARMUP, opened=50, ledger={"opened": 50, "answered": 50, "unanswered": 0}
    )
    later = observation(
        1, {FDS: 60.0}, ledger={"opened": 300, "answered": 0, "unanswered": 300, "stalls": 300}
    )
    seen = trial([], observations=[first, later], initial={FDS: 10.0}, retention=60.0)
    assert "in step with" not in assess_counts(seen)[FDS].why


@pytest.mark.parametrize(("answered", "found"), [(5, False), (40, False), (95, True)])
def test_threads_that_wait_for_a_lock_are_no_leak_of_the_streams_that_got_it(
    answered: int, found: bool
) -> None:
    """A server of 100 threads, which waited for a lock that one stream at a time held, was said to leak 24.75 threads
    for each of four answers. Its clients left, and its threads still waited."""
    key = Key("threads")
    counts = {"opened": 100, "answered": answered, "unanswered": 100 - answered, "stalls": 100 - answered}
    first = observation(0, {key: 105.0}, phase=Phase.WARMUP, opened=100, ledger=counts)
    later = [
        observation(i, {key: 105.0}, ledger={"opened": 300, "answered": 1, "unanswered": 299, "stalls": 299})
        for i in (1, 2)
    ]
    seen = trial([], observations=[first, *later], initial={key: 5.0}, retention=60.0)
    assert ("in step with" in assess_counts(seen)[key].why) is found


def muted(first: dict[str, Any], later: dict[str, Any], level: float, **spec: Any) -> Trial:
    """A cycle after which the level was so high, and two more that got no event; ``spec`` changes these."""
    start = observation(0, {FDS: level}, phase=Phase.WARMUP, opened=100, ledger={"opened": 100, **first})
    rest = [observation(i, {FDS: level}, ledger={"events": 0, **later}) for i in (1, 2)]
    rest = [replace(one, spec=replace(one.spec, **spec)) for one in rest]
    return trial([], observations=[start, *rest], initial={FDS: 10.0}, retention=60.0)


PART = {"answered": 80, "reset": 20, "events": 78, "stalls": 2}
MUTE = {"answered": 240, "reset": 60, "stalls": 240}


@pytest.mark.parametrize(
    ("level", "later", "spec", "found"),
    [
        (110.0, MUTE, {}, True),
        (60.0, MUTE, {}, False),  # no more than clients were open at once: a pool
        (110.0, {**MUTE, "events": 30, "stalls": 210}, {}, False),  # some still get events: it serves
        (110.0, MUTE, {"fault": "silence"}, False),  # the broker was silenced on purpose
        (110.0, MUTE, {"mode": "request"}, False),  # the answer is all that a plain request waits for
    ],
)
def test_a_pool_that_is_asked_after_the_response_head_is_a_limit_too(
    level: float, later: dict[str, Any], spec: dict[str, Any], found: bool
) -> None:
    """A FastAPI service opened a connection to Redis for each stream, of which its client allows 100. All streams were
    answered, and none got an event any more: it was "stalled", and the connections were not mentioned."""
    seen = muted(PART, later, level, **spec)
    limit = limit_of(seen)
    assert (limit and limit.happened) == (
        "no stream got an event any more" if spec == {} and level and later == MUTE else None
    )
    one = assess_counts(seen)[FDS]
    assert ("then no stream got an event any more" in one.why) is found
    if found:
        assert (one.status, round(one.rate, 2)) == ("suspected", 1.0)


def test_the_streams_that_got_an_event_count_in_the_cycle_that_reached_the_limit() -> None:
    """The second cycle found 70 of 150 connections left, although all its 240 streams were answered."""
    start = observation(0, {FDS: 90.0}, opened=100, ledger={"answered": 80, "reset": 20, "events": 80})
    full = observation(1, {FDS: 160.0}, ledger={"answered": 240, "reset": 60, "events": 70, "stalls": 170})
    rest = [observation(i, {FDS: 160.0}, ledger={**MUTE, "events": 0}) for i in (2, 3)]
    seen = trial([], observations=[start, full, *rest], initial={FDS: 10.0}, retention=60.0)
    one = assess_counts(seen)[FDS]
    assert one.why.startswith(
        "in step with the streams that got an event until 160, then no stream got an event"
    )
    assert (one.status, one.factor, round(one.rate, 2)) == ("suspected", "answered", 1.0)


@pytest.mark.parametrize(
    ("answered", "stalls", "unanswered", "events", "served"),
    [
        (240, 0, 0, 240, 240),
        (240, 240, 0, 3, 0),
        (240, 170, 0, 70, 70),
        (100, 200, 200, 100, 100),
        (50, 0, 0, 0, 0),
    ],
)
def test_a_stream_is_served_by_an_answer_and_an_event(
    answered: int, stalls: int, unanswered: int, events: int, served: int
) -> None:
    """Streams that were never answered have stalled as well. The clients of a control do not wait for an event."""
    counts = {"answered": answered, "stalls": stalls, "unanswered": unanswered, "events": events}
    assert served_streams(observation(0, {FDS: 9.0}, ledger=counts)) == served


@pytest.mark.parametrize(("eventless", "served"), [(None, 0), (0, 40), (30, 10)])
def test_streams_that_stall_between_two_events_were_served(eventless: int | None, served: int) -> None:
    """A tick of 3 s in a control of 3.1 s: all 40 streams stalled, after two events each."""
    counts = {"answered": 40, "stalls": 40, "unanswered": 0, "events": 80, "eventless": eventless}
    assert served_streams(observation(0, {FDS: 9.0}, ledger=counts)) == served


def test_a_service_that_stopped_at_its_own_limit_reaches_no_other() -> None:
    """A cap of 910 descriptors keeps it from the 20,000 of RLIMIT_NOFILE, but not from a limit that it stands at."""
    levels = [10.0, 310.0, 610.0, 910.0, 910.0, 910.0]
    stopped = served([300, 300, 300, 300, 0, 0], levels, statuses={503: 300}, unanswered=0)
    for ceiling, named in ((20_000.0, False), (920.0, True)):
        target = replace(stopped.target, limits={"RLIMIT_NOFILE": ceiling})
        [finding] = judge(replace(stopped, target=target)).findings
        assert (finding.exhausts is not None) == named, finding.explanation
        assert ("RLIMIT_NOFILE" in finding.explanation) == named
        assert "until 910, then only status 503" in finding.explanation


@pytest.mark.parametrize(
    ("last", "answered", "found"),
    [
        (400.0, 130, 1.0),  # 78 more descriptors, and 52 streams more than it could open files for
        (452.0, 130, 1.0),
        (400.0, 20, 1.0),  # 47 more of clients that waited in a queue
    ],
)
def test_the_load_that_a_limit_cuts_off_does_not_hide_the_leak(
    last: float, answered: int, found: float
) -> None:
    """A C service with RLIMIT_NOFILE of 400 was only called stalled, and 500 files of a Python service 1.27 for each
    answer."""
    loads = [(80, 93.0), (240, 333.0), (answered, last), (0, last)]
    seen = [cycle(index, level, many) for index, (many, level) in enumerate(loads)]
    seen[-1] = cycle(3, last, 2)
    one = limited(
        replace(trial([], observations=seen), initial={FDS: 13.0}),
        moments(replace(trial([], observations=seen), initial={FDS: 13.0})),
        {FDS: Allowed()},
    ).get(FDS)
    assert one is not None
    assert one.rate == pytest.approx(found, abs=0.01)


@pytest.mark.parametrize(("lasting", "found"), [(True, 1 / 12), (False, None)])
def test_blocked_workers_are_a_leak_if_the_service_stays_dead(lasting: bool, found: float | None) -> None:
    """150 workers, of which every twelfth request blocks one, and 303 clients in the queue of the last load."""
    levels = [10 + 25 * n for n in range(1, 6)]
    seen = [cycle(n, float(level), 300) for n, level in enumerate(levels)]
    seen += [cycle(5, 474.0, 168), cycle(6, 474.0, 0)]
    made = replace(trial([], observations=seen), initial={FDS: 10.0})
    one = limited(made, moments(made), {FDS: Allowed()}, lasting=lasting).get(FDS)
    assert (one and one.rate) == (found and pytest.approx(found, rel=0.01))


def test_one_load_before_the_one_that_was_cut_off_is_not_enough() -> None:
    seen = [cycle(0, 93.0, 80), cycle(1, 100.0, 240), cycle(2, 100.0, 2)]
    made = replace(trial([], observations=seen), initial={FDS: 13.0})
    assert not limited(made, moments(made), {FDS: Allowed()})


def test_a_service_that_stopped_serving_without_any_growth_reached_no_limit_of_a_count() -> None:
    made = replace(served([300, 300, 0]), initial={FDS: 10.0})
    assert not limited(made, moments(made), {FDS: Allowed()})
