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
    cuts = [0, *(min(max(0, one.after), len(seen)) for one in trial.restarts), len(seen)]
    initial = [trial.initial, *(one.initial for one in trial.restarts)]
    parts = [
        replace(trial, observations=seen[first:last], initial=levels, restarts=())
        for (first, last), levels in zip(pairwise(cuts), initial, strict=True)
        if last > first
    ]
    return tuple(parts) or (replace(trial, restarts=()),)


def last_process(trial: Trial) -> Trial:
    """The part of a trial since its last restart."""
    return segments(trial)[-1]


def since_restart(trial: Trial) -> Trial:
    """The part of a trial that belongs to the running process; it may be empty."""
    after = trial.restarts[-1].after if trial.restarts else 0
    return replace(trial, observations=trial.observations[after:], restarts=())
