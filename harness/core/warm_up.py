"""The warm-up: cycles until the counts of the service are steady, before anything is judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.core import design
from harness.core.cycle import CycleSpec, Observation, Phase
from harness.core.design import Goal
from harness.core.judge.counts import CERTIFIED
from harness.core.judge.one_count import STEEP
from harness.core.metric import Judged
from harness.core.record import Trial

MIN_WARMUP = 2  # cycles
MAX_WARMUP = 10  # cycles
MAX_STEADY_CHANGE = 1.0  # largest change of a count between two cycles that counts as steady


def warm_up(trial: Trial, goal: Goal) -> CycleSpec | None:
    """The next cycle of the warm-up; None once the counts are steady."""
    seen = trial.observations
    warm = [o for o in seen if o.spec.phase is Phase.WARMUP]
    if len(warm) != len(seen) or len(warm) >= MAX_WARMUP:
        return None
    if len(warm) >= MIN_WARMUP and (
        steady(warm) or (goal.vary and (steep(warm) or _released_late(warm, goal)))
    ):
        return None
    step = design.short_dwell_cycle(trial, goal, Phase.WARMUP)
    if not seen and goal.vary:
        # The levels after the first cycle are the base of every comparison, so its size does not matter to them.
        size = max(min(goal.concurrency, goal.connections), goal.connections // 3)
        return replace(step, connections=size)
    return step


def _released_late(warm: Sequence[Observation], goal: Goal) -> bool:
    """Whether something is released late: only a wait without clients shows how much, not more warm-up cycles."""
    return goal.retention > 0 and bool(warm[-1].unsettled) and warm[-1].settled


def steep(warm: Sequence[Observation]) -> bool:
    """Whether some count grew by half a unit per connection or more in the last warm-up cycle."""
    before, after = warm[-2:]
    # Bytes, allocator blocks and mappings have noise of more than half a unit per connection.
    return any(
        level - before.levels.get(key, 0.0) >= STEEP * max(1, after.ledger.opened)
        for key, level in after.levels.items()
        if key.judged is Judged.EXACT
        and key.kind not in ("heap-bytes", "external-bytes", "blocks")
        and key.metric != "mappings"
    )


def steady(warm: Sequence[Observation]) -> bool:
    """Whether every exact count was constant, or had a steady slope, over the last three cycles.

    A slope that does not bend (two successive changes within a quarter of each other, both positive) stays the same
    in further cycles of the same kind: the load cycles distinguish a leak from a slowly filling pool.
    """
    if len(warm) < MIN_WARMUP + 1:
        return False
    for key in warm[-1].levels:
        if key.metric not in CERTIFIED:
            continue
        levels = [o.levels.get(key, 0.0) for o in warm[-3:]]
        earlier, later = levels[1] - levels[0], levels[2] - levels[1]
        constant = abs(earlier) <= MAX_STEADY_CHANGE and abs(later) <= MAX_STEADY_CHANGE
        on_slope = min(earlier, later) > MAX_STEADY_CHANGE and abs(later - earlier) <= earlier / 4
        if not constant and not on_slope:
            return False
    return True
