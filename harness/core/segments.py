"""A soak that was interrupted and resumed: one trial over several processes of the service."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from harness.core.record import Trial


def segments(trial: Trial) -> tuple[Trial, ...]:
    """One trial for each process of the service that finished a cycle, oldest first; the trial itself where there was
    one process only."""
    if not trial.restarts:
        return (trial,)
    seen = trial.observations
    # Clamped, because a record from a file may name more cycles than it holds.
    restarts_after = (min(max(0, restart.after), len(seen)) for restart in trial.restarts)
    initial = [trial.initial, *(restart.initial for restart in trial.restarts)]
    parts = [
        replace(trial, observations=seen[first:last], initial=levels, restarts=())
        for (first, last), levels in zip(pairwise([0, *restarts_after, len(seen)]), initial, strict=True)
        if last > first
    ]
    # Without a finished cycle there is no part, but callers judge the first one or the last.
    return tuple(parts) or (replace(trial, restarts=()),)


def last_process(trial: Trial) -> Trial:
    """The part of a trial since its last restart."""
    return segments(trial)[-1]


def since_restart(trial: Trial) -> Trial:
    """The part of a trial that belongs to the running process; it may be empty."""
    after = trial.restarts[-1].after if trial.restarts else 0
    return replace(trial, observations=trial.observations[after:], restarts=())
