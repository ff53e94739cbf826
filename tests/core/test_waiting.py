"""When there is time for another load, and when a wait goes on: each limit, with a run just inside and outside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from harness.core import time_left, waiting
from harness.core.cycle import Ledger, Phase
from harness.core.design import Goal
from harness.core.judge.assessed import Assessed
from harness.core.judge.caveat import caveat_of
from harness.core.judge.memory import MEMORY
from harness.core.judge.moments import moments
from harness.core.judge.one_count import MAX_CACHE_ENTRIES
from harness.core.judge.retained import retained
from harness.core.judge.retention import IdleEvidence, Release
from harness.core.metric import Key
from harness.core.plan import next_step
from harness.core.record import Trial
from tests.core.series import FDS, OBJECTS, observation, trial

THREADS = Key("threads")
GOAL = Goal(300, 50, 1.0, ("/",), disconnect="mixed", max_seconds=120.0, retention=60.0)


def released(after: float, status: str = "undecided", *, over: bool = True) -> Assessed:
    """A count that was released so many seconds after the last client. over: everything was seen to be released."""
    found = IdleEvidence(61.0, 100.0, 100.0, 10.0, release=Release(100.0, after, over=over), drained=(2,))
    return Assessed(status, 1.0, "it fell", 0.0, 3000.0, growing=status != "bounded", idle_evidence=found)


@pytest.mark.parametrize(
    ("cycles", "after", "over", "status", "enough"),
    [
        (20, 6.0, False, "undecided", True),
        (20, 6.1, False, "undecided", False),
        (20, 6.1, True, "undecided", True),
        (20, 6.1, False, "bounded", True),
        (20, 35.0, True, "undecided", False),
        (15, 6.1, False, "undecided", True),
    ],
)
def test_what_is_released_within_a_known_time_needs_no_whole_wait(
    cycles: int, after: float, over: bool, status: str, enough: bool
) -> None:
    """Cycles of 3 s: after 20 of them 60 s are left, and after 15 of them 75 s, but a whole wait needs 68 s. A healthy
    Go service that wrote every 5 s was inconclusive after 53 of 120 s."""
    seen = trial([10.0] * (cycles - 3), retention=60.0)
    seen = replace(seen, observations=seen.observations[:cycles])
    assert time_left.time_for_load(seen, GOAL, {THREADS: released(after, status, over=over)}) is enough


def test_another_load_follows_where_only_idle_threads_end_late() -> None:
    """Ruby keeps idle threads for 3 s. A service whose memory grew was left alone for the second half of its time."""
    cycles = [(Phase.WARMUP, 300, 50.0)] * 3
    for _ in range(6):
        cycles += [(Phase.LOAD, 1000, 50.0), *[(Phase.IDLE, 0, 10.0)] * 2]
    opened, seen = 0, []
    for index, (phase, streams, threads) in enumerate(cycles):
        opened += streams
        levels = {FDS: 6.0, THREADS: threads, MEMORY: 2e7 + 5000.0 * opened}
        seen.append(observation(index, levels, phase=phase, opened=streams))
    first = {FDS: 6.0, THREADS: 10.0, MEMORY: 2e7}
    step = next_step(replace(trial([], retention=60.0, observations=seen), initial=first), GOAL)
    assert getattr(step, "phase", None) is Phase.LOAD, step


def decaying(halves: Sequence[float]) -> Trial:
    """A load that leaves 1,010 descriptors, which fall to the levels of ``halves``, read every 3 s."""
    loads = [(Phase.WARMUP, 300, 10.0), (Phase.LOAD, 1000, 1010.0)]
    rest = [(Phase.RETENTION, 0, level) for level in halves]
    cycles = [
        observation(index, {FDS: level}, phase=phase, opened=opened)
        for index, (phase, opened, level) in enumerate([*loads, *rest])
    ]
    return replace(trial([], retention=60.0, observations=cycles), initial={FDS: 10.0})


@pytest.mark.parametrize(
    ("readings", "goes_on"), [([24.0] * 5 + [20.0], True), ([24.0] + [20.0] * 6, False), ([20.0] * 6, False)]
)
def test_a_wait_goes_on_while_a_pool_still_shrinks(readings: Sequence[float], goes_on: bool) -> None:
    """The last quarter of the wait of a minute has six readings."""
    seen = decaying([500.0] * 10 + [40.0] * 6 + list(readings))
    step = waiting.confirm_retained(seen, replace(GOAL, vary=False), {}, {FDS: released(50.0)})
    assert (getattr(step, "phase", None) is Phase.RETENTION) is goes_on, step


@pytest.mark.parametrize(
    ("total", "constant", "factor", "streams"),
    [
        (160.0, False, "connection", 3_200.0),
        (400.0, False, "connection", 8_000.0),
        (501.0, False, "answered", 10_000.0),
        (400.0, True, "connection", 3_200.0),
        (400.0, False, "abort", 3_200.0),
    ],
)
def test_uneven_growth_gets_more_streams_before_a_wait(
    total: float, constant: bool, factor: str, streams: float
) -> None:
    """State for each of 1,900 tenants grew by 0.4 per stream, and unevenly, when the wait began."""
    one = Assessed("suspected", 1.0, "", total, 2000.0, factor, constant=constant)
    assert waiting._streams_before_wait(trial([10.0] * 8), {FDS: one}, {}) == streams
    swept = trial([110.0, 210.0, 206.0, 306.0])
    assert waiting._streams_before_wait(swept, {FDS: one}, {}) == 3_200.0, "state of tenants does not fall"
    assert waiting._streams_before_wait(trial([110.0, 107.0, 210.0, 306.0]), {FDS: one}, {}) == streams, (
        "jitter"
    )


@pytest.mark.parametrize(
    ("levels", "slower"),
    [([110.0, 210.0, 290.0, 370.0], False), ([110.0, 210.0, 260.0, 320.0], True), ([400.0] * 4, True)],
)
def test_growth_that_slows_down_gets_still_more_streams_before_a_wait(
    levels: list[float], slower: bool
) -> None:
    """After 10,000 streams the rate of 3,500 tenants had fallen to a third."""
    one = Assessed("suspected", 1.0, "", 300.0, 2000.0, "connection")
    assert (waiting._streams_before_wait(trial(levels), {FDS: one}, {}) == 20_000.0) is slower


@pytest.mark.parametrize(
    ("key", "streams"),
    [(OBJECTS, MAX_CACHE_ENTRIES), (Key("memory", "heap-bytes"), MAX_CACHE_ENTRIES), (FDS, 3_200.0)],
)
def test_what_remains_after_a_release_is_no_cache_once_more_streams_were_served(
    key: Key, streams: float
) -> None:
    """A Java service left one object for each of 4,050 streams, beside what its idle threads released: 46 too few."""
    assert waiting._streams_before_wait(trial([10.0] * 8), {}, {key: released(6.0)}) == streams


@pytest.mark.parametrize(("closed", "settle"), [(33.0, False), (33.1, True)])
def test_a_late_release_is_no_connection_that_was_noticed_late(closed: float, settle: bool) -> None:
    seen = trial([10.0] * 8, retention=60.0)
    slow = [replace(one, close_lag=closed) for one in seen.observations]
    caveat = caveat_of(replace(seen, observations=slow), {FDS: released(30.0)})
    assert caveat is not None
    assert ("--settle" in caveat.advice) is settle, caveat


# Threads of a cached pool of Java after each load, and how many streams that had: a thread comes when all are busy.
CACHED_POOL = (
    (300, 133.0), (300, 156.0), (150, 156.0), (525, 156.0), (300, 305.0), (874, 305.0), (1748, 456.0), (50, 456.0),
    (2195, 684.0), (2195, 775.0), (1191, 946.0),
)  # fmt: skip


def rested(seconds: int, *, constant: bool) -> str:
    """The status of threads that came with loads of 5 s, certain growth, after so many seconds without clients."""
    cycles = [
        (Phase.LOAD if index else Phase.WARMUP, opened, level)
        for index, (opened, level) in enumerate(CACHED_POOL)
    ]
    seen = [
        replace(
            observation(n, {THREADS: level}, phase=phase, opened=opened),
            started=5.0 * n,
            ended=5.0 * n + 5.0,
            load_ended=5.0 * n + 4.0,
        )
        for n, (phase, opened, level) in enumerate(cycles)
    ]
    for n in range(seconds // 3):
        idle = observation(len(seen), {THREADS: CACHED_POOL[-1][1]}, phase=Phase.RETENTION, opened=0)
        start = 5.0 * len(cycles) + 3.0 * n
        seen.append(replace(idle, ledger=Ledger(), started=start, load_ended=start, ended=start + 3.0))
    now = replace(trial([], retention=60.0, observations=seen), initial={THREADS: 26.0})
    one = Assessed("leaking", 0.2, "grew", 813.0, 9_000.0, "connection", rate=0.09, constant=constant)
    return retained(now, moments(now), THREADS, one).status


def test_threads_of_a_pool_are_no_leak_before_all_of_them_were_idle_for_the_retention_time() -> None:
    """A cached pool of Java had 813 threads more, which end after 60 s. They were a leak after 25 s without clients."""
    assert rested(27, constant=False) == "suspected"
    assert rested(66, constant=False) == "leaking"
    assert rested(27, constant=True) == "leaking", "as many for each stream: none is used again"


def test_idle_cpu_below_that_of_the_warm_up_starts_no_wait() -> None:
    """The compilers of a JVM worked until the second load. The run then waited for the release of what was not there,
    500 streams before there were enough to rule out a cache."""
    seen, opened = [], 0
    cycles = [
        (100, 0.008),
        (300, 0.239),
        (300, 0.014),
        (534, 0.025),
        (1429, 0.039),
        (997, 0.031),
        (300, 0.048),
    ]
    for n, (streams, cpu) in enumerate(cycles):
        opened += streams
        levels = {FDS: 86.0, Key("idle-cpu"): cpu, OBJECTS: 3e5 + 170.0 * opened}
        phase = Phase.LOAD if n > 1 else Phase.WARMUP
        seen.append(observation(n, levels, phase=phase, opened=streams))
    now = replace(trial([], retention=60.0, observations=seen), initial={FDS: 86.0, OBJECTS: 3e5})
    step = next_step(now, GOAL)
    assert getattr(step, "phase", None) is not Phase.RETENTION, step
