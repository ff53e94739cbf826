"""The sequential plan: decides the next step of a trial from its observations. Pure, so a saved run can be replayed.

The plan warms the service up until its counts are steady, reads it once without clients, and then loads it. While
nothing grows, the cycles become larger until the pass is certified. Once something grows, the cycles differ by design
until it is certain whether it is a leak and which driver it follows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.core import design
from harness.core.certified import counts_certified, is_certified
from harness.core.cycle import CycleSpec, Observation, Phase
from harness.core.design import Goal, Search, Step, Stop
from harness.core.distinguish import (
    LOADS_TO_SEE_BURSTS,
    cache_or_pool,
    connections_beyond_cache,
    disconnect_irrelevant,
    distinguish_drivers,
    growth_per_burst,
    load_of_single_units,
    long_control_due,
    more_of_driver,
    pool_or_leak_load,
    short_control,
)
from harness.core.holding import next_hold
from harness.core.judge.assessed import Assessed
from harness.core.judge.at_once import as_served, at_once, must_count
from harness.core.judge.bounds import bounds
from harness.core.judge.caveat import JUDGED_ONLY_IF_CERTAIN
from harness.core.judge.counts import assess_counts
from harness.core.judge.memory import BLOCK, MEMORY, WARM_UP_CONNECTIONS, counted_inside
from harness.core.judge.memory_over_time import memory_of
from harness.core.judge.moment import Moment
from harness.core.judge.moments import moments
from harness.core.judge.one_count import STEEP
from harness.core.judge.required import HOUR, STREAM, unmet
from harness.core.metric import FIRST_CONSEQUENCE_RANK, Judged, Key, rank
from harness.core.record import Trial
from harness.core.second_cause import reading_for_second_cause, was_asked
from harness.core.time_left import (
    WAIT_SLACK,
    any_late_release,
    longest_retention,
    sweep_unknown,
    time_for_load,
    time_for_release,
    time_for_wait,
)
from harness.core.waiting import (
    confirm_retained,
    must_continue_wait,
    must_wait_now,
    request_after_wait,
    retry_or_stop,
)
from harness.core.warm_up import MIN_WARMUP, steep, warm_up

__all__ = ["Goal", "Search", "Step", "Stop", "next_step", "warm_up"]

LONG_CONTROL = 30.0  # seconds of a control that bounds growth over time
READING_AFTER_SEARCH = 1.0  # seconds without clients
CONTROL_EVERY = 10  # loads between two controls of an endless run


def next_step(trial: Trial, goal: Goal) -> Step:
    """The next cycle, a search for the place in the source, or why the run ends. The same trial and goal always
    give the same answer."""
    seen = trial.observations
    if seen and not seen[-1].complete:
        return Stop("the last cycle was cut short")
    if goal.vary and must_count(trial):
        return design.count_at_once(trial, goal)
    fewer = at_once(trial) if goal.vary else None
    if fewer is None:
        return _next_step(trial, goal)
    step = _next_step(as_served(trial), design.with_fewer_at_once(goal, fewer.clients))
    return replace(step, index=len(seen)) if isinstance(step, CycleSpec) else step


def _next_step(trial: Trial, goal: Goal) -> Step:
    """The next step of a trial whose clients are no more than the service serves at once."""
    seen = trial.observations
    step = warm_up(trial, goal) or _next_control(trial, goal) or _next_load(trial, goal)
    if isinstance(step, CycleSpec) and not goal.endless:
        # Whatever a cycle is for, it is no larger than what the service withstands.
        step = replace(step, connections=int(min(step.connections, design.most_connections(trial, goal))))
    if isinstance(step, CycleSpec) and goal.max_seconds is not None:
        left = goal.max_seconds - design.spent_seconds(trial)
        if seen and design.expected_seconds(seen, step) > left:
            return Stop(f"the next cycle would not fit into {goal.max_seconds:g} s")
    return step


def _next_control(trial: Trial, goal: Goal) -> CycleSpec | None:
    idle = [o for o in trial.observations if o.spec.phase is Phase.IDLE]
    if not idle and goal.vary and len(trial.observations) >= MIN_WARMUP and steep(trial.observations):
        # Steep growth needs no control without clients: the cycles with few clients show growth over time as well.
        return None
    return design.idle_control(trial, goal) if len(idle) < goal.idle_cycles else None


@dataclass(frozen=True, slots=True)
class _State:
    """What a plan decides from, after the last cycle. causes: the kinds that grow and may bring the growth of others.
    memory: the verdict on memory over blocks, None if a counter of the runtime replaces it."""

    loads: Sequence[Observation]
    found: Sequence[Moment]
    results: Mapping[Key, Assessed]
    memory: Assessed | None
    causes: Sequence[Key]

    @property
    def suspected(self) -> dict[Key, Assessed]:
        """Growth that is a leak if it outlives the retention time."""
        return {key: one for key, one in self.results.items() if one.status == "suspected"}

    @property
    def growing(self) -> list[Assessed]:
        """What grows, without the kinds that count only once they are certain."""
        return [
            one
            for key, one in self.results.items()
            if one.growing and key.metric not in JUDGED_ONLY_IF_CERTAIN
        ]


def _state(trial: Trial, goal: Goal) -> _State:
    found = moments(trial)
    results = assess_counts(trial, found)
    causes = [
        key
        for key, one in results.items()
        if one.growing and rank(key) < FIRST_CONSEQUENCE_RANK and one.status != "bounded"
    ]
    return _State(_loads(trial), found, results, _memory(trial, found) if goal.memory else None, causes)


def _loads(trial: Trial) -> list[Observation]:
    return [o for o in trial.observations if o.spec.phase is Phase.LOAD]


def _next_load(trial: Trial, goal: Goal) -> Step:
    if goal.endless:
        return _next_of_soak(trial, goal)
    now = _state(trial, goal)
    if leaking := _certain_leaks(now):
        second = reading_for_second_cause(trial, goal, now.results, now.found)
        if second and was_asked(trial):
            return second
        last = _distinguish_or_stop(trial, goal, leaking)
        return (second or last) if isinstance(last, Stop) else last
    if goal.vary and _search_hides_memory(trial, now):
        # Not as part of a wait: the large load that comes before a wait is still to come.
        return replace(design.idle_control(trial, goal), dwell=READING_AFTER_SEARCH)
    if step := _wait_or_retry(trial, goal, now):
        return step
    # What a hold leaves behind is released like everything else, if there is time for it.
    enough = len(now.loads) >= goal.min_cycles
    if enough and time_for_release(trial, goal, now.results) and (held := _hold_cycle(trial, goal)):
        return held
    if (
        goal.vary
        and now.memory
        and now.memory.status == "undecided"
        and now.memory.growing
        and now.memory.factor == "time"
    ):
        # More clients would not show whether the memory grows without them.
        return design.idle_reading(trial, goal)
    if enough and is_certified(trial, goal, now.results, now.memory):
        if goal.vary and sweep_unknown(now.results) and time_for_wait(trial, goal, now.results):
            # Another load is followed by another sweep, which shows the interval of the sweeps.
            return design.half_load(trial, goal)
        if further := _for_required(trial, goal, now.found, now.results):
            return further
        return Stop("no count grew after clients had left, over enough connections")
    if len(now.loads) >= goal.cycles:
        further = _for_required(trial, goal, now.found, now.results)
        return further or Stop(f"all {goal.cycles} load cycles are done")
    if goal.vary and any_late_release(now.results) and not time_for_load(trial, goal, now.results):
        return Stop("what more clients leave behind would not be released in the time that is left")
    return _load_for_evidence(trial, goal, now)


def _next_of_soak(trial: Trial, goal: Goal) -> CycleSpec:
    """The next cycle of an endless run: loads as requested, one hold cycle, and a control after every few loads."""
    loads = _loads(trial)
    last = trial.observations[-1].spec
    if loads and len(loads) % CONTROL_EVERY == 0 and last.phase is not Phase.IDLE:
        return design.idle_control(trial, goal)
    held = _hold_cycle(trial, goal) if len(loads) >= goal.min_cycles else None
    return held or design.ordinary_cycle(trial, goal, Phase.LOAD)


def _search_hides_memory(trial: Trial, now: _State) -> bool:
    """Whether a search for the place came last, and memory inside the service grows. Its levels while allocations
    are traced do not count, so without a reading after the search the next load would not count either: a leak of 38
    objects per stream stayed undecided after 5,000 more streams."""
    return trial.observations[-1].spec.phase is Phase.SEARCH and any(
        key.metric == "memory" and key.judged is Judged.EXACT and one.status != "bounded" and one.growing
        for key, one in now.results.items()
    )


def _certain_leaks(now: _State) -> dict[Key, Assessed]:
    """The certain leaks that end the plan: none while their cause is still undecided."""
    leaking = {key: result for key, result in now.results.items() if result.status == "leaking"}
    if now.causes and all(rank(key) >= FIRST_CONSEQUENCE_RANK for key in leaking):
        # Only a consequence is certain: continue until its cause is certain too.
        leaking = {}
    if now.suspected and leaking and min(map(rank, now.suspected)) < min(map(rank, leaking)):
        # The cause is only suspected: a few more seconds without clients make it certain.
        leaking = {}
    if now.memory and now.memory.status == "leaking" and not now.causes:
        leaking[MEMORY] = now.memory
    return leaking


def _distinguish_or_stop(trial: Trial, goal: Goal, leaking: Mapping[Key, Assessed]) -> Step:
    """After a leak is certain: a cycle that distinguishes its drivers, or the end."""
    step = None
    if goal.vary:
        # Memory is judged only over whole blocks, so cycles that distinguish its drivers must be that large.
        noisy = set(leaking) == {MEMORY}
        larger = replace(goal, connections=max(goal.connections, int(BLOCK) + 1)) if noisy else goal
        step = distinguish_drivers(trial, larger, list(leaking.values())) or request_after_wait(
            trial, goal, leaking
        )
    return step or Stop(f"a leak is certain: {', '.join(sorted(map(str, leaking))[:3])}")


def _wait_or_retry(trial: Trial, goal: Goal, now: _State) -> Step | None:
    """A wait without clients, if it decides more than a load, or what to do about a service that stopped serving."""
    releasing = {
        key: one
        for key, one in now.results.items()
        if one.status == "undecided"
        and one.idle_evidence
        and one.release
        and key.metric not in JUDGED_ONLY_IF_CERTAIN
        # The idle CPU of a JVM falls once its compilers are done. With none left, there is nothing to wait for.
        and (key.metric != "idle-cpu" or one.total > 0)
    }
    if now.suspected or releasing:
        return confirm_retained(trial, goal, now.suspected, releasing)
    if again := retry_or_stop(trial, goal):
        return again
    if must_continue_wait(trial, goal, now.results):
        return design.idle_reading(trial, goal)
    # A release that was only seen while clients connected may need them, and its growth may have paused.
    open_ = {key: one for key, one in now.results.items() if one.status == "undecided" and one.total > 0}
    over = design.idle_seconds(trial) >= longest_retention(trial, goal, open_)
    return request_after_wait(trial, goal, open_) if over else None


def _load_for_evidence(trial: Trial, goal: Goal, now: _State) -> CycleSpec:
    """The load, control or wait that tells most about what grows, or brings the pass nearer if nothing does."""
    # Growth that paused gets more of its driver at once, even if its consequences, such as memory, still grow.
    first = min(map(rank, now.causes), default=0)
    paused = [now.results[key] for key in now.causes if rank(key) == first] or now.growing
    if now.growing and goal.vary and (more := more_of_driver(trial, goal, paused)):
        return more
    if len(now.loads) >= LOADS_TO_SEE_BURSTS and goal.vary and (pools := growth_per_burst(now.results)):
        return pool_or_leak_load(trial, goal, pools)
    if must_wait_now(trial, goal, now.results):
        return design.idle_reading(trial, goal)
    step = _load_or_control(trial, goal, now.loads, now.growing)
    if goal.vary and now.memory and counts_certified(trial, goal, now.results) and step.phase is Phase.LOAD:
        served = sum(o.ledger.opened for o in trial.observations)
        # Only memory is undecided now, and it needs no larger cycles than its blocks.
        if served >= WARM_UP_CONNECTIONS:
            return replace(step, connections=min(step.connections, max(goal.connections, int(BLOCK) + 1)))
    return step


def _for_required(
    trial: Trial, goal: Goal, found: Sequence[Moment], results: Mapping[Key, Assessed]
) -> CycleSpec | None:
    """A cycle for the bounds that the budget requires: a bound per stream needs streams, one per hour needs time.
    None when all are reached, or when no cycle helps."""
    if not (trial.budget.require_stream or trial.budget.require_hour):
        return None
    memory = memory_of(trial, found)
    shown = {**results, MEMORY: memory} if memory else results
    open_ = {
        one.per
        for one in unmet(trial, found, bounds(found, shown, inside=counted_inside(found)))
        if one.seconds
    }
    loads = _loads(trial)
    if len(loads) < goal.cycles and (
        STREAM in open_ or (open_ and trial.observations[-1].spec.phase is not Phase.LOAD)
    ):
        return (
            _load_or_control(trial, goal, loads, [])
            if STREAM in open_
            else design.short_dwell_cycle(trial, goal, Phase.LOAD)
        )
    if HOUR not in open_ or goal.max_seconds is None:
        return None
    step = design.idle_control(trial, goal)
    left = goal.max_seconds - design.spent_seconds(trial)
    overhead = design.expected_seconds(trial.observations, replace(step, dwell=0.0))
    return replace(step, dwell=max(step.dwell, min(LONG_CONTROL, left - overhead - WAIT_SLACK)))


def _hold_cycle(trial: Trial, goal: Goal) -> CycleSpec | None:
    """A hold cycle, in which clients stay connected; a further one if something grew during the first; None if no hold
    is needed or fits."""
    if not goal.vary or goal.hold <= 0:
        return None
    settling = max((o.ended - (o.load_ended or o.ended) for o in trial.observations[-4:]), default=0.0)
    longest = (
        math.inf
        if goal.max_seconds is None
        else goal.max_seconds - design.spent_seconds(trial) - settling - WAIT_SLACK
    )
    step = next_hold(trial, design.ordinary_cycle(trial, goal, Phase.HOLD), goal.hold, longest)
    if step and step.dwell > goal.hold and goal.broker and not any(o.spec.fault for o in trial.observations):
        # A long hold may take the rest of the time. Leaks per timeout of the broker need a cycle with timeouts before.
        return replace(design.silent_broker_control(trial, goal), phase=Phase.LOAD)
    if step is None or goal.max_seconds is None:
        return step
    # A hold that does not fit into the time is left out, with a warning that gives its length.
    left = goal.max_seconds - design.spent_seconds(trial)
    return step if design.expected_seconds(trial.observations, step) <= left else None


def _load_or_control(
    trial: Trial, goal: Goal, loads: Sequence[Observation], growing: Sequence[Assessed]
) -> CycleSpec:
    """The next load cycle, or a control. If something grows, loads alternate with controls of the same length: with few
    clients, or without clients if time may be the cause."""
    if not goal.vary:
        return design.ordinary_cycle(trial, goal, Phase.LOAD)
    if not loads:
        return design.short_dwell_cycle(trial, goal, Phase.LOAD)
    last = trial.observations[-1].spec.phase
    if len(loads) >= 2 and cache_or_pool(growing):
        # An orderly close is the fastest way to disconnect, and more streams than any cache holds are needed.
        return replace(
            design.large_load(trial, goal, "fin"), connections=connections_beyond_cache(trial, goal)
        )
    if growing and len(loads) >= 2:
        due = long_control_due(trial, goal, growing)
        over_time = any(one.factor == "time" or ("time" in one.rivals and due) for one in growing)
        if last is Phase.LOAD:
            # Longer than any load, to distinguish growth over time from growth per cycle.
            control = design.idle_control(trial, goal)
            longer = min(design.MAX_CONTROL, 2 * control.dwell)
            if over_time:
                return replace(control, dwell=longer)
            return design.few_streams_control(trial, goal) if due else short_control(trial, goal)
        if last is Phase.IDLE:
            return design.few_streams_control(trial, goal)
    # Growth per timeout of the broker needs several silences, and every other driver needs answers: one load in three.
    if goal.broker and len(loads) % 3 == 2 and trial.observations[-1].spec.fault == "":
        return replace(design.silent_broker_control(trial, goal), phase=Phase.LOAD)
    orderly = goal.disconnect == "mixed" and (
        len(loads) % 2 == 1 or (len(loads) > LOADS_TO_SEE_BURSTS and disconnect_irrelevant(growing))
    )
    step = design.large_load(trial, goal, "fin" if orderly else None)
    if single := load_of_single_units(trial, goal, growing):
        step = replace(step, connections=min(step.connections, single))
    if len(loads) == 1:
        if any(one.total >= STEEP * one.exposure for one in growing):
            # A smaller load is quick, and differs in size from the last one.
            step = design.half_load(trial, goal)
        step = replace(step, connections=min(step.connections, int(design.GROWTH * goal.connections)))
        return replace(step, events=design.MORE_EVENTS * max(1, goal.events), dwell=goal.dwell)
    return step


def _memory(trial: Trial, found: Sequence[Moment]) -> Assessed | None:
    return None if counted_inside(found) else memory_of(trial, found)
