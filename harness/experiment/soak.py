"""A soak: the same cycles for a given time, even if the verdict is certain before."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from harness.core import design
from harness.core.cycle import CycleSpec, Phase
from harness.core.plan import Step, Stop, next_step, warm_up
from harness.core.record import Trial
from harness.core.segments import since_restart
from harness.experiment.guard import goal_of
from harness.experiment.options import GuardRequest
from harness.experiment.setup import Steps

HOLD_SHARE = 4.0  # times the length of a hold that must remain of the soak
CYCLES = 400  # of a soak, about, whatever its duration, so that its record stays small


def soak_steps(
    request: GuardRequest, duration: float, clock: Callable[[], float] = time.monotonic, *, used: float = 0.0
) -> Steps:
    """Warm up, then load for ``duration`` seconds, with a control without clients after every tenth load. used:
    seconds that have passed already, in a resumed soak; its service, a new process, warms up first.

    A cycle of a long soak opens more streams than one of a guard, so that it lasts a 400th of the whole.
    """
    goal = replace(goal_of(request), endless=True, max_seconds=None)
    end = clock() + duration - used
    brief = replace(goal, hold=0.0)

    def steps(trial: Trial) -> Step:
        if clock() >= end:
            return Stop(f"{duration:g} s are over")
        # A restarted service allocates its caches and pools again, which would look like growth.
        if trial.restarts and (warm := warm_up(since_restart(trial), goal)):
            return replace(warm, index=len(trial.observations))
        step = next_step(trial, goal)
        if (
            isinstance(step, CycleSpec)
            and step.phase is Phase.HOLD
            and clock() + HOLD_SHARE * step.dwell > end
        ):
            step = next_step(trial, brief)  # the rest is too short for a hold cycle
        if not isinstance(step, CycleSpec) or step.phase is not Phase.LOAD:
            return step
        # The record grows by one observation per cycle, so a longer soak gets larger cycles instead of more of them.
        fitting = design.connections_per_second(trial, goal.disconnect) * duration / CYCLES
        size = min(float(design.MAX_CONNECTIONS), fitting)
        return replace(step, connections=max(goal.connections, int(size)))

    return steps
