"""A load after the search for the place is no sweep: memory has no level while allocations are traced."""

from __future__ import annotations

from dataclasses import replace

from harness.core.cycle import Phase
from harness.core.judge.counts import assess_counts
from tests.core.series import FDS, OBJECTS, observation, trial


def test_the_level_after_a_search_is_not_taken_from_the_next_load() -> None:
    """The missing level was taken from the load after it. That load then seemed swept, and the remainder 60 s
    younger."""
    loads = [
        (1000, Phase.WARMUP),
        (1200, Phase.LOAD),
        (700, Phase.LOAD),
        (1500, Phase.LOAD),
        (900, Phase.LOAD),
    ]
    level, seen, at = 5000.0, [], 0.0
    for streams, phase in [*loads, (200, Phase.SEARCH), (1300, Phase.LOAD)]:
        level += 3.0 * streams
        levels = {FDS: 10.0} if phase is Phase.SEARCH else {FDS: 10.0, OBJECTS: level}
        one = observation(len(seen), levels, phase=phase, opened=streams)
        seen.append(replace(one, started=at, load_ended=at + 2.0, ended=at + 3.5))
        at += 4.0
    for _ in range(8):
        one = observation(len(seen), {OBJECTS: level}, phase=Phase.RETENTION, opened=0)
        seen.append(replace(one, started=at, load_ended=None, ended=at + 8.0))
        at += 8.0
    now = trial([], observations=seen, retention=60.0, initial={OBJECTS: 5000.0})
    one = assess_counts(now)[OBJECTS]
    assert one.status == "leaking"
    assert one.idle_evidence is not None
    assert one.idle_evidence.age > 80.0
