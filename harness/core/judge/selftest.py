"""Tests whether this run could have found what it claims to exclude: it plants a leak of that size, which must be
found.

The service is replayed as it was recorded, with the leak on top, under the same plan within the same time. Where the
plan asks for more cycles than were recorded, because something now grows, the service continues at its measured pace,
with the variation of its recorded levels. The planted leak is deterministic: one of every 1/rate connections is
retained.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.core import design
from harness.core.cycle import DISCONNECT_MODES, CycleSpec, Ledger, Observation, Phase
from harness.core.design import Goal
from harness.core.judge.counts import CERTIFIED
from harness.core.judge.memory import ASKED, MEMORY, counted_inside
from harness.core.judge.moments import moments
from harness.core.judge.one_count import smallest_leak
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.plan import Stop, next_step
from harness.core.record import Trial
from harness.core.stats.distributions import median
from harness.core.units import counted
from harness.core.verdict import Outcome, Verdict

MAX_CYCLES = 120
DEFAULT_SECONDS = 120.0
MIN_SECONDS = 180.0  # what a verdict on memory may take


@dataclass(frozen=True, slots=True)
class Planted:
    """One planted leak. size: units per connection. connections: served until it was found, or in all."""

    key: Key
    size: float
    found: bool
    connections: int
    why: str

    def sentence(self) -> str:
        """One line for people."""
        unit = self.key.unit if self.key.unit == str(self.key) else f"{self.key.unit} of {self.key}"
        amount = f"{self.size:.4g} {unit} per connection"
        if self.found:
            return f"planted {amount}: found after {counted(self.connections, 'connection', ',')}"
        return f"planted {amount}: not found ({self.why})"


def self_test(trial: Trial, goal: Goal | None = None) -> tuple[Planted, ...]:
    """Plant each leak that the trial's bounds claim to exclude; empty when it claims none."""
    wanted = goal or goal_from(trial)
    if wanted is None:
        return ()
    return tuple(_plant(trial, wanted, key, size) for key, size in claims(trial).items())


def confirmed(trial: Trial, goal: Goal | None = None) -> tuple[Trial, tuple[Planted, ...]]:
    """The judged trial, and the planted leaks. It is inconclusive if one of them was not found."""
    verdict = trial.verdict or judge(trial)
    if verdict.outcome is not Outcome.BOUNDED:
        return replace(trial, verdict=verdict), ()
    planted = self_test(trial, goal)
    missed = [one for one in planted if not one.found]
    if planted and not missed:
        return replace(trial, verdict=verdict), planted
    why = "; ".join(one.sentence() for one in missed) or "nothing could be planted"
    weak = Verdict(
        Outcome.INCONCLUSIVE,
        f"underpowered: {why}",
        bounds=verdict.bounds,
        warnings=verdict.warnings,
        advice="allow more time (--max-time) or look only for larger leaks (--sensitivity)",
    )
    return replace(trial, verdict=weak), planted


def claims(trial: Trial) -> dict[Key, float]:
    """The leaks that a pass of this trial excludes: units per connection by key."""
    found = moments(trial)
    keys = {key for moment in found for key in moment.levels}
    wanted = {key: trial.sensitivity for key in sorted(keys) if key.metric in CERTIFIED and not key.kind}
    objects = Key("memory", "objects")
    if objects in keys:
        wanted[objects] = smallest_leak(objects, trial.sensitivity)
    elif MEMORY in keys and not counted_inside(found):
        bounds = (trial.verdict or judge(trial)).bounds
        if any(
            bound.kind == MEMORY.kind and bound.status == "bounded" and bound.per_stream for bound in bounds
        ):
            wanted[MEMORY] = ASKED
    return wanted


def goal_from(trial: Trial) -> Goal | None:
    """The load of a saved trial, reconstructed from its cycles; None without a complete cycle."""
    specs = [
        o.spec
        for o in trial.observations
        if o.spec.connections and o.spec.phase not in (Phase.ATTRIBUTION, Phase.SEARCH)
    ]
    if not specs:
        return None
    common = Counter(spec.connections for spec in specs[:4]).most_common(1)[0][0]
    first = next(spec for spec in specs if spec.connections == common)
    mixed = any(spec.disconnect == "mixed" for spec in specs)
    return Goal(
        connections=common,
        concurrency=first.concurrency,
        dwell=max(spec.dwell for spec in specs),
        paths=first.paths,
        events=first.events,
        disconnect="mixed" if mixed else first.disconnect,
        mode=first.mode,
        vary=len({spec.connections for spec in specs}) > 2,
        max_seconds=max(DEFAULT_SECONDS, design.elapsed_seconds(trial)),
    )


def _plant(trial: Trial, goal: Goal, key: Key, size: float) -> Planted:
    """Replay with one leak until the plan stops or it is found."""
    # A verdict on memory takes longer than the run may have had.
    if key == MEMORY:
        goal = replace(goal, max_seconds=max(MIN_SECONDS, goal.max_seconds or 0.0))
    recorded = [o for o in trial.observations if o.settled and o.levels and o.complete]
    # The self-test checks only whether the growth is found, not how long it is retained.
    now = replace(trial, observations=(), verdict=None, exit=None, retention=0.0, initial={})
    goal = replace(goal, retention=0.0, search=False)
    served = 0
    why = f"{MAX_CYCLES} cycles were not enough"
    for index in range(MAX_CYCLES):
        step = next_step(now, goal)
        if not isinstance(step, CycleSpec):
            why = step.reason if isinstance(step, Stop) else why
            break
        if index < len(recorded) and _alike(recorded[index].spec, step):
            seen = recorded[index]
            # The replayed cycle keeps its distance from the one before, which may have been simulated.
            if index:
                pause = max(0.0, seen.started - recorded[index - 1].ended)
                seen = _at(seen, now.observations[-1].ended + pause)
        else:
            seen = _simulated(now, recorded, step, index)
        served += seen.ledger.opened
        levels = {**seen.levels, key: seen.levels.get(key, 0.0) + _kept(key, size, served)}
        now = replace(now, observations=(*now.observations, replace(seen, spec=step, levels=levels)))
    verdict = judge(now)
    found = any(f.metric == key.metric and f.status == "leaking" for f in verdict.findings)
    return Planted(key, size, found, served, why)


def _at(one: Observation, start: float) -> Observation:
    """The recorded cycle, moved to start when the one before ended, which may not be the recorded one."""
    later = start - one.started
    ended = None if one.load_ended is None else one.load_ended + later
    return replace(one, started=start, ended=one.ended + later, load_ended=ended)


def _kept(key: Key, size: float, served: int) -> float:
    """The units that the planted leak retains after ``served`` connections; bytes in whole pages."""
    return math.floor(size * served / 4096) * 4096.0 if key == MEMORY else float(math.floor(size * served))


def _alike(one: CycleSpec, other: CycleSpec) -> bool:
    return (
        one.connections == other.connections
        and one.phase is other.phase
        and one.disconnect == other.disconnect
        and one.events == other.events
        and one.fault == other.fault
    )


def _simulated(now: Trial, recorded: Sequence[Observation], step: CycleSpec, index: int) -> Observation:
    """A cycle that was not recorded, as this service would probably have served it."""
    # Medians, because single cycles of the record may have been slowed down by the machine.
    rests = [o.ended - o.load_ended for o in recorded if o.load_ended is not None]
    rest = median(rests) if rests else 1.0
    rates = [o.ledger.opened / o.ledger.seconds for o in recorded if o.ledger.opened and o.ledger.seconds > 0]
    pace = median(rates) if rates else 100.0
    load = step.connections / pace if step.connections else step.dwell
    if step.connections and not step.events:
        load = max(load, step.dwell)
    start = now.observations[-1].ended if now.observations else 0.0
    modes = list(DISCONNECT_MODES) if step.disconnect == "mixed" else [step.disconnect]
    by_mode = {mode: step.connections // len(modes) for mode in modes} if step.connections else {}
    aborts = sum(count for mode, count in by_mode.items() if mode != "fin")
    ledger = Ledger(
        opened=step.connections,
        completed=step.connections,
        events=step.connections * max(1, step.events),
        aborts=aborts,
        seconds=load,
        by_mode=by_mode,
    )
    return Observation(
        step, ledger, _levels(recorded, index), start, start + load + rest, start + load, close_lag=0.0
    )


def _levels(recorded: Sequence[Observation], index: int) -> Mapping[Key, float]:
    """The last level of each key, with the deviation of a recorded level from the median."""
    later = [o.levels for o in recorded[len(recorded) // 2 :]]
    chosen = later[index % len(later)]
    moved = {}
    for key, last in recorded[-1].levels.items():
        values = [levels[key] for levels in later if key in levels]
        swing = chosen.get(key, last) - median(values) if key != MEMORY and values else 0.0
        moved[key] = last + swing
    return moved
