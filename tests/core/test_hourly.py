"""Bounds per hour in the verdict of a soak, and how often a pass misses a leak."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest

from harness.core.cycle import Phase
from harness.core.history import measured
from harness.core.judge.bounds import per_hour
from harness.core.judge.hourly import so_far
from harness.core.judge.moment import Moment
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.plan import Goal
from harness.core.record import About, Trial
from harness.core.verdict import Bound, Outcome
from tests.core.series import FDS, play, trial

ANONYMOUS = Key("memory", "anonymous")
TASKS = Key("tasks", "asyncio-task")
GOAL = Goal(connections=300, concurrency=50, dwell=1.0, paths=("/",), max_seconds=120.0)


def soaked(**more: object) -> Trial:
    """A flat service over 35 cycles of three seconds."""
    steady = trial([10.0] * 32)
    levels = {FDS: 10.0, Key("fds", "eventfd"): 1.0, Key("threads"): 4.0, TASKS: 2.0, ANONYMOUS: 20e6}
    seen = [replace(one, levels=levels) for one in steady.observations]
    return replace(steady, observations=tuple(seen), about=About(soak=True, **more))


def test_a_soak_bounds_every_metric_per_hour() -> None:
    verdict = judge(soaked())
    assert verdict.outcome is Outcome.BOUNDED
    found = re.search(r"over (\d+) s at most (.*) per hour \(95 %\)$", verdict.explanation)
    assert found
    seconds = float(found[1])
    assert seconds == pytest.approx(96, abs=3), "from the first level after the warm-up"
    rate = f"{3 / ((seconds + 6) / 3600):,.0f}"  # no count grew in the warm-up either
    memory = f"{(1 << 20) / (seconds / 3600) / 1e6:.3g} MB"
    assert (
        found[2] == f"{rate} fds, {memory} of memory/anonymous, {rate} tasks/asyncio-task and {rate} threads"
    )


def test_an_interrupted_run_reports_its_bounds_so_far() -> None:
    for about in (About(soak=True), About()):
        verdict = judge(replace(soaked(), interrupted=True, about=about))
        assert verdict.outcome is Outcome.INCONCLUSIVE
        assert re.fullmatch(
            r"the run was interrupted; no growth over 9,600 connections: at most 0\.00031 per connection \(95 %\); "
            r"over \d+ s at most .* per hour \(95 %\)",
            verdict.explanation,
        )


def test_a_guard_that_ran_to_its_end_gives_no_list_of_hours() -> None:
    assert "threads per hour" not in judge(replace(soaked(), about=About())).explanation


def test_an_interruption_before_the_first_cycle_has_shown_nothing() -> None:
    verdict = judge(trial([], warmup=(), interrupted=True))
    assert verdict.explanation == "the run was interrupted"


def test_a_soak_that_leaks_reports_it_first() -> None:
    seen = replace(trial([10.0 + 300 * n for n in range(12)]), about=About(soak=True))
    assert "per hour (95 %)" not in judge(seen).explanation


@pytest.mark.parametrize(("seconds", "words"), [(96.0, "96 s"), (1500.0, "25.0 minutes"), (28800.0, "8.0 h")])
def test_times_have_the_unit_that_fits(seconds: float, words: str) -> None:
    text = so_far([Bound("fds", "", "bounded", 0.375, "fds/hour")], seconds)
    assert text == f"over {words} at most 0.38 fds per hour (95 %)"


def test_more_time_for_a_soak_is_its_duration() -> None:
    rising = [10.0 + n for n in range(12)]
    assert "--max-time" in judge(trial(rising)).advice
    assert "--duration" in judge(replace(trial(rising), about=About(soak=True))).advice


@pytest.mark.parametrize(
    ("cycles", "odds"),
    [(10, r"one of 20 runs"), (21, r"one of 5\d\d runs"), (30, "fewer than one of 1,000 runs")],
)
def test_a_pass_states_how_often_it_misses_a_leak_of_the_required_size(cycles: int, odds: str) -> None:
    verdict = judge(trial([10.0] * cycles))
    assert verdict.outcome is Outcome.BOUNDED
    assert re.search(f"a leak of 0.001 per stream would have been missed in {odds}", verdict.explanation)
    (bound,) = (one for one in verdict.bounds if one.unit == "fds/answered-stream")
    assert bound.missed == pytest.approx(2.718281828 ** (-3 * 0.001 / bound.at_most), rel=1e-3)
    assert re.search(odds, bound.explanation)


def test_after_growth_or_without_a_pass_nothing_is_reported_of_misses() -> None:
    filled = judge(trial([30.0, 74.0] + [74.0] * 20))
    (bound,) = (one for one in filled.bounds if one.unit == "fds/answered-stream")
    assert (bound.status, bound.missed) == ("retention", None)
    assert "missed" not in filled.explanation
    short = judge(trial([10.0] * 3))
    assert short.outcome is Outcome.INCONCLUSIVE
    assert all(one.missed is None for one in short.bounds)


def test_a_metric_is_compared_by_its_bound_per_stream() -> None:
    seen, _ = play(lambda did: {FDS: 10.0, Key("threads"): 4.0}, GOAL)
    seen = replace(seen, verdict=judge(seen))
    assert {one.at_most for one in measured(seen)} == {
        bound.at_most for bound in seen.verdict.bounds if bound.unit.endswith("/answered-stream")
    }


@pytest.mark.parametrize(("apart", "bounded"), [(5e-324, False), (0.9e-3, False), (1.1e-3, True)])
def test_readings_at_the_same_time_bound_nothing_per_hour(apart: float, bounded: bool) -> None:
    levels = {FDS: 10.0, ANONYMOUS: 20e6}
    read = [Moment(Phase.LOAD, levels, {"time": at}, 1) for at in (0.0, apart)]
    for key in levels:
        found = per_hour(read, key, drained=[0, 1])
        assert (found is not None) is bounded
        assert found is None or math.isfinite(found)


HEAP = Key("memory", "heap-bytes")


def per_hour_of(trial_: Trial, key: Key) -> float:
    (one,) = [
        b
        for b in judge(trial_).bounds
        if (b.metric, b.kind) == (key.metric, key.kind) and b.unit.endswith("/hour")
    ]
    return one.at_most


@pytest.mark.parametrize(
    ("warmup", "seconds"), [((10, 10, 10), 30), ((9, 10, 10), 27), ((10, 9, 10), 24), ((12, 11, 10), 33)]
)
def test_a_count_is_followed_back_into_the_warm_up(warmup: tuple[int, ...], seconds: float) -> None:
    """Eight loads of three seconds, and as much of the warm-up as nothing grew in; a level that fell counts."""
    seen = trial([10.0] * 8, warmup=warmup, initial={FDS: 12.0} if warmup[0] == 12 else {})
    assert per_hour_of(seen, FDS) == pytest.approx(3 / (seconds / 3600), rel=1e-3)


def test_a_count_that_grew_is_bounded_by_its_judged_part() -> None:
    grew = trial([10.0] * 4 + [11.0] * 8)
    seconds = 36.0
    assert per_hour_of(grew, FDS) == pytest.approx(5.572 / (seconds / 3600), rel=2e-3)


def test_a_heap_counted_inside_is_bounded_by_its_own_noise() -> None:
    """An arena of the allocator does not hide what the runtime counts."""
    steady = trial([10.0] * 8, opened=1000)

    def verdict(*heap: float) -> Trial:
        levels = [2e6, 2e6, 2e6, *heap]
        seen = [
            replace(one, levels={FDS: 10.0, ANONYMOUS: 20e6, HEAP: level})
            for one, level in zip(steady.observations, levels, strict=True)
        ]
        return replace(steady, observations=tuple(seen))

    still, moving = verdict(*[2e6] * 8), verdict(*[2.03e6, *[2e6] * 7])
    hours = 24 / 3600
    assert per_hour_of(still, HEAP) == pytest.approx(4096 / hours, rel=1e-3)
    assert per_hour_of(moving, HEAP) == pytest.approx(30e3 / hours, rel=1e-3)
    assert per_hour_of(still, ANONYMOUS) == pytest.approx((1 << 20) / hours, rel=1e-3)
    assert "614 kB of live heap per hour" in judge(still).explanation
