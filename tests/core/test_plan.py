"""The sequential plan: warm up, one idle control, load until it is certain."""

from __future__ import annotations

from dataclasses import replace

from harness.core.cycle import CycleSpec, Phase
from harness.core.plan import MAX_WARMUP, Goal, Stop, next_step
from tests.core.series import FDS, observation, trial

GOAL = Goal(connections=300, concurrency=50, dwell=1.0, paths=("/",))


def drive(level_of: object, limit: int = 100) -> tuple[list[Phase], str]:
    """Play a service whose level after cycle i is level_of(i, phase); phases run and why it stopped."""
    now = trial([], warmup=())
    phases: list[Phase] = []
    while len(phases) < limit:
        step = next_step(now, GOAL)
        if isinstance(step, Stop):
            return phases, step.reason
        assert isinstance(step, CycleSpec)
        assert step.index == len(phases)
        phases.append(step.phase)
        level = level_of(len(phases), step.phase)  # type: ignore[operator]
        seen = observation(step.index, {FDS: float(level)}, phase=step.phase)
        now = replace(now, observations=(*now.observations, seen))
    return phases, "limit"


def test_a_steady_service_is_certified_and_no_cycle_more() -> None:
    phases, reason = drive(lambda i, phase: 10)
    assert phases.count(Phase.WARMUP) == 3
    assert phases.count(Phase.IDLE) == 1
    assert phases.count(Phase.LOAD) == 10  # 3 / 3,000 is the asked 1/1000
    assert "certified" in reason


def test_a_leak_ends_the_plan_after_three_load_cycles() -> None:
    served = []

    def level(index: int, phase: Phase) -> int:
        served.append(0 if phase is Phase.IDLE else 300)
        return sum(served)

    phases, reason = drive(level)
    assert phases.count(Phase.LOAD) <= 4
    assert "leak is certain" in reason


def test_a_filling_pool_is_warmed_up_longer_and_passes() -> None:
    phases, reason = drive(lambda i, phase: min(10 + 8 * i * i, 110))
    assert 3 < phases.count(Phase.WARMUP) <= MAX_WARMUP
    assert "certified" in reason


def test_a_cycle_cut_short_ends_the_plan() -> None:
    cut = replace(trial([10]), observations=(observation(0, {FDS: 1.0}, complete=False),))
    assert isinstance(next_step(cut, GOAL), Stop)
