"""Every count of a trial through the sequential test: which series, which driver units, which results."""

from __future__ import annotations

from harness.core.counts import CountResult, CountSeries, assess
from harness.core.cycle import Observation, Phase
from harness.core.metric import Judged, Key
from harness.core.record import Trial

# Growth per cycle that is a reading's own: an interpreter maps an arena now and then.
TOLERANCE = {"mappings": 4.0, "blocks": 8.0, "objects": 8.0}


def assess_counts(trial: Trial) -> dict[Key, CountResult]:
    """key → result, for every exact count that was read in at least two cycles."""
    found = {}
    for key in exact_keys(trial):
        series = count_series(trial, key)
        if series:
            found[key] = assess(series, sensitivity=trial.sensitivity, allowed=allowed(trial, key))
    return found


def exact_keys(trial: Trial) -> list[Key]:
    """Exact counts that at least two cycles read, in a fixed order."""
    seen: dict[Key, int] = {}
    for observation in trial.observations:
        for key in observation.levels:
            seen[key] = seen.get(key, 0) + 1
    return sorted(key for key, times in seen.items() if times >= 2 and key.judged is Judged.EXACT)


def allowed(trial: Trial, key: Key) -> float:
    """Budgeted growth per connection of this key."""
    growth = trial.budget.growth
    return growth.get(str(key), growth.get(key.metric, 0.0))


def judged_cycles(trial: Trial) -> list[Observation]:
    """The settled load cycles, preceded by the last settled cycle before them as the base line. A trial
    that never came to its load cycles is judged on what it has, its first cycle being the base."""
    settled = [o for o in trial.observations if o.levels and o.spec.phase is not Phase.ATTRIBUTION]
    loads = [o for o in settled if o.spec.phase is Phase.LOAD]
    first = settled.index(loads[0]) if loads else len(settled)
    before = settled[:first]
    return ([before[-1]] if before else []) + loads if loads else settled


def count_series(trial: Trial, key: Key) -> CountSeries | None:
    """The levels of one key with the connections of each cycle; None with fewer than two levels."""
    cycles = judged_cycles(trial)
    # A class that a census did not meet has a level of zero, not a gap.
    read = [o for o in cycles if key in o.levels or (key.kind and Key(key.metric) in o.levels)]
    if len(read) < 2:
        return None
    return CountSeries(
        levels=tuple(o.levels.get(key, 0.0) for o in read),
        units=tuple(float(o.ledger.opened) for o in read[1:]),
        seconds=tuple(o.ended - o.started for o in read[1:]),
        idle_per_second=idle_growth(trial, key),
        peak=max(o.spec.concurrency for o in read),
        tolerance=TOLERANCE.get(key.kind, TOLERANCE.get(key.metric, 0.0)),
    )


def idle_growth(trial: Trial, key: Key) -> float:
    """Growth per second over the idle control cycles: what needs no client."""
    grown = seconds = 0.0
    before: Observation | None = None
    for observation in trial.observations:
        known = before is not None and key in before.levels and key in observation.levels
        if known and before and observation.spec.phase is Phase.IDLE:
            grown += observation.levels[key] - before.levels[key]
            seconds += observation.ended - observation.started
        before = observation
    return max(0.0, grown / seconds) if seconds else 0.0
