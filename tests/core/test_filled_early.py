"""What remains after a late release, and had come with the first streams."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from bench._kinds_held_back import HEALTHY_COUNTS
from bench._kinds_outside import HEALTHY_OUTSIDE
from bench._services import Kind, run
from harness.core.cycle import Phase
from harness.core.judge.counts import assess_counts
from harness.core.judge.trial import judge
from harness.core.record import Trial
from harness.core.verdict import Outcome
from tests.core.series import FDS, observation, trial

OPENED = (100, 300, 300, 900, 2400)


def released_late(left: Callable[[float], float], late: float = 1.0) -> Trial:
    """Loads that leave ``left`` of all streams so far for good, and ``late`` units per stream until after the last."""
    seen, streams = [], 0
    for index, opened in enumerate(OPENED):
        streams += opened
        phase = Phase.WARMUP if index < 2 else Phase.LOAD
        level = 10.0 + left(streams) + late * streams
        seen.append(observation(index, {FDS: level}, phase=phase, opened=opened))
    for number in range(32):
        level = 10.0 + left(streams) + (late * streams if number < 3 else 0.0)
        seen.append(observation(len(seen), {FDS: level}, phase=Phase.RETENTION, opened=0))
    return replace(trial([], observations=seen, retention=60.0), initial={FDS: 10.0})


@pytest.mark.parametrize("slots", [150, 300, 700])
@pytest.mark.parametrize("late", [0.3, 1.0, 2.0])
def test_a_full_cache_is_no_leak_beside_a_late_release(slots: int, late: float) -> None:
    """300 units of a cache were 0.07 per answered stream in 12 of 12 simulated runs."""
    seen = released_late(lambda streams: min(slots, streams), late)
    one = assess_counts(seen)[FDS]
    assert one.status == "undecided"
    assert "of it came with the first" in one.why
    assert judge(seen).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize("rate", [0.1, 0.2, 1.0])
@pytest.mark.parametrize("late", [0.3, 1.0, 2.0])
def test_what_came_with_each_stream_is_a_leak_beside_a_late_release(rate: float, late: float) -> None:
    seen = released_late(lambda streams: rate * streams, late)
    assert assess_counts(seen)[FDS].status == "leaking"
    assert judge(seen).outcome is Outcome.LEAKING


def test_a_leak_beside_what_early_resets_leave_as_well_is_no_cache() -> None:
    """Rust: a file of every request, 20 % of which are reset before their answer in the first loads, and 1 of 10 kept.
    All of it was said to have come with the first streams."""
    seen = released_late(lambda streams: streams / 10)
    mixed = [
        replace(o, ledger=replace(o.ledger, answered=int(0.8 * o.ledger.opened)))
        if 0 < o.ledger.opened < 900
        else o
        for o in seen.observations
    ]
    one = assess_counts(replace(seen, observations=tuple(mixed)))[FDS]
    assert one.status == "leaking", one.why


def test_the_level_of_a_search_is_not_that_of_its_streams() -> None:
    """Node: the level of the first of three searches is taken from the reading after the last."""
    seen = released_late(lambda streams: streams / 10)
    search = [
        replace(o, spec=replace(o.spec, phase=Phase.SEARCH), levels={FDS: 99_999.0}) if index in (2, 3) else o
        for index, o in enumerate(seen.observations)
    ]
    assert "came with the first" not in assess_counts(replace(seen, observations=tuple(search)))[FDS].why


def test_what_every_request_left_is_not_a_rate_of_the_answered_ones() -> None:
    """Java, one file for each request and another 14 s long: 1.13 per answered stream, as 15 % were reset early."""
    seen = released_late(lambda streams: streams)
    early = [
        replace(o, ledger=replace(o.ledger, answered=int(0.85 * o.ledger.opened))) if o.ledger.opened else o
        for o in seen.observations
    ]
    one = assess_counts(replace(seen, observations=tuple(early)))[FDS]
    assert (one.status, one.factor) == ("leaking", "connection")
    assert one.rate == pytest.approx(1.0, rel=0.02)


CACHES = [
    kind
    for kind in (*HEALTHY_OUTSIDE, *HEALTHY_COUNTS)
    if kind.name.startswith("cache of") and "beside" in kind.name
]


@pytest.mark.parametrize("kind", CACHES, ids=lambda kind: kind.name)
def test_a_simulated_cache_beside_a_release_is_not_accused(kind: Kind) -> None:
    assert len(CACHES) == 6
    assert [judge(run(kind, seed)).outcome for seed in range(3)].count(Outcome.LEAKING) == 0


def test_a_sweep_that_has_not_come_yet_has_left_nothing() -> None:
    """A sweep ran 4 s after the last client of one load, and not within 14 s after that of the next."""
    seen = released_late(lambda streams: 0.0)
    levels = dict(seen.observations[-1].levels)
    more = [observation(len(seen.observations), {FDS: 3010.0}, phase=Phase.LOAD, opened=3000)]
    more += [
        observation(len(seen.observations) + 1 + n, {FDS: 3010.0}, phase=Phase.RETENTION, opened=0)
        for n in range(9)
    ]
    again = replace(seen, observations=(*seen.observations, *more))
    assert levels == {FDS: 10.0}
    assert assess_counts(again)[FDS].status != "leaking"
    assert judge(again).outcome is not Outcome.LEAKING
