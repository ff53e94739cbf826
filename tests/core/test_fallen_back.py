"""Counts that a cleanup releases all at once: what can have leaked is bounded by the lowest late level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from harness.core.cycle import Phase
from harness.core.judge.assessed import Assessed
from harness.core.judge.fallen_back import fallen_back
from harness.core.judge.moment import Moment
from harness.core.metric import Key
from tests.core.series import FDS, OBJECTS

CPU, HEAP = Key("idle-cpu"), Key("memory", "heap-bytes")

OPEN = Assessed("undecided", 0.05, "noise of ±240", 900.0, 9_000.0, growing=True)


def moments(levels: Sequence[float], each: float = 3_000.0, start: float = 10.0) -> list[Moment]:
    """Moments with these levels, each after ``each`` answered streams, and the one before the first client."""
    first = Moment(Phase.WARMUP, {FDS: start}, {"time": 1.0}, 0)
    return [
        first,
        *(
            Moment(
                Phase.LOAD,
                {FDS: level},
                {"time": 2.0 + n, "connection": each * n, "answered": each * n},
                50,
            )
            for n, level in enumerate(levels, start=1)
        ),
    ]


def test_one_low_level_late_bounds_what_can_have_leaked() -> None:
    one = fallen_back(moments([900, 500, 13, 996]), FDS, OPEN, 0.001)
    assert (one.status, one.growing) == ("bounded", False)
    assert one.at_most == pytest.approx(8.77 / 9_000, rel=0.01)  # Poisson's upper limit for three units, 95 %
    assert one.why == "fell back to 3 above the level before the first client after 9000 answered streams"


@pytest.mark.parametrize(
    ("levels", "why"),
    [
        ([900, 500, 16, 996], "six units in 9,000 streams may be more than one in 1,000"),
        ([900, 500, 13, 1_300], "a new height may be growth that began late"),
        ([900, 500, 13, 200, 400, 600], "the count has only risen since: growth that began late"),
        ([13, 500, 900], "the low level came after too few streams"),
    ],
)
def test_other_levels_are_no_bound(levels: list[float], why: str) -> None:
    assert fallen_back(moments(levels), FDS, OPEN, 0.001) is OPEN, why


@pytest.mark.parametrize(
    ("key", "left", "status"),
    [
        (CPU, 0.35, "undecided"),  # cores after 9,000 streams: four times the smallest leak of 1 % per 1,000
        (CPU, 0.02, "bounded"),
        (OBJECTS, 40.0, "bounded"),  # the smallest leak of objects is ten times that of descriptors
        (OBJECTS, 400.0, "undecided"),
        (HEAP, 600_000.0, "bounded"),  # bytes: 67 per stream, of 128
        (HEAP, 1_300_000.0, "undecided"),
        (HEAP, 4_096.0, "bounded"),  # three pages, where three bytes had been the bound
    ],
)
def test_a_low_level_is_compared_with_the_smallest_leak_of_its_own_metric(
    key: Key, left: float, status: str
) -> None:
    """Taken for cores, a sensitivity of 1 per 1,000 let 0.35 cores after 4,946 streams pass."""
    levels = (500 * left, 400 * left, left, 450 * left)
    seen = [
        replace(one, levels={key: level}) for one, level in zip(moments(levels), (0.0, *levels), strict=False)
    ]
    assert fallen_back(seen, key, OPEN, 0.001).status == status


def test_without_a_level_before_the_first_client_nothing_is_known() -> None:
    assert fallen_back(moments([900, 500, 13, 996])[1:], FDS, OPEN, 0.001) is OPEN


def test_a_result_that_is_decided_stays() -> None:
    leaking = Assessed("leaking", 0.05, "rose with its driver")
    assert fallen_back(moments([900, 500, 13, 996]), FDS, leaking, 0.001) is leaking
