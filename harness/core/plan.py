"""What to do next, given what has been seen: the sequential plan. Pure, so a saved run can be replayed.

Warm up until two successive changes of every count are at most one (pools scale with the peak
concurrency, leaks with churn), one idle control cycle, then load until a leak is certain or a pass is
certified, or the cycles are used up.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.core.cycle import CycleSpec, Observation, Phase
from harness.core.judge_counts import assess_counts
from harness.core.metric import Judged, Key
from harness.core.record import Trial

MIN_WARMUP = 2
MAX_WARMUP = 10
STEADY = 1.0  # largest change of a count between two cycles that counts as steady


@dataclass(frozen=True, slots=True)
class Stop:
    """No further cycle, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Goal:
    """The load of one cycle, and how many load cycles there may be at most."""

    connections: int
    concurrency: int
    dwell: float
    paths: tuple[str, ...]
    events: int = 1
    disconnect: str = "fin"
    mode: str = "stream"
    cycles: int = 40
    min_cycles: int = 3
    idle_cycles: int = 1


def next_step(trial: Trial, goal: Goal) -> CycleSpec | Stop:
    """The next cycle, or why there is none."""
    seen = trial.observations
    if seen and not seen[-1].complete:
        return Stop("the last cycle was cut short")
    phase = _phase(trial, goal)
    if isinstance(phase, Stop):
        return phase
    idle = phase is Phase.IDLE
    return CycleSpec(
        index=len(seen),
        connections=0 if idle else goal.connections,
        concurrency=goal.concurrency,
        dwell=_typical_load(trial) if idle else goal.dwell,
        events=goal.events,
        disconnect=goal.disconnect,
        paths=goal.paths,
        phase=phase,
        mode=goal.mode,
    )


def _phase(trial: Trial, goal: Goal) -> Phase | Stop:
    seen = trial.observations
    warm = [o for o in seen if o.spec.phase is Phase.WARMUP]
    loads = [o for o in seen if o.spec.phase is Phase.LOAD]
    idle = [o for o in seen if o.spec.phase is Phase.IDLE]
    if not loads and not idle and (len(warm) < MIN_WARMUP or (len(warm) < MAX_WARMUP and not steady(warm))):
        return Phase.WARMUP
    if len(idle) < goal.idle_cycles:
        return Phase.IDLE
    if len(loads) >= goal.min_cycles:
        results = assess_counts(trial)
        leaking = sorted(str(key) for key, result in results.items() if result.status == "leaking")
        if leaking:
            return Stop(f"a leak is certain: {', '.join(leaking[:3])}")
        if results and all(result.status == "bounded" for result in results.values()):
            return Stop("no count grew over enough connections: the pass is certified")
    if len(loads) >= goal.cycles:
        return Stop(f"all {goal.cycles} load cycles are done")
    return Phase.LOAD


def steady(warm: list[Observation]) -> bool:
    """True once every exact count has come to rest, or to a steady slope, over the last three cycles.

    A slope that does not bend (two successive changes within a quarter of each other, both positive) will
    not be bent by more of the same: the load cycles tell a leak from a slowly filling pool.
    """
    if len(warm) < MIN_WARMUP + 1:
        return False
    first, second, third = warm[-3:]
    keys: set[Key] = {key for key in third.levels if key.judged is Judged.EXACT and key.metric != "mappings"}
    for key in keys:
        a, b, c = (o.levels.get(key, 0.0) for o in (first, second, third))
        at_rest = abs(b - a) <= STEADY and abs(c - b) <= STEADY
        on_slope = min(b - a, c - b) > STEADY and abs((c - b) - (b - a)) <= (b - a) / 4
        if not at_rest and not on_slope:
            return False
    return True


def _typical_load(trial: Trial) -> float:
    """Seconds that a load took: an idle control cycle is as long, at most ten seconds."""
    lengths = [o.load_ended - o.started for o in trial.observations if o.load_ended is not None]
    return min(10.0, sum(lengths) / len(lengths)) if lengths else 1.0
