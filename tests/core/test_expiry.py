"""What a service without timers releases only when the next request comes is no leak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from harness.core.cycle import Phase
from harness.core.judge.expiry import MIN_RELEASE, without_requests
from harness.core.judge.moment import Moment
from harness.core.metric import Key
from tests.core.series import FDS, OBJECTS

ANONYMOUS = Key("memory", "anonymous")
# Ten seconds each: three loads of 300 streams, a reading without clients, requests, and another reading.
CYCLES = (0, 300, 300, 300, 0, 300, 0)
PHASES = (Phase.WARMUP, *[Phase.LOAD] * 3, Phase.RETENTION, Phase.RETENTION, Phase.RETENTION)


def moments(
    levels: Sequence[float],
    key: Key = FDS,
    cycles: Sequence[int] = CYCLES,
    phases: Sequence[Phase] = PHASES,
) -> list[Moment]:
    found, answered = [], 0.0
    for index, (level, streams, phase) in enumerate(zip(levels, cycles, phases, strict=True)):
        answered += streams
        done = {"time": 10.0 * index, "reading": float(index), "answered": answered, "connection": answered}
        began = 10.0 * index - 8.0 if streams else 10.0 * index
        found.append(Moment(phase, {key: level}, done, 50 if streams else 0, began, 10.0 * index))
    return found


def levels_of(found: Sequence[Moment], key: Key = FDS) -> list[float]:
    return [moment.levels[key] for moment in found]


def amounts(found: Sequence[Moment]) -> list[Mapping[str, float]]:
    return [moment.done for moment in found]


def test_requests_that_release_nothing_leave_no_trace() -> None:
    """The growth of their own streams, and what those did, is neither growth of the service nor exposure."""
    found = without_requests(moments([10, 310, 610, 910, 910, 1_210, 1_210]))
    assert levels_of(found) == [10, 310, 610, 910, 910, 910, 910]
    assert [done["answered"] for done in amounts(found)] == [0, 300, 600, 900, 900, 900, 900]
    assert [done["time"] for done in amounts(found)] == [10.0 * index for index in range(7)], "time goes on"
    assert [(moment.peak, moment.asked) for moment in found[-2:]] == [(0, True), (0, False)]


def test_what_falls_with_a_request_was_released_by_it() -> None:
    """All but what the requests' own streams added: 300, as in the loads before."""
    found = without_requests(moments([10, 310, 610, 910, 910, 310, 310]))
    assert levels_of(found) == [10, 310, 610, 910, 910, 10, 10]


@pytest.mark.parametrize(("after", "seen"), [(910 - MIN_RELEASE, 594.0), (910 - MIN_RELEASE + 1, 910.0)])
def test_jitter_is_no_release(after: float, seen: float) -> None:
    """Loads of which one added nothing are not steady, so only a fall counts."""
    found = without_requests(moments([10, 310, 610, 610, 910, after, after]))
    assert levels_of(found)[5] == seen


@pytest.mark.parametrize(("grown", "released"), [(60, True), (61, False), (0, True)])
def test_requests_that_add_next_to_nothing_released_as_much(grown: float, released: bool) -> None:
    """Each request removes one that is too old."""
    found = without_requests(moments([10, 310, 610, 910, 910, 910 + grown, 910 + grown]))
    assert levels_of(found)[5] == (610 + grown if released else 910)


@pytest.mark.parametrize(
    ("levels", "why"),
    [
        ([10, 310, 310, 910, 910, 910, 910], "one load added nothing either"),
        ([10, 16, 22, 28, 28, 28, 28], "six were expected, and none is chance"),
    ],
)
def test_growth_that_is_rare_or_uneven_may_add_nothing(levels: Sequence[float], why: str) -> None:
    assert levels_of(without_requests(moments(levels))) == levels, why


def test_a_later_request_is_judged_as_the_one_before_it() -> None:
    """The first one removes what is old enough, the second one the rest and the 300 of the first."""
    found = without_requests(
        moments(
            [10, 310, 610, 910, 910, 610, 610, 310],
            cycles=(*CYCLES, 300),
            phases=(*PHASES, Phase.RETENTION),
        )
    )
    assert levels_of(found) == [10, 310, 610, 910, 910, 310, 310, 0]


def test_a_load_after_a_wait_stays_a_load() -> None:
    phases = (*PHASES[:5], Phase.LOAD, Phase.RETENTION)
    found = moments([10, 310, 610, 910, 910, 310, 310], phases=phases)
    assert without_requests(found) == tuple(found)


def test_memory_of_an_allocator_is_no_count() -> None:
    found = moments([10, 310, 610, 910, 910, 310, 310], ANONYMOUS)
    assert levels_of(without_requests(found), ANONYMOUS) == [10, 310, 610, 910, 910, 910, 910]


def test_a_gap_in_the_readings_is_no_fall() -> None:
    found = moments([10, 310, 610, 910, 910, 310, 310])
    found[4] = replace(found[4], levels={OBJECTS: 5.0})
    assert without_requests(found)[5].levels == {FDS: 310}
