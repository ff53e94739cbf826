"""The cycles of a plan: size, duration, concurrency, and which cycles do not count."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from harness.core import design
from harness.core.cycle import CycleSpec, Observation, Phase
from harness.core.metric import Key
from harness.core.plan import Goal
from harness.core.record import TargetInfo, Trial
from tests.core.series import FDS, observation, trial

GOAL = Goal(
    300, 50, 1.0, ("/a", "/b"), events=2, disconnect="mixed", mode="stream", invalid=0.1, idle_cycles=2
)
CPU, ANONYMOUS = Key("idle-cpu"), Key("memory", "anonymous")


def cycle(
    index: int,
    opened: int = 300,
    *,
    phase: Phase = Phase.LOAD,
    seconds: float = 1.0,
    levels: Mapping[Key, float] | None = None,
    ledger: Mapping[str, float | None] | None = None,
    **spec: Any,
) -> Observation:
    """A cycle that loads for ``seconds``, and rests for 2 s."""
    did = {"opened": opened, "seconds": seconds, "answered": opened, **(ledger or {})}
    one = observation(index, levels or {FDS: 10.0}, phase=phase, opened=opened, ledger=did)
    return replace(
        one,
        spec=replace(one.spec, connections=opened, **spec),
        load_ended=one.started + seconds,
        ended=one.started + seconds + 2.0,
    )


def seen(*cycles: Observation, limits: Mapping[str, float] | None = None) -> Trial:
    target = TargetInfo(("service",), "http://127.0.0.1:1/", 1, limits=limits or {})
    return replace(trial([], observations=list(cycles)), target=target)


def test_a_plain_cycle_is_as_requested() -> None:
    assert design.ordinary_cycle(seen(cycle(0), cycle(1)), GOAL, Phase.HOLD) == CycleSpec(
        2, 300, 50, 1.0, 2, "mixed", ("/a", "/b"), Phase.HOLD, "stream", invalid=0.1
    )


@pytest.mark.parametrize(
    ("p99s", "dwell"),
    [
        ((0.1, 0.02), 0.5), ((0.01,), design.MIN_DWELL), ((0.06,), 0.3), ((0.061,), 0.305), ((0.5,), 1.0),
        ((None, 0.1), 0.5), ((None,), 1.0),
    ],
)  # fmt: skip
def test_a_cycle_with_a_short_dwell_lasts_five_times_the_slowest_first_event(
    p99s: tuple[float | None, ...], dwell: float
) -> None:
    now = seen(*(cycle(n, ledger={"first_event_p99": p99}) for n, p99 in enumerate(p99s)))
    assert design.short_dwell_cycle(now, GOAL, Phase.LOAD).dwell == pytest.approx(dwell)
    assert design.short_dwell_cycle(now, replace(GOAL, vary=False), Phase.LOAD).dwell == 1.0
    assert design.short_dwell_cycle(now, replace(GOAL, disconnect="stall"), Phase.LOAD).dwell == 1.0


def test_the_first_cycle_dwells_for_a_second_at_most() -> None:
    assert design.short_dwell_cycle(seen(), replace(GOAL, dwell=4.0), Phase.WARMUP).dwell == 1.0
    assert design.short_dwell_cycle(seen(cycle(0)), replace(GOAL, dwell=4.0), Phase.WARMUP).dwell == 4.0
    assert design.short_dwell_cycle(seen(), replace(GOAL, dwell=0.5), Phase.WARMUP).dwell == 0.5
    traced = cycle(0, phase=Phase.SEARCH, ledger={"first_event_p99": 0.02})
    assert design.short_dwell_cycle(seen(traced), replace(GOAL, dwell=4.0), Phase.LOAD).dwell == 4.0, (
        "tracing slows a service"
    )


def test_controls_are_as_long_as_the_last_two_loads() -> None:
    now = seen(cycle(0, seconds=9.0), cycle(1, seconds=2.0), cycle(2, 0, phase=Phase.IDLE), cycle(3, seconds=4.0),
               cycle(4, seconds=7.0, phase=Phase.HOLD), cycle(5, seconds=8.0, phase=Phase.ATTRIBUTION))  # fmt: skip
    assert design.load_seconds(now) == 3.0
    step = design.idle_control(now, GOAL)
    assert (step.connections, step.dwell, step.phase, step.index) == (0, 3.0, Phase.IDLE, 6)
    assert design.load_seconds(seen(cycle(0, seconds=0.1))) == 0.5
    assert design.load_seconds(seen(cycle(0, seconds=30.0))) == design.MAX_CONTROL
    assert design.load_seconds(seen()) == 1.0
    unknown = replace(cycle(0, seconds=1.0), load_ended=None)
    assert design.load_seconds(seen(unknown)) == 3.0, "the whole cycle where the end of its load is not known"


@pytest.mark.parametrize(
    ("idle", "dwell"), [(2.0, 1.0), (16.0, 1.0), (25.0, 1.5), (60.0, 3.6), (70.0, 4.0), (500.0, 4.0)]
)
def test_readings_of_an_idle_service_are_close_to_each_other_at_first(idle: float, dwell: float) -> None:
    first = cycle(0, seconds=1.0)
    later = replace(cycle(1, 0, phase=Phase.RETENTION), ended=1.0 + idle)
    step = design.idle_reading(seen(first, later), GOAL)
    assert (step.dwell, step.connections, step.phase) == (pytest.approx(dwell), 0, Phase.RETENTION)
    ended = design.idle_reading(
        seen(replace(first, load_ended=None, ended=3.0), replace(later, ended=3.0 + idle)), GOAL
    )
    assert ended.dwell == pytest.approx(dwell)


def test_a_burst_is_as_wide_as_it_is_large() -> None:
    step = design.burst_load(seen(cycle(0)), GOAL)
    assert (step.connections, step.concurrency, step.disconnect, step.phase) == (50, 50, "fin", Phase.LOAD)
    assert design.burst_load(seen(), replace(GOAL, connections=20, disconnect="rst")).connections == 20
    assert design.burst_load(seen(), replace(GOAL, disconnect="rst")).disconnect == "rst"
    assert design.burst_load(seen(), replace(GOAL, concurrency=0)).connections == 1


def test_sizes_of_the_half_the_few_and_the_longest_load() -> None:
    now = seen(cycle(0, seconds=0.5))
    half, few, long = (
        design.half_load(now, GOAL),
        design.few_streams_control(now, GOAL),
        design.longest_burst(now, GOAL),
    )
    assert (half.connections, half.disconnect, half.concurrency) == (150, "fin", 50)
    assert design.half_load(now, replace(GOAL, connections=1, disconnect="rst")).connections == 1
    assert design.half_load(now, replace(GOAL, disconnect="rst")).disconnect == "rst"
    assert (few.connections, few.concurrency, few.dwell, few.events, few.phase) == (
        50, 50, 0.5, 0, Phase.ATTRIBUTION)  # fmt: skip
    assert design.few_streams_control(now, replace(GOAL, connections=7)).connections == 7
    assert (long.connections, long.concurrency, long.disconnect) == (int(design.POOL_LOAD * 600), 50, "fin")
    assert design.longest_burst(seen(cycle(0, seconds=0.001)), GOAL).connections == design.MAX_CONNECTIONS
    assert design.longest_burst(seen(cycle(0, 10, seconds=1.0)), GOAL).connections == 300
    assert design.longest_burst(now, replace(GOAL, disconnect="rst")).disconnect == "rst"


@pytest.mark.parametrize(
    ("sizes", "seconds", "size"),
    [
        ((300,), 1.0, 600), ((300, 500), 1.0, 1000), ((300, 600), 0.1, 1200), ((600,), 3.0, 1200), ((600,), 4.0, 900),
        ((50,), 1.0, 300), ((15_000,), 0.1, 20_000), ((), 1.0, 300),
    ],
)  # fmt: skip
def test_a_large_load_is_twice_the_largest_as_far_as_it_stays_short(
    sizes: tuple[int, ...], seconds: float, size: int
) -> None:
    now = seen(*(cycle(n, opened, seconds=seconds) for n, opened in enumerate(sizes)))
    assert design.large_load(now, GOAL).connections == size
    assert design.large_load(now, replace(GOAL, vary=False)).connections == 300


def test_the_third_load_is_half_as_wide() -> None:
    widths = [
        design.large_load(
            seen(cycle(0, phase=Phase.WARMUP), *(cycle(n + 1) for n in range(loads))), GOAL
        ).concurrency
        for loads in range(5)
    ]
    assert widths == [50, 50, 25, 50, 50]
    assert design.streams_at_once(seen(cycle(0), cycle(1)), replace(GOAL, concurrency=1)) == 1
    assert design.large_load(seen(cycle(0)), GOAL, "rst").disconnect == "rst"
    assert design.large_load(seen(cycle(0)), GOAL).disconnect == "mixed"


def test_cycles_that_distinguish_drivers() -> None:
    now = seen(cycle(0))
    assert [(step.connections, step.disconnect, step.events, step.fault, step.phase) for step in (
        design.one_disconnect_control(now, GOAL, "rst"), design.one_disconnect_control(now, GOAL, "stall"),
        design.more_events_control(now, GOAL), design.silent_broker_control(now, GOAL),
    )] == [
        (300, "rst", 2, "", Phase.ATTRIBUTION), (100, "stall", 2, "", Phase.ATTRIBUTION),
        (150, "fin", 6, "", Phase.ATTRIBUTION), (300, "mixed", 2, "silence", Phase.ATTRIBUTION),
    ]  # fmt: skip
    small = replace(GOAL, connections=1, events=0)
    assert design.one_disconnect_control(now, small, "stall").connections == 1
    assert (
        design.more_events_control(now, small).connections,
        design.more_events_control(now, small).events,
    ) == (1, 3)


def test_the_pace_is_the_slowest_of_the_last_three_loads_that_ended_alike() -> None:
    now = seen(
        cycle(0, 300, seconds=6.0), cycle(1, 300, seconds=1.0), cycle(2, 300, seconds=2.0), cycle(3, 300, seconds=1.5),
        cycle(4, 300, seconds=3.0, disconnect="rst"), cycle(5, 300, seconds=60.0, events=3),
        cycle(6, 300, seconds=60.0, events=0), cycle(7, 300, seconds=60.0, phase=Phase.SEARCH),
        cycle(8, 0, seconds=9.0),
    )  # fmt: skip
    assert design.connections_per_second(now, "fin") == 150.0
    assert design.connections_per_second(now, "rst") == 100.0
    assert design.connections_per_second(now, "stall") == 100.0, "of all where none ended so"
    assert design.connections_per_second(seen(), "fin") == math.inf
    assert design.connections_per_second(seen(cycle(0, seconds=0.0)), "fin") == math.inf


def test_a_certifying_load_brings_what_is_missing() -> None:
    now = seen(cycle(0, phase=Phase.WARMUP), cycle(1), cycle(2))
    step = design.certifying_load(now, GOAL, 2000.0)
    assert step is not None
    # 1,400 streams are missing, and a fifth more are reset before their answer; at 300 a second 1,800 fit into 6 s.
    assert (step.connections, step.disconnect, step.phase) == (1400, "fin", Phase.LOAD)
    assert design.certifying_load(now, GOAL, 600.0) is None
    less = design.certifying_load(now, GOAL, 601.0)
    assert less is not None
    assert less.connections == 300
    most = design.certifying_load(now, replace(GOAL, disconnect="rst"), 1e6)
    assert most is not None
    assert (most.connections, most.disconnect) == (1800, "rst")
    traced = seen(cycle(0), cycle(1, phase=Phase.SEARCH))
    more = design.certifying_load(traced, GOAL, 1000.0)
    assert more is not None
    assert more.connections == 700, "streams of a search are no evidence"


def test_a_slow_service_gets_an_ordinary_load_to_certify_it() -> None:
    """php-fpm with 20 workers answered 28 streams a second. The run ended for want of room below its ceilings, it said,
    although an ordinary load of 11 s would have fitted in."""
    step = design.certifying_load(seen(cycle(0, seconds=11.0)), GOAL, math.inf)
    assert step is not None
    assert step.connections == GOAL.connections


@pytest.mark.parametrize(("answered", "size"), [(300, 700), (240, 700), (150, 1000), (0, 1800)])
def test_a_certifying_load_allows_for_what_is_refused(answered: int, size: int) -> None:
    now = seen(cycle(0, ledger={"answered": answered}))
    step = design.certifying_load(now, GOAL, 700.0 + answered)
    assert step is not None
    assert step.connections == size


@pytest.mark.parametrize(
    ("levels", "limits", "size"),
    [
        ([{FDS: 10.0}, {FDS: 310.0}], {"RLIMIT_NOFILE": 3510.0}, 800),  # a quarter of the 3,200 that are left
        ([{FDS: 10.0}, {FDS: 310.0}], {"RLIMIT_NOFILE": 1510.0}, 300),
        ([{FDS: 10.0}, {FDS: 310.0}], {"RLIMIT_NOFILE": 1500.0}, None),
        ([{FDS: 10.0}, {FDS: 310.0}], {"RLIMIT_NOFILE": math.inf}, 1800),
        ([{Key("threads"): 1.0}, {Key("threads"): 301.0}], {"pids.max": 2701.0}, 600),
        ([{ANONYMOUS: 0.0}, {ANONYMOUS: 300.0 * (1 << 19)}], {}, 512),
        ([{CPU: 0.0}, {CPU: 0.1}], {}, 450),
        ([{CPU: 0.2}, {CPU: 0.1}], {}, 1800),
    ],
)
def test_a_certifying_load_leaves_room_below_the_ceilings(
    levels: list[dict[Key, float]], limits: dict[str, float], size: int | None
) -> None:
    now = seen(*(cycle(n, levels=each) for n, each in enumerate(levels)), limits=limits)
    step = design.certifying_load(now, GOAL, 1e6)
    assert (step.connections if step else None) == size


def test_times_begin_with_the_first_cycle_or_with_the_service() -> None:
    now = seen(replace(cycle(0), started=5.0), cycle(1), cycle(2))
    assert now.observations[-1].ended == 9.0
    assert (
        design.elapsed_seconds(now),
        design.spent_seconds(now),
        design.spent_seconds(replace(now, started=7.0)),
    ) == (
        4.0,
        9.0,
        4.0,
    )
    assert (design.elapsed_seconds(seen()), design.spent_seconds(seen())) == (0.0, 0.0)


def test_a_cycle_is_estimated_by_the_longest_recent_one_or_its_dwell_and_rest() -> None:
    past = [cycle(n, seconds=seconds) for n, seconds in enumerate((90.0, 1.0, 4.0, 2.0, 1.0))]
    step = CycleSpec(5, 300, 50, 8.0)
    assert design.longest_cycle_seconds(past) == 6.0
    assert design.longest_cycle_seconds([]) == 0.0
    assert design.expected_seconds(past, step) == 6.0
    assert design.expected_seconds(past, replace(step, connections=0)) == 10.0
    assert design.expected_seconds(past, replace(step, events=0)) == 10.0
    assert design.expected_seconds(past, replace(step, events=0, dwell=1.0)) == 6.0
    traced = cycle(9, seconds=50.0, phase=Phase.SEARCH)
    assert design.expected_seconds([*past, traced], step) == 6.0
    assert design.expected_seconds([traced], step) == 52.0
    unknown = [replace(one, load_ended=None) for one in past]
    assert design.expected_seconds(unknown, replace(step, connections=0)) == 8.0
    # A hold of a minute: the next one takes its own time, and as much longer as that one did.
    held = cycle(9, seconds=62.0, phase=Phase.HOLD)
    held = replace(held, spec=replace(held.spec, dwell=60.0))
    hold = replace(step, phase=Phase.HOLD, events=0, dwell=14.0)
    assert design.expected_seconds([*past, held], hold) == 14.0 + (held.ended - held.started - 60.0)
    assert design.expected_seconds([*past, held], step) == 6.0
