"""The cycles that distinguish one explanation of growth from another: its drivers, a pool from a leak, and what is
specific to a way of disconnecting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.core import design
from harness.core.cycle import CycleSpec, Phase
from harness.core.design import Goal
from harness.core.judge.assessed import Assessed
from harness.core.judge.caveat import JUDGED_ONLY_IF_CERTAIN
from harness.core.judge.diagnose import open_question
from harness.core.judge.one_count import MAX_CACHE_ENTRIES, STEEP
from harness.core.judge.tested_series import BURST_POOL
from harness.core.metric import Key, rank
from harness.core.record import Trial

LOADS_TO_SEE_BURSTS = 3  # loads of different size after which growth per burst shows
LONG_CONTROL_EVERY = 3  # every third control is as long as a load, where no wait follows
MAX_BURSTS = 12  # bursts in a row before a larger load
LONG_BURST_MAX_UNITS = 4.0  # units per burst up to which one long burst decides sooner than many short ones
MAX_ATTRIBUTIONS = 7  # cycles that distinguish the drivers of a certain leak
# Drivers that are ways in which clients disconnect.
DISCONNECT_WAYS = frozenset({"abort", "not-fin", "reset", "stall", "rst", "rst-early", "half-close"})
PER_STREAM = ("connection", "answered")  # drivers that each stream is one unit of


def long_control_due(trial: Trial, goal: Goal, growing: Sequence[Assessed]) -> bool:
    """Whether the next control is as long as a load, which shows growth over time, or a short burst, which shows growth
    per burst. Slow growth needs most of the time for loads, so only every third control is long; with a retention time
    none is, because the wait shows growth over time as well."""
    if any(one.total >= STEEP * one.exposure for one in growing):
        return True
    controls = sum(1 for o in trial.observations if o.spec.phase is Phase.ATTRIBUTION)
    return goal.retention <= 0 and controls % LONG_CONTROL_EVERY == 0


def short_control(trial: Trial, goal: Goal) -> CycleSpec:
    """One short burst of clients: what grows with every burst grows here too, what follows the streams hardly does."""
    return replace(design.burst_load(trial, goal), phase=Phase.ATTRIBUTION)


def disconnect_irrelevant(growing: Sequence[Assessed]) -> bool:
    """Whether all growth is slow and independent of how clients disconnect, so that all can use the fastest way."""
    return bool(growing) and all(
        one.total < STEEP * one.exposure and not DISCONNECT_WAYS & {one.factor, *one.rivals}
        for one in growing
    )


def load_of_single_units(trial: Trial, goal: Goal, growing: Sequence[Assessed]) -> int | None:
    """Connections of a load to which slow growth adds about one unit, where every load so far added several. It shows
    whether the units come one by one, which counts as much more evidence than batches do. None if that is known, or
    if the last load was that small: every second one is as large as before."""
    batched = [one for one in growing if one.batch > 1 and one.total < STEEP * one.exposure]
    loads = [o.spec.connections for o in trial.observations if o.spec.phase is Phase.LOAD]
    if not batched or len(loads) < LOADS_TO_SEE_BURSTS or 2 * loads[-1] < max(loads[-3:]):
        return None
    return max(goal.connections, int(max(one.exposure / one.total for one in batched)))


def more_of_driver(trial: Trial, goal: Goal, growing: Sequence[Assessed]) -> CycleSpec | None:
    """A cycle with the driver of growth that paused, where a large load has little of it; None where it has."""
    drivers = {one.factor for one in growing}
    if not all(one.paused for one in growing):
        return None
    if "broker-timeout" in drivers and goal.broker:
        return replace(design.silent_broker_control(trial, goal), phase=Phase.LOAD)
    if drivers & {"event", "long"}:
        step = design.more_events_control(trial, goal)
        # Other growth waits for its own driver: three threads of Go's runtime, which came with some events, had seven
        # such controls in a row, and no time was left to tell early resets from others.
        if not (drivers & DISCONNECT_WAYS and trial.observations[-1].spec.events == step.events):
            return step
    if "stream-second" in drivers:
        return design.few_streams_control(trial, goal)
    return design.large_load(trial, goal) if drivers & DISCONNECT_WAYS else None


def growth_per_burst(results: Mapping[Key, Assessed]) -> list[Assessed]:
    """The counts that grow by the same amount in every burst, if all causes of growth do; else empty. Consequences,
    such as the stacks of such threads, are left out."""
    growing = {
        key: one for key, one in results.items() if one.growing and key.metric not in JUDGED_ONLY_IF_CERTAIN
    }
    causes = [one for key, one in growing.items() if rank(key) == 0] or list(growing.values())
    return causes if all(one.per_burst for one in causes) else []


def pool_or_leak_load(trial: Trial, goal: Goal, growing: Sequence[Assessed]) -> CycleSpec:
    """The cycle that distinguishes a pool from a leak. A pool that grows much in every burst is full after a few more
    bursts. One that grows little grows no more in a very long burst than in a short one, and a full one not at all."""
    if all(one.paused for one in growing):
        return design.longest_burst(trial, goal)
    bursts = sum(1 for o in trial.observations if o.ledger.opened)
    each = max(one.total for one in growing) / max(1, bursts)
    short = trial.observations[-1].spec.connections <= goal.connections
    if _bursts_in_a_row(trial, goal) >= MAX_BURSTS:
        # A pool that is not full yet grows no more in a large load than in a burst, a leak that began late does.
        return design.large_load(trial, goal, "fin" if goal.disconnect == "mixed" else None)
    return (
        design.longest_burst(trial, goal)
        if each <= LONG_BURST_MAX_UNITS and short
        else design.burst_load(trial, goal)
    )


def _bursts_in_a_row(trial: Trial, goal: Goal) -> int:
    """Bursts of clients since the last larger load."""
    loads = [o.spec.connections for o in trial.observations if o.spec.phase is Phase.LOAD]
    larger = [index for index, size in enumerate(loads) if size > goal.concurrency]
    return len(loads) - 1 - max(larger, default=-1)


def cache_or_pool(growing: Sequence[Assessed]) -> bool:
    """Whether what grows could be the entries of a cache, one for each stream, and the rest the slots of a pool: more
    streams decide both."""
    entries = [one for one in growing if one.cache and one.factor in PER_STREAM]
    return bool(entries) and all(one in entries or one.total <= BURST_POOL for one in growing)


def connections_beyond_cache(trial: Trial, goal: Goal) -> int:
    """Connections of one cycle that outgrow a cache, as far as it stays short."""
    # A hold opens few connections in many seconds, and was taken for a service that serves ten of them a second.
    orderly = [o for o in trial.observations if o.spec.phase is Phase.LOAD and o.spec.disconnect == "fin"]
    seconds = orderly[-1].ledger.seconds if orderly else 0.0
    pace = orderly[-1].ledger.opened / seconds if seconds > 0 else design.connections_per_second(trial, "fin")
    return max(goal.connections, int(min(MAX_CACHE_ENTRIES, design.MAX_LOAD * pace)))


def distinguish_drivers(trial: Trial, goal: Goal, leaking: Sequence[Assessed]) -> CycleSpec | None:
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
        candidates.append(design.few_streams_control(trial, goal))
        if "event" in wanted:
            candidates.append(design.more_events_control(trial, goal))
    if "broker-timeout" in wanted and goal.broker:
        candidates.append(design.silent_broker_control(trial, goal))
    if "invalid" in wanted and goal.invalid > 0:
        candidates.append(replace(design.one_disconnect_control(trial, goal, "fin"), invalid=0.0))
    if wanted & DISCONNECT_WAYS and goal.disconnect == "mixed":
        if "connection" in wanted or "event" in wanted:
            candidates.append(design.one_disconnect_control(trial, goal, "fin"))
        ways = ("stall", "rst-early", "rst", "half-close")
        candidates.extend(design.one_disconnect_control(trial, goal, way) for way in ways)
    done = {_design_of(spec) for spec in tried}
    return next((step for step in candidates if _design_of(step) not in done), None)


def _design_of(spec: CycleSpec) -> tuple[str, bool, bool, str, bool]:
    """The properties in which the designs of ``distinguish_drivers`` differ: two cycles with the same ones are the same
    test."""
    return spec.disconnect, spec.events == 0, spec.events > 1, spec.fault, spec.invalid > 0
