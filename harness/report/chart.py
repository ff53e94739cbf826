"""Samples of a trial as the columns that the charts draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.core.record import Trial
from harness.core.sample import Sample

MAX_POINTS = 2000


def thin(samples: Sequence[Sample], limit: int = MAX_POINTS) -> list[Sample]:
    """At most ``limit`` samples: of each stretch the one with the most descriptors, so that no peak is
    lost, and never across a gap; the first and the last are always kept."""
    if len(samples) <= limit:
        return list(samples)
    # Two fewer, for the first and the last sample. The division rounds up, so that the limit holds.
    step = -(-len(samples) // (limit - 2))
    kept = [samples[0]]
    for start in range(1, len(samples) - 1, step):
        stretch = samples[start : min(start + step, len(samples) - 1)]
        gaps = [sample for sample in stretch if sample.gap]
        kept.append(gaps[0] if gaps else max(stretch, key=lambda sample: (sample.fds or 0, sample.rss or 0)))
    return [*kept, samples[-1]]


def columns(trial: Trial, samples: Sequence[Sample]) -> dict[str, Any]:
    """``{"x": [s], "fds": [...], "threads": [...], "memory": [MiB], "cycles": [...], "crash": s | None}``;
    times are seconds since the trial's start, None marks a gap."""
    kept = thin([sample for sample in samples if sample.at >= trial.started])
    start = trial.started
    return {
        "x": [round(sample.at - start, 3) for sample in kept],
        "fds": [sample.fds for sample in kept],
        "threads": [sample.threads for sample in kept],
        "memory": [None if sample.rss is None else round(sample.rss / (1 << 20), 2) for sample in kept],
        "cycles": [
            {
                "from": round(o.started - start, 3),
                "load": round((o.load_ended or o.ended) - start, 3),
                "to": round(o.ended - start, 3),
                "phase": o.spec.phase.value,
            }
            for o in trial.observations
        ],
        "crash": round(trial.exit.at, 3) if trial.exit else None,
    }
