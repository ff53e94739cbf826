"""A load after the search for the place is no sweep: memory has no level while allocations are traced."""

from __future__ import annotations

from dataclasses import replace

import pytest

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


@pytest.mark.parametrize("searches", [1, 2, 3])
def test_the_second_search_is_no_load_that_left_nothing(searches: int) -> None:
    """A leak of one descriptor per timeout of the broker was certain and inconclusive again after the second of two
    searches: the first had no level of its own, so that the second seemed to be swept."""
    phases = [Phase.WARMUP] * 2 + [Phase.LOAD] * 5 + [Phase.RETENTION] * 20 + [Phase.SEARCH] * searches
    level, seen, at = 10.0, [], 0.0
    for phase in phases:
        streams = 0 if phase is Phase.RETENTION else 200
        level += streams
        one = observation(len(seen), {FDS: level}, phase=phase, opened=streams)
        seen.append(replace(one, started=at, load_ended=at + 2.0 if streams else None, ended=at + 3.5))
        at += 4.0
    one = assess_counts(trial([], observations=seen, retention=60.0, initial={FDS: 10.0}))[FDS]
    assert one.idle_evidence is not None
    assert (one.status, round(one.idle_evidence.age)) == ("leaking", 106)
