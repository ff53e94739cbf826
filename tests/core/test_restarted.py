"""A resumed soak is one trial over several processes: growth within each counts, and none across is invented."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from harness.core.budget import Budget
from harness.core.cycle import Observation, Phase
from harness.core.history import measured
from harness.core.judge.counts import assess_counts
from harness.core.judge.moments import moments, series
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.record import About, Restart, RunRecord, Trial
from harness.core.record_codec import from_dict, to_dict
from harness.core.segments import last_process, segments
from harness.core.verdict import Outcome
from harness.report.reasoning import reasoning
from tests.core.series import FDS, observation, trial

THREADS = Key("threads")
EVENTFD = Key("fds", "eventfd")
ANONYMOUS = Key("memory", "anonymous")


def resumed(*processes: Sequence[float], warmup: int = 2, opened: int = 300, **more: object) -> Trial:
    """A soak whose service ran in several processes; each begins with its warm-up. Levels of descriptors."""
    seen: list[Observation] = []
    restarts = []
    for number, levels in enumerate(processes):
        if number:
            restarts.append(Restart(len(seen), 3.0 * len(seen), gap=3600.0, initial={FDS: levels[0]}))
        for index, level in enumerate(levels):
            phase = Phase.WARMUP if index < warmup else Phase.LOAD
            found = {FDS: level, EVENTFD: level - 5, THREADS: 4.0}
            seen.append(observation(len(seen), found, phase=phase, opened=opened))
    return trial([], observations=seen, restarts=tuple(restarts), about=About(soak=True), **more)


def test_a_level_change_across_a_restart_is_neither_release_nor_growth() -> None:
    for levels in (
        ([110.0] * 20, [10.0] * 20),
        ([10.0] * 20, [110.0] * 20),
        ([10.0] * 9, [510.0] * 3, [60.0] * 30),
    ):
        verdict = judge(resumed(*levels))
        assert verdict.outcome is Outcome.BOUNDED, verdict.explanation
        (bound,) = (one for one in verdict.bounds if (one.metric, one.kind) == ("fds", "") and one.per_stream)
        streams = 300 * sum(len(one) - 2 for one in levels)
        assert bound.at_most == pytest.approx(3 / streams, rel=1e-5), "the streams of all processes add up"


def test_without_the_restart_the_same_levels_are_growth() -> None:
    """The control: it is the restart alone that makes the difference."""
    soak = resumed([10.0] * 9, [510.0] * 3)
    assert judge(soak).outcome is not Outcome.LEAKING
    series_of = series(moments(replace(soak, restarts=())), FDS)
    assert series_of
    assert sum(series_of.increments) == 500
    joined = series(moments(soak), FDS)
    assert joined
    assert sum(joined.increments) == 0


def test_a_leak_of_every_process_is_one_leak() -> None:
    verdict = judge(resumed([10.0 + 300 * n for n in range(8)], [10.0 + 300 * n for n in range(4)]))
    assert verdict.outcome is Outcome.LEAKING
    finding = next(one for one in verdict.findings if one.metric == "fds")
    assert finding.rate
    assert finding.rate.value == pytest.approx(1.0)
    assert finding.exhausts is None or finding.exhausts.after_connections == pytest.approx(114), (
        "from the level of the process that runs: 910 of 1,024"
    )


def rare(seed: int, parts: int, cycles: int, rate: float) -> Trial:
    """A leak of ``rate`` per stream, and cycles of different size."""
    noise = random.Random(seed)
    seen: list[Observation] = []
    restarts = []
    for number in range(parts):
        level = 10.0 + 40 * number
        if number:
            restarts.append(Restart(len(seen), 3.0 * len(seen), 10.0))
        for index in range(cycles):
            opened = (200, 1500, 400, 3000)[index % 4] if index >= 2 else 200
            level += sum(noise.random() < rate for _ in range(opened)) if index >= 2 else 0
            phase = Phase.WARMUP if index < 2 else Phase.LOAD
            seen.append(observation(len(seen), {FDS: level, THREADS: 4.0}, phase=phase, opened=opened))
    return trial([], observations=seen, restarts=tuple(restarts))


@pytest.mark.parametrize(
    ("runs", "least"),
    [
        (4, 2),
        pytest.param(10, 5, marks=pytest.mark.soak(reason="a hit rate on more than twice as many runs")),
    ],
)
def test_a_rare_leak_is_certain_over_all_processes_although_it_is_in_none_alone(
    runs: int, least: int
) -> None:
    found = 0
    for seed in range(runs):
        soak = rare(seed, 5, 10, 0.0013)
        alone = [assess_counts(part)[FDS].status for part in segments(soak)]
        if "leaking" not in alone:
            found += assess_counts(soak)[FDS].status == "leaking"
    assert found >= least


@pytest.mark.parametrize(
    "runs", [20, pytest.param(60, marks=pytest.mark.soak(reason="an error rate on three times as many runs"))]
)
def test_healthy_processes_with_levels_of_their_own_are_never_a_leak(runs: int) -> None:
    for seed in range(runs):
        noise = random.Random(seed)
        parts = [
            [float(noise.randrange(10, 400))] * noise.randrange(3, 14) for _ in range(noise.randrange(2, 7))
        ]
        assert judge(resumed(*parts)).outcome in (Outcome.BOUNDED, Outcome.INCONCLUSIVE), seed


def test_resources_of_an_exited_process_are_not_known_to_be_retained() -> None:
    """Sessions that live for 20 s: each process ends with those of its last cycles, and none of them is a leak."""
    held = [10.0, 10.0, *(10.0 + 300 * min(n, 7) for n in range(1, 12))]
    soak = resumed(*([held] * 6), retention=60.0)
    assert judge(soak).outcome is not Outcome.LEAKING


def test_growth_that_outlived_no_retention_time_is_suspected_only() -> None:
    leak = [10.0 + 300 * n for n in range(6)]
    soak = resumed(leak, leak, retention=60.0)
    assert judge(soak).outcome is Outcome.INCONCLUSIVE
    assert "suspected: " in judge(soak).explanation


def test_a_later_process_that_passes_decides_what_an_earlier_one_left_undecided() -> None:
    filled = [10.0, 10.0, 30.0, 50.0, 70.0, 90.0]
    short = judge(resumed(filled, [10.0] * 4))
    assert short.outcome is Outcome.INCONCLUSIVE
    long = judge(resumed(filled, [10.0] * 20))
    assert long.outcome is Outcome.BOUNDED, long.explanation


def test_a_ceiling_applies_to_the_largest_process() -> None:
    budget = Budget(ceilings={"fds": 100.0})
    assert judge(resumed([10.0] * 9, [90.0] * 20, budget=budget)).outcome is Outcome.BOUNDED
    high = judge(resumed([110.0] * 9, [10.0] * 20, budget=budget))
    assert high.outcome is Outcome.OVER_CEILING
    assert "fds reached 110" in high.explanation


def test_the_time_of_the_gap_bounds_nothing() -> None:
    whole = judge(resumed([10.0] * 42))
    parts = judge(resumed([10.0] * 22, [10.0] * 22))
    hourly = [
        next(one.at_most for one in verdict.bounds if (one.metric, one.unit) == ("threads", "threads/hour"))
        for verdict in (whole, parts)
    ]
    assert hourly[1] == pytest.approx(hourly[0], rel=0.05)


def test_memory_warms_up_in_every_process() -> None:
    """A heap that climbs for 9,000 connections after each start is not a leak; one that keeps climbing is."""

    def memory(step: float, climb: int) -> Trial:
        seen: list[Observation] = []
        restarts = []
        for number in range(3):
            if number:
                restarts.append(Restart(len(seen), 3.0 * len(seen), 10.0))
            for index in range(30):
                phase = Phase.WARMUP if index < 2 else Phase.LOAD
                levels = {ANONYMOUS: 50e6 + step * min(index, climb), FDS: 10.0, THREADS: 4.0}
                seen.append(observation(len(seen), levels, phase=phase, opened=1500))
        return trial([], observations=seen, restarts=tuple(restarts))

    assert judge(memory(3e6, 6)).outcome is Outcome.BOUNDED
    assert judge(memory(3e6, 30)).outcome is Outcome.LEAKING


def test_the_restart_and_the_gap_are_reported() -> None:
    (warning,) = judge(resumed([10.0] * 20, [10.0] * 20)).warnings
    assert warning == (
        "interrupted and resumed once, with 1.0 h in between; the service was started anew, so growth is counted "
        "within each part and not across"
    )


def test_a_resumed_trial_is_reported_alike_after_reading_it_back() -> None:
    soak = resumed([10.0] * 20, [60.0] * 20)
    soak = replace(soak, verdict=judge(soak))
    record = RunRecord("id", "harness soak", "2026-01-01T00:00:00+00:00", 0, (soak,))
    assert from_dict(to_dict(record)) == record
    assert all(one.rate == 0 for one in measured(soak)), "no night rose because of a restart"
    assert "fds: bounded" in "\n".join(reasoning(soak, "fds"))


def test_an_interrupted_run_reports_what_it_has_shown_so_far() -> None:
    flat = judge(replace(resumed([10.0] * 22), interrupted=True))
    assert flat.outcome is Outcome.INCONCLUSIVE
    assert "no growth over 6,000 connections: at most 0.0005 per connection (95 %)" in flat.explanation
    slow = judge(replace(resumed([10.0, 10.0, *(10.0 + 2 * n for n in range(9))]), interrupted=True))
    assert re.search(
        r"interrupted; fds: grew by 16 over .* answered streams, which a pool could explain so far",
        slow.explanation,
    )
    assert "no growth" not in slow.explanation


def test_restarts_that_no_run_can_have_are_passed_over() -> None:
    soak = resumed([10.0] * 20)
    for after in (-5, 0, 20, 999):
        odd = replace(soak, restarts=(Restart(after, 0.0, 0.0), Restart(after, 0.0, 0.0)))
        assert len(segments(odd)) == 1
        assert last_process(odd).observations == soak.observations
        assert judge(odd).outcome is Outcome.BOUNDED
    empty = replace(soak, observations=(), restarts=(Restart(0, 0.0, 0.0),))
    assert judge(empty).outcome is Outcome.INCONCLUSIVE
