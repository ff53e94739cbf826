"""Anonymous memory is a leak only if it holds more streams than any late release would leave."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.core.certified import is_certified
from harness.core.cycle import Phase
from harness.core.design import Goal
from harness.core.judge.assessed import Assessed
from harness.core.judge.memory import MEMORY
from harness.core.judge.memory_over_time import memory_of
from harness.core.judge.memory_retained import outlived_seconds
from harness.core.judge.moment import Moment
from harness.core.judge.moments import moments
from harness.core.judge.trial import judge, suspicion
from harness.core.metric import Key
from harness.core.record import Trial
from harness.core.verdict import Outcome, Waiting
from tests.core.series import FDS, observation, trial

PACE = 1000.0  # connections a second
SIZE = 2000.0  # bytes per connection
BASE = 2e7


def loads(seconds: int, freed_after: float = 1e9, each: int = 2000) -> list[Moment]:
    """Loads of two seconds one after the other, each connection leaving SIZE bytes until it is freed."""
    found = [Moment(Phase.WARMUP, {MEMORY: BASE}, {"connection": 0.0, "time": 0.0}, 0)]
    for index in range(seconds // 2):
        at = 2.0 * (index + 1)
        held = each / 2.0 * min(at, freed_after)
        phase = Phase.WARMUP if index < 2 else Phase.LOAD
        done = {"connection": each * (index + 1.0), "time": at}
        found.append(Moment(phase, {MEMORY: BASE + SIZE * held}, done, 50, at - 2.0, at))
    return found


@pytest.mark.parametrize("freed_after", [1.0, 10.0, 30.0, 60.0])
@pytest.mark.parametrize("seconds", [20, 40, 90])
def test_what_is_freed_late_never_looks_older_than_that(freed_after: float, seconds: int) -> None:
    assert outlived_seconds(loads(seconds, freed_after), SIZE, SIZE, 90.0) <= freed_after


@pytest.mark.parametrize(("seconds", "outlived"), [(20, 17), (60, 47), (96, 74)])
def test_a_leak_outlives_three_quarters_of_the_time_after_the_first_streams(
    seconds: int, outlived: int
) -> None:
    """The first 9,000 connections took 10 s, and are not judged; what they hold may be used again."""
    assert outlived_seconds(loads(seconds), 0.7 * SIZE, SIZE, 90.0) == outlived


@pytest.mark.parametrize(
    ("low", "outlived"), [(SIZE, 87), (0.9 * SIZE, 87), (0.85 * SIZE, 83), (0.5 * SIZE, 74)]
)
def test_a_rate_that_is_known_well_needs_less_time(low: float, outlived: int) -> None:
    assert outlived_seconds(loads(96), low, SIZE, 90.0) == outlived


def test_the_upper_end_of_the_rate_counts() -> None:
    assert outlived_seconds(loads(96), 0.7 * SIZE, 1.3 * SIZE, 90.0) < 60.0


def test_a_load_after_a_long_wait_shows_it_too() -> None:
    """Whatever is freed within a minute has been, so the next streams need no new memory."""
    found = loads(40)
    last = found[-1]
    later = {"connection": last.done["connection"] + 10_000.0, "time": 120.0}
    found.append(Moment(Phase.LOAD, {MEMORY: last.levels[MEMORY] + SIZE * 10_000}, later, 50, 110.0, 120.0))
    assert (
        outlived_seconds(loads(40), 0.7 * SIZE, SIZE, 61.0),
        outlived_seconds(found, 0.7 * SIZE, SIZE, 61.0),
    ) == (32.0, 61.0)


def test_growth_of_less_than_four_arenas_shows_nothing() -> None:
    few = loads(96, each=40)
    assert outlived_seconds(few, SIZE, SIZE, 61.0) == 0.0


def leaking(seconds: int, inside: bool = False) -> Trial:
    levels = [BASE + SIZE * 2000.0 * (index + 1) for index in range(seconds // 2)]
    seen = [
        replace(
            observation(
                index,
                {MEMORY: level, **({Key("memory", "heap-bytes"): 1e6} if inside else {})},
                phase=Phase.WARMUP if index < 2 else Phase.LOAD,
                opened=2000,
            ),
            started=2.0 * index,
            load_ended=2.0 * index + 1.9,
            ended=2.0 * index + 2.0,
        )
        for index, level in enumerate(levels)
    ]
    return trial([], retention=60.0, observations=seen)


@pytest.mark.parametrize(("seconds", "status"), [(40, "suspected"), (100, "leaking")])
def test_memory_is_suspected_until_it_has_outlived_the_retention_time(seconds: int, status: str) -> None:
    """A C service freed its sessions after 40 s, and was called leaking after 52 s."""
    seen = leaking(seconds)
    one = memory_of(seen, moments(seen))
    assert one is not None
    assert one.status == status
    assert one.idle_evidence is not None
    assert (one.idle_evidence.age >= 61.0) is (status == "leaking")


def test_counters_of_the_runtime_show_what_is_retained() -> None:
    seen = leaking(40, inside=True)
    one = memory_of(seen, moments(seen))
    assert one is not None
    assert one.status == "leaking"
    fast = replace(leaking(40), retention=0.0)
    assert (one := memory_of(fast, moments(fast))) is not None
    assert one.status == "leaking", "no wait is asked for"


def test_suspected_memory_is_said_while_the_run_goes_on() -> None:
    said = suspicion(leaking(40))
    assert said == "suspected: +2 kB of memory/anonymous per connection; waiting 36 of 60 s for its release"
    verdict = judge(leaking(40))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.waiting == Waiting(36.0, 60.0)
    assert "--max-time" in verdict.advice


@pytest.mark.parametrize(
    ("status", "certified"), [("bounded", True), ("undecided", False), ("suspected", False)]
)
def test_no_pass_is_certified_while_memory_is_suspected(status: str, certified: bool) -> None:
    goal = Goal(300, 50, 1.0, ("/",), vary=False)
    fds = {FDS: Assessed("bounded", 1e-4, "no growth", 0.0, 9_000.0)}
    memory = Assessed(status, 2_000.0, "it rose", 1e8, 40_000.0)
    assert is_certified(leaking(40), goal, fds, memory) is certified
