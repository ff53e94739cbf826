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
from harness.core.cycle import CycleSpec, Observation, Phase
from harness.core.design import Goal
from harness.core.judge.caveat import JUDGED_ONLY_IF_CERTAIN
from harness.core.judge.counts import CERTIFIED, assess_counts
from harness.core.judge.diagnose import open_question
from harness.core.judge.findings import bounds
from harness.core.judge.growth import BURST_POOL, MIN_GROWTH, Assessed
from harness.core.judge.limit import limit_of
from harness.core.judge.memory import BLOCK, MEMORY, WARM_UP_CONNECTIONS, counted_inside
from harness.core.judge.memory_over_time import memory_of
from harness.core.judge.moments import Moment, answered, moments
from harness.core.judge.one_count import CACHE, STEEP
from harness.core.judge.required import HOUR, STREAM, unmet
from harness.core.judge.retained import LATE_NOTICE_SECONDS, retention_of
from harness.core.judge.retention import MARGIN, STILL_READINGS
from harness.core.judge.runtime_threads import runs_threads
from harness.core.judge.while_connected import next_hold
from harness.core.metric import FIRST_CONSEQUENCE_RANK, Judged, Key, rank
from harness.core.record import Trial
from harness.core.stats.distributions import poisson_interval

__all__ = ["Goal", "Search", "Step", "Stop", "next_step", "warm_up"]

MIN_WARMUP = 2  # cycles
LOADS_TO_SEE_BURSTS = 3  # loads of different size after which growth per burst shows
MAX_WARMUP = 10  # cycles
MAX_STEADY_CHANGE = 1.0  # largest change of a count between two cycles that counts as steady
# Expected leaks of the asked size in a pass at 95 %: the rule of three, and a few streams for those that fail.
EXPECTED_LEAKS_AT_95 = 3.2
MAX_SEARCH = 20.0  # seconds of a search for the place in the source
MAX_IDLE_CORES_FOR_SEARCH = 0.15  # cores that an idle service may use for a search to succeed
LONG_CONTROL_EVERY = 3  # every third control is as long as a load, where no wait follows
MAX_WAIT_LOST = 15.0  # seconds of a wait that slow growth may lose for another load
WAIT_SLACK = 8.0  # seconds that a wait may take longer than the retention time
RELEASE_OVER_FACTOR = 1.25  # times the duration of the last release, after which no further fall is expected
NEXT_RELEASE_FACTOR = 1.5  # times the duration of the last release, allowed for the next one
LONG_BURST_MAX_UNITS = 4.0  # units per burst up to which one long burst decides sooner than many short ones
EXPECTED_LEAKS_CERTIFIED = 6.5  # expected leaks of the asked size in a certified pass: one miss in 600
MAX_ATTRIBUTIONS = 7  # cycles that distinguish the drivers of a certain leak
MIN_WATCH_SECONDS = 28.0  # seconds after which half of a release within a minute has happened
# Drivers that are ways in which clients disconnect.
DISCONNECT_WAYS = frozenset({"abort", "not-fin", "reset", "stall", "rst", "rst-early", "half-close"})
LONG_CONTROL = 30.0  # seconds of a control that bounds growth over time
CONTROL_EVERY = 10  # loads between two controls of an endless run


@dataclass(frozen=True, slots=True)
class Search:
    """Search now for the place in the source where the service grows: the plan has to wait anyway."""


@dataclass(frozen=True, slots=True)
class Stop:
    """No further cycle, and why."""

    reason: str


Step = CycleSpec | Search | Stop


def next_step(trial: Trial, goal: Goal) -> Step:
    """The next cycle, a search for the place in the source, or why the run ends. The same trial and goal always
    give the same answer."""
    seen = trial.observations
    if seen and not seen[-1].complete:
        return Stop("the last cycle was cut short")
    step = warm_up(trial, goal) or _next_control(trial, goal) or _next_load(trial, goal)
    if isinstance(step, CycleSpec) and goal.max_seconds is not None:
        left = goal.max_seconds - design.spent(trial)
        if seen and design.expected(seen, step) > left:
            return Stop(f"the next cycle would not fit into {goal.max_seconds:g} s")
    return step


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
    step = design.short_dwell(trial, goal, Phase.WARMUP)
    if not seen and goal.vary:
        size = max(min(goal.concurrency, goal.connections), goal.connections // 3)
        return replace(step, connections=size)
    return step


def _released_late(warm: Sequence[Observation], goal: Goal) -> bool:
    """Whether something is released late: only a wait without clients shows how much, not more warm-up cycles."""
    return goal.retention > 0 and bool(warm[-1].unsettled) and warm[-1].settled


def _next_control(trial: Trial, goal: Goal) -> CycleSpec | None:
    idle = [o for o in trial.observations if o.spec.phase is Phase.IDLE]
    if not idle and goal.vary and len(trial.observations) >= MIN_WARMUP and steep(trial.observations):
        # Steep growth needs no control without clients: the cycles with few clients show growth over time as well.
        return None
    return design.idle(trial, goal) if len(idle) < goal.idle_cycles else None


def _next_load(trial: Trial, goal: Goal) -> Step:
    loads = [o for o in trial.observations if o.spec.phase is Phase.LOAD]
    if goal.endless:
        last = trial.observations[-1].spec
        due = loads and len(loads) % CONTROL_EVERY == 0 and last.phase is not Phase.IDLE
        if due:
            return design.idle(trial, goal)
        held = _hold_cycle(trial, goal) if len(loads) >= goal.min_cycles else None
        return held or design.plain(trial, goal, Phase.LOAD)
    found = moments(trial)
    results = assess_counts(trial, found)
    leaking = {key: result for key, result in results.items() if result.status == "leaking"}
    suspected = {key: one for key, one in results.items() if one.status == "suspected"}
    causes = [
        key
        for key, one in results.items()
        if one.growing and rank(key) < FIRST_CONSEQUENCE_RANK and one.status != "bounded"
    ]
    if causes and all(rank(key) >= FIRST_CONSEQUENCE_RANK for key in leaking):
        # Only a consequence is certain: continue until its cause is certain too.
        leaking = {}
    if suspected and leaking and min(map(rank, suspected)) < min(map(rank, leaking)):
        # The cause is only suspected: a few more seconds without clients make it certain.
        leaking = {}
    memory = _memory(trial, found) if goal.memory else None
    if memory and memory.status == "leaking" and not causes:
        leaking[MEMORY] = memory
    if leaking:
        names = ", ".join(sorted(map(str, leaking))[:3])
        step = None
        if goal.vary:
            # Memory is judged only over whole blocks, so cycles that distinguish its drivers must be that large.
            noisy = set(leaking) == {MEMORY}
            larger = replace(goal, connections=max(goal.connections, int(BLOCK) + 1)) if noisy else goal
            step = _distinguish_drivers(trial, larger, list(leaking.values()))
        return step or Stop(f"a leak is certain: {names}")
    releasing = {
        key: one
        for key, one in results.items()
        if one.status == "undecided"
        and one.idle_evidence
        and one.release
        and key.metric not in JUDGED_ONLY_IF_CERTAIN
    }
    if suspected or releasing:
        return _confirm_retained(trial, goal, suspected, releasing)
    if _must_continue_wait(trial, goal, results):
        return design.wait(trial, goal)
    if (
        len(loads) >= goal.min_cycles
        and not _any_late_release(results)
        and (held := _hold_cycle(trial, goal))
    ):
        return held
    if goal.vary and memory and memory.growing and memory.factor == "time":
        # More clients would not show whether the memory grows without them.
        return design.wait(trial, goal)
    if len(loads) >= goal.min_cycles and _certified(trial, goal, results, memory):
        if goal.vary and _sweep_unknown(results) and _time_for_wait(trial, goal, results):
            # Another load is followed by another sweep, which shows the interval of the sweeps.
            return design.half(trial, goal)
        if further := _for_required(trial, goal, found, results):
            return further
        return Stop("no count grew over enough connections: the pass is certified")
    if len(loads) >= goal.cycles:
        return _for_required(trial, goal, found, results) or Stop(f"all {goal.cycles} load cycles are done")
    if goal.vary and _any_late_release(results) and not _time_for_wait(trial, goal, results):
        return Stop("what more clients leave behind would not be released in the time that is left")
    growing = [
        result
        for key, result in results.items()
        if result.growing and key.metric not in JUDGED_ONLY_IF_CERTAIN
    ]
    # Growth that paused gets more of its driver at once, even if its consequences, such as memory, still grow.
    first = min(map(rank, causes), default=0)
    paused = [results[key] for key in causes if rank(key) == first] or growing
    if growing and goal.vary and (more := _more_of_driver(trial, goal, paused)):
        return more
    if len(loads) >= LOADS_TO_SEE_BURSTS and goal.vary and (pools := _growth_per_burst(results)):
        return _pool_or_leak(trial, goal, pools)
    if _must_wait_now(trial, goal, results):
        return design.wait(trial, goal)
    step = _load_or_control(trial, goal, loads, growing)
    if goal.vary and memory and _counts_certified(trial, goal, results) and step.phase is Phase.LOAD:
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
    loads = [o for o in trial.observations if o.spec.phase is Phase.LOAD]
    if len(loads) < goal.cycles and (
        STREAM in open_ or (open_ and trial.observations[-1].spec.phase is not Phase.LOAD)
    ):
        return (
            _load_or_control(trial, goal, loads, [])
            if STREAM in open_
            else design.short_dwell(trial, goal, Phase.LOAD)
        )
    if HOUR not in open_ or goal.max_seconds is None:
        return None
    step = design.idle(trial, goal)
    left = goal.max_seconds - design.spent(trial)
    overhead = design.expected(trial.observations, replace(step, dwell=0.0))
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
        else goal.max_seconds - design.spent(trial) - settling - WAIT_SLACK
    )
    step = next_hold(trial, design.plain(trial, goal, Phase.HOLD), goal.hold, longest)
    if step and step.dwell > goal.hold and goal.broker and not any(o.spec.fault for o in trial.observations):
        # A long hold may take the rest of the time. Leaks per timeout of the broker need a cycle with timeouts before.
        return replace(design.silenced(trial, goal), phase=Phase.LOAD)
    if step is None or goal.max_seconds is None:
        return step
    # A hold that does not fit into the time is left out, with a warning that gives its length.
    left = goal.max_seconds - design.spent(trial)
    return step if design.expected(trial.observations, step) <= left else None


def _confirm_retained(
    trial: Trial, goal: Goal, suspected: Mapping[Key, Assessed], releasing: Mapping[Key, Assessed]
) -> Step:
    """Growth is certain but may still be released. First run everything that needs clients, then leave the service
    alone until its oldest streams are older than the retention time."""
    # A service that reached a limit refuses more clients, so it can only be watched.
    if limit_of(trial):
        idle = _idle_seconds(trial)
        return (
            design.wait(trial, goal)
            if idle
            < _longest_retention(trial, goal, {**suspected, **releasing}) + 2 * MARGIN + LATE_NOTICE_SECONDS
            else Stop("it stopped serving")
        )
    if not _wait_begun(trial):
        step = _distinguish_drivers(trial, goal, list(suspected.values())) if goal.vary else None
        if step is not None:
            return step
        # The search comes before the large load, because tracing costs more the more the service retains. A service
        # that uses much CPU while idle does not answer its agent in time, so it is searched only for a certain leak.
        calm = design.idle_work(trial) <= MAX_IDLE_CORES_FOR_SEARCH
        if (
            goal.search
            and suspected
            and not trial.searched
            and calm
            and _time_for_search(trial, goal, suspected)
        ):
            return Search()
        step = design.certifying(trial, goal, EXPECTED_LEAKS_AT_95 / trial.sensitivity) if goal.vary else None
        if goal.vary and not suspected and _loads_exceed_pool(trial, goal, releasing):
            step = design.certifying(trial, goal, math.inf)
        if step is None and goal.vary and _swept_away(trial, {**suspected, **releasing}):
            step = design.short_dwell(trial, goal, Phase.LOAD)
        # If the service refuses most streams, several loads are needed, and the wait must still fit after the last.
        if step and not _wait_fits_only_now(trial, goal, step, {**suspected, **releasing}):
            return step
        return design.wait(trial, goal)
    retention = max(retention_of(trial, key) for key in (*suspected, *releasing))
    idle = _idle_seconds(trial)
    over = [one.release.over and one.idle_evidence.drained[-1] == len(moments(trial)) - 1 for one in releasing.values()
            if one.idle_evidence and one.release]  # fmt: skip
    longest = retention + 2 * MARGIN + (LATE_NOTICE_SECONDS if suspected else 0.0)
    # The remainder after a release could be a pool. If it is a leak, another load leaves as much again.
    again = (
        goal.vary and not suspected and idle < longest and _remainder_is_stable(trial, goal, releasing, idle)
    )
    if again and (step := design.certifying(trial, goal, math.inf)):
        return step
    if idle < longest and (suspected or not all(over)):
        return design.wait(trial, goal)
    # Another load shows whether what is left grows again.
    if not suspected and goal.vary and _time_for_release(trial, goal, releasing):
        return design.certifying(trial, goal, math.inf) or Stop(
            "the service's ceilings leave no room for more"
        )
    if idle < longest and not all(one.status == "bounded" for one in releasing.values()):
        # The remainder may still be released.
        return design.wait(trial, goal)
    return Stop(f"growth was watched for {idle:.0f} s after the last client, and remains undecided")


def _remainder_is_stable(trial: Trial, goal: Goal, releasing: Mapping[Key, Assessed], idle: float) -> bool:
    """Whether a second load should test the remainder of a release: it is small enough for a pool and no longer falls,
    and a load with a whole wait after it fits into the remaining time. True at most once a run."""
    waits = [index for index, o in enumerate(trial.observations) if o.spec.phase is Phase.RETENTION]
    loaded = any(o.ledger.opened for o in trial.observations[waits[0] :]) if waits else False
    after = max((one.release.after for one in releasing.values() if one.release), default=0.0)
    if loaded or len(waits) < STILL_READINGS or not after or idle < RELEASE_OVER_FACTOR * after:
        return False
    last = trial.observations[-STILL_READINGS:]
    if any(o.levels.get(key) != last[0].levels.get(key) for o in last for key in releasing):
        return False
    remainders = [last[0].levels.get(key, 0.0) - trial.initial.get(key, 0.0) for key in releasing]
    if not any(MIN_GROWTH <= remainder <= BURST_POOL for remainder in remainders):
        # Nothing remains, or more than a pool holds.
        return False
    if goal.max_seconds is None:
        return True
    left = goal.max_seconds - design.spent(trial) - _longest_retention(trial, goal, releasing) - WAIT_SLACK
    return left > design.expected(trial.observations, design.large(trial, goal, "fin"))


def _loads_exceed_pool(trial: Trial, goal: Goal, releasing: Mapping[Key, Assessed]) -> bool:
    """Whether what was left after a release, if it is a leak, will probably exceed any pool after as many loads as
    still fit in before a whole wait, and not surely without them: a wait for what a pool could hold decides nothing."""
    seen = trial.observations
    last = max((index for index, o in enumerate(seen) if o.spec.phase is Phase.RETENTION), default=0)
    if not last or goal.max_seconds is None:
        return False
    then = math.fsum(answered(o.ledger) for o in seen[:last])
    now = math.fsum(answered(o.ledger) for o in seen)
    step = design.large(trial, goal, "fin")
    left = goal.max_seconds - design.spent(trial) - _longest_retention(trial, goal, releasing) - WAIT_SLACK
    loads = left // max(1.0, design.expected(seen, step))
    for key in releasing:
        rest = seen[last].levels.get(key, 0.0) - trial.initial.get(key, 0.0)
        _, least, _ = poisson_interval(max(0.0, rest), then)
        if rest < MIN_GROWTH or least * now > BURST_POOL:
            continue
        if rest / then * (now + loads * step.connections) > BURST_POOL:
            return True
    return False


def _swept_away(trial: Trial, growing: Mapping[Key, Assessed]) -> bool:
    """Whether the last load left less of everything than there was before it, because a sweep came at its end: a wait
    that begins now has nothing to be released, and would not tell a sweep by the clock from one by the number of
    requests."""
    seen = trial.observations
    last = max((index for index, o in enumerate(seen) if o.ledger.opened), default=0)
    if not last:
        return False
    return all(seen[last].levels.get(key, 0.0) < seen[last - 1].levels.get(key, 0.0) for key in growing)


def _any_late_release(results: Mapping[Key, Assessed]) -> bool:
    """Whether something is released late: after another load the plan would have to wait again."""
    return any(one.release for one in results.values())


def _sweep_unknown(results: Mapping[Key, Assessed]) -> bool:
    """Whether a sweep was seen whose interval is not known yet."""
    return any(
        one.idle_evidence and one.release and one.release.at_once and one.release.every is None
        for one in results.values()
    )


def _time_for_wait(trial: Trial, goal: Goal, results: Mapping[Key, Assessed]) -> bool:
    if goal.max_seconds is None:
        return True
    return goal.max_seconds - design.spent(trial) > _longest_retention(trial, goal, results) + WAIT_SLACK


def _wait_fits_only_now(trial: Trial, goal: Goal, step: CycleSpec, results: Mapping[Key, Assessed]) -> bool:
    """Whether the wait fits into the remaining time now, but would not after one more load."""
    if goal.max_seconds is None:
        return False
    left = goal.max_seconds - design.spent(trial) - _longest_retention(trial, goal, results) - WAIT_SLACK
    return 0 < left <= design.expected(trial.observations, step)


def _must_continue_wait(trial: Trial, goal: Goal, results: Mapping[Key, Assessed]) -> bool:
    """Whether a wait that has begun must continue because something grows. Noise may hide the growth in one reading,
    and a load would restart the wait."""
    if not _wait_begun(trial):
        return False
    idle = _idle_seconds(trial)
    growing = {
        key: one for key, one in results.items() if one.growing and key.metric not in JUDGED_ONLY_IF_CERTAIN
    }
    if _may_load_again(trial, goal, growing):
        return False
    return bool(growing) and idle < _longest_retention(trial, goal, growing) + 2 * MARGIN


def _may_load_again(trial: Trial, goal: Goal, growing: Mapping[Key, Assessed]) -> bool:
    """Whether slow growth that is no longer certain gets another load. One reading of a noisy count during the wait may
    have lowered the evidence below its threshold, and waiting adds no evidence. Enough time to wait must remain."""
    slow = all(
        not one.cache and not one.per_burst and one.total < STEEP * one.exposure and one.factor != "time"
        for one in growing.values()
    )
    if not growing or not slow or not goal.vary or goal.max_seconds is None:
        return False
    idle = _idle_seconds(trial)
    load = design.expected(trial.observations, design.large(trial, goal, "fin"))
    left = goal.max_seconds - design.spent(trial) - load
    whole_wait = max((retention_of(trial, key) for key in growing), default=goal.retention) + WAIT_SLACK
    return left >= whole_wait or (idle < MAX_WAIT_LOST and left >= MIN_WATCH_SECONDS + MAX_WAIT_LOST)


def _wait_begun(trial: Trial) -> bool:
    """Whether a wait continues: no client connected since; the control without clients may be a part of the wait."""
    for one in reversed(trial.observations):
        if one.spec.phase is Phase.RETENTION:
            return True
        if one.ledger.opened or one.spec.phase is not Phase.IDLE:
            return False
    return False


def _time_for_release(trial: Trial, goal: Goal, releasing: Mapping[Key, Assessed]) -> bool:
    """Whether a release after another load would fit into the remaining time, judging by the releases so far."""
    if goal.max_seconds is None:
        return True
    after = max(
        (one.release.after for one in releasing.values() if one.release),
        default=0.0,
    )
    wait = (
        min(_longest_retention(trial, goal, releasing), NEXT_RELEASE_FACTOR * after)
        + design.MAX_LOAD
        + WAIT_SLACK
    )
    return goal.max_seconds - design.spent(trial) > wait


def _idle_seconds(trial: Trial) -> float:
    """Seconds since the last client disconnected."""
    left = max((o.load_ended or o.ended for o in trial.observations if o.ledger.opened), default=0.0)
    return trial.observations[-1].ended - left


def _time_for_search(trial: Trial, goal: Goal, suspected: Mapping[Key, Assessed]) -> bool:
    """Whether the search for the place, and the wait that follows it, fit into the remaining time."""
    if goal.max_seconds is None:
        return True
    return (
        goal.max_seconds - design.spent(trial)
        > MAX_SEARCH + _longest_retention(trial, goal, suspected) + WAIT_SLACK
    )


def _longest_retention(trial: Trial, goal: Goal, results: Mapping[Key, Assessed]) -> float:
    """The longest retention time of the metrics that grow; each may have its own."""
    times = [retention_of(trial, key) for key, one in results.items() if one.growing or one.idle_evidence]
    return max(times, default=goal.retention)


def _load_or_control(
    trial: Trial, goal: Goal, loads: Sequence[Observation], growing: Sequence[Assessed]
) -> CycleSpec:
    """The next load cycle, or a control. If something grows, loads alternate with controls of the same length: with few
    clients, or without clients if time may be the cause."""
    if not goal.vary:
        return design.plain(trial, goal, Phase.LOAD)
    if not loads:
        return design.short_dwell(trial, goal, Phase.LOAD)
    last = trial.observations[-1].spec.phase
    if growing and len(loads) >= 2 and all(one.cache and one.factor == "connection" for one in growing):
        # An orderly close is the fastest way to disconnect, and more streams than any cache holds are needed.
        return replace(design.large(trial, goal, "fin"), connections=_connections_beyond_cache(trial, goal))
    if growing and len(loads) >= 2:
        due = _long_control_due(trial, goal, growing)
        over_time = any("time" in (one.factor, *one.rivals) for one in growing)
        if last is Phase.LOAD:
            # Longer than any load, to distinguish growth over time from growth per cycle.
            control = design.idle(trial, goal)
            longer = min(design.MAX_CONTROL, 2 * control.dwell)
            if over_time:
                return replace(control, dwell=longer)
            return design.few(trial, goal) if due else _short_control(trial, goal)
        if last is Phase.IDLE:
            return design.few(trial, goal)
    if goal.broker and len(loads) % 3 == 2 and trial.observations[-1].spec.fault == "":
        return replace(design.silenced(trial, goal), phase=Phase.LOAD)
    orderly = goal.disconnect == "mixed" and (
        len(loads) % 2 == 1 or (len(loads) > LOADS_TO_SEE_BURSTS and _disconnect_irrelevant(growing))
    )
    step = design.large(trial, goal, "fin" if orderly else None)
    if len(loads) == 1:
        if any(one.total >= STEEP * one.exposure for one in growing):
            # A smaller load is quick, and differs in size from the last one.
            step = design.half(trial, goal)
        step = replace(step, connections=min(step.connections, int(design.GROWTH * goal.connections)))
        return replace(step, events=design.MORE_EVENTS * max(1, goal.events), dwell=goal.dwell)
    return step


def _long_control_due(trial: Trial, goal: Goal, growing: Sequence[Assessed]) -> bool:
    """Whether the next control is as long as a load, which shows growth over time, or a short burst, which shows growth
    per burst. Slow growth needs most of the time for loads, so only every third control is long; with a retention time
    only the first, because the wait shows growth over time as well."""
    controls = sum(1 for o in trial.observations if o.spec.phase is Phase.ATTRIBUTION)
    slow = all(one.total < STEEP * one.exposure for one in growing)
    return (
        not slow or controls % LONG_CONTROL_EVERY == 0 if goal.retention <= 0 else not slow or controls == 0
    )


def _short_control(trial: Trial, goal: Goal) -> CycleSpec:
    return replace(design.burst(trial, goal), phase=Phase.ATTRIBUTION)


def _must_wait_now(trial: Trial, goal: Goal, results: Mapping[Key, Assessed]) -> bool:
    """Whether slow growth is not certain yet, and another load would leave too little time to see that it is
    retained."""
    growing = [
        one for key, one in results.items() if one.growing and key.metric not in JUDGED_ONLY_IF_CERTAIN
    ]
    if not growing or not goal.vary or goal.max_seconds is None or goal.retention <= 0:
        return False
    if any(one.cache or one.per_burst or one.total >= STEEP * one.exposure for one in growing):
        return False
    if all(one.few for one in growing):
        # No wait makes it certain, and more clients may show that it has stopped.
        return False
    left = goal.max_seconds - design.spent(trial) - design.longest(trial.observations)
    return left < min(goal.retention, MIN_WATCH_SECONDS) <= left + design.longest(trial.observations)


def _disconnect_irrelevant(growing: Sequence[Assessed]) -> bool:
    """Whether all growth is slow and independent of how clients disconnect, so that all can use the fastest way."""
    return bool(growing) and all(
        one.total < STEEP * one.exposure and not DISCONNECT_WAYS & {one.factor, *one.rivals}
        for one in growing
    )


def _more_of_driver(trial: Trial, goal: Goal, growing: Sequence[Assessed]) -> CycleSpec | None:
    """A cycle with the driver of growth that paused, where a large load has little of it; None where it has."""
    drivers = {one.factor for one in growing}
    if not all(one.paused for one in growing):
        return None
    if "broker-timeout" in drivers and goal.broker:
        return replace(design.silenced(trial, goal), phase=Phase.LOAD)
    if drivers & {"event", "long"}:
        return design.eventful(trial, goal)
    if "stream-second" in drivers:
        return design.few(trial, goal)
    return design.large(trial, goal) if drivers & DISCONNECT_WAYS else None


def _growth_per_burst(results: Mapping[Key, Assessed]) -> list[Assessed]:
    """The counts that grow by the same amount in every burst, if all causes of growth do; else empty. Consequences,
    such as the stacks of such threads, are left out."""
    growing = {
        key: one for key, one in results.items() if one.growing and key.metric not in JUDGED_ONLY_IF_CERTAIN
    }
    causes = [one for key, one in growing.items() if rank(key) == 0] or list(growing.values())
    return causes if all(one.per_burst for one in causes) else []


def _pool_or_leak(trial: Trial, goal: Goal, growing: Sequence[Assessed]) -> CycleSpec:
    """The cycle that distinguishes a pool from a leak. A pool that grows much in every burst is full after a few more
    bursts. One that grows little grows no more in a very long burst than in a short one, and a full one not at all."""
    if all(one.paused for one in growing):
        return design.long(trial, goal)
    bursts = sum(1 for o in trial.observations if o.ledger.opened)
    each = max(one.total for one in growing) / max(1, bursts)
    short = trial.observations[-1].spec.connections <= goal.connections
    return design.long(trial, goal) if each <= LONG_BURST_MAX_UNITS and short else design.burst(trial, goal)


def _connections_beyond_cache(trial: Trial, goal: Goal) -> int:
    """Connections of one cycle that outgrow a cache, as far as it stays short."""
    orderly = [o for o in trial.observations if o.spec.disconnect == "fin" and o.ledger.opened]
    seconds = orderly[-1].ledger.seconds if orderly else 0.0
    pace = orderly[-1].ledger.opened / seconds if seconds > 0 else design.pace(trial, "fin")
    return max(goal.connections, int(min(CACHE, design.MAX_LOAD * pace)))


def _distinguish_drivers(trial: Trial, goal: Goal, leaking: Sequence[Assessed]) -> CycleSpec | None:
    """A cycle that distinguishes the drivers that explain a certain leak equally well; None when nothing is left to
    distinguish, or every such cycle was run."""
    tried = [o.spec for o in trial.observations if o.spec.phase in (Phase.ATTRIBUTION, Phase.IDLE)]
    if sum(1 for spec in tried if spec.phase is Phase.ATTRIBUTION) >= MAX_ATTRIBUTIONS:
        return None
    wanted = {name for one in leaking for name in open_question(one.factor, one.rivals)}
    if not wanted:
        return None
    candidates: list[CycleSpec] = []
    if wanted & {"event", "time"}:
        candidates.append(design.few(trial, goal))
        if "event" in wanted:
            candidates.append(design.eventful(trial, goal))
    if "broker-timeout" in wanted and goal.broker:
        candidates.append(design.silenced(trial, goal))
    if "invalid" in wanted and goal.invalid > 0:
        candidates.append(replace(design.pure(trial, goal, "fin"), invalid=0.0))
    if wanted & DISCONNECT_WAYS and goal.disconnect == "mixed":
        if "connection" in wanted or "event" in wanted:
            candidates.append(design.pure(trial, goal, "fin"))
        ways = ("stall", "rst-early", "rst", "half-close")
        candidates.extend(design.pure(trial, goal, way) for way in ways)
    done = {_design_of(spec) for spec in tried}
    return next((step for step in candidates if _design_of(step) not in done), None)


def _design_of(spec: CycleSpec) -> tuple[str, bool, bool, str, bool]:
    """What distinguishes the designs of ``_distinguish_drivers``: two cycles with the same are the same test."""
    return spec.disconnect, spec.events == 0, spec.events > 1, spec.fault, spec.invalid > 0


def _certified(trial: Trial, goal: Goal, results: Mapping[Key, Assessed], memory: Assessed | None) -> bool:
    """Whether nothing grew over so many connections that a leak of the asked size would hardly be missed. After half of
    the time the 95 % bound is enough."""
    if memory and memory.status == "undecided":
        return False
    return _counts_certified(trial, goal, results)


def _counts_certified(trial: Trial, goal: Goal, results: Mapping[Key, Assessed]) -> bool:
    """Whether no exact count grew, over enough connections."""
    if not any(key.metric in CERTIFIED for key in results):
        return False
    for key, result in results.items():
        if key.metric in JUDGED_ONLY_IF_CERTAIN:
            continue
        if result.growing or (key.metric in CERTIFIED and result.status != "bounded"):
            return False
    if not goal.vary:
        return True
    # If something is released late, every further load needs another wait, so the weaker bound is enough.
    late = (goal.max_seconds is not None and design.spent(trial) > goal.max_seconds / 2) or _any_late_release(
        results
    )
    return all(
        result.at_most * EXPECTED_LEAKS_CERTIFIED <= 3.0 * trial.sensitivity
        or (late and (result.total <= 0 or runs_threads(trial, key)))
        or (result.release is not None)
        or (late and result.per_burst)
        for key, result in results.items()
        if key.metric in CERTIFIED
    )


def _memory(trial: Trial, found: Sequence[Moment]) -> Assessed | None:
    return None if counted_inside(found) else memory_of(trial, found)


def steep(warm: Sequence[Observation]) -> bool:
    """Whether some count grew by half a unit per connection or more in the last warm-up cycle."""
    before, after = warm[-2:]
    return any(
        level - before.levels.get(key, 0.0) >= STEEP * max(1, after.ledger.opened)
        for key, level in after.levels.items()
        if key.judged is Judged.EXACT
        and key.kind not in ("heap-bytes", "blocks")
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
