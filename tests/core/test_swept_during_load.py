"""A sweep that takes place during a load shows only in how little that load added."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from harness.core.cycle import Phase
from harness.core.judge.moment import Moment
from harness.core.judge.swept_loads import swept_during_load

STREAMS = (100, 300, 300, 150, 1_526, 1_194)


def swept(grown: Sequence[float], answered: Sequence[int] = STREAMS) -> float | None:
    """The time of the sweep after loads of ten seconds each with this growth."""
    levels, found, done = [16.0], [Moment(Phase.WARMUP, {}, {"time": 0.0}, 0)], 0.0
    for index, (value, streams) in enumerate(zip(grown, answered, strict=True), start=1):
        done += streams
        levels.append(levels[-1] + value)
        counts = {"time": 10.0 * index, "answered": done, "connection": 1.25 * done}
        found.append(Moment(Phase.LOAD, {}, counts, 50, 10.0 * index - 9, 10.0 * index - 1))
    return swept_during_load(found, levels, "connection")


def test_a_load_that_added_much_less_than_the_others_is_named_by_its_end() -> None:
    """A sweep every 60 s took what was older, 13 s into the run: 61 s later the rest was called a leak."""
    assert swept([100, 300, 300, 150, 616, 1_194]) == 49.0


@pytest.mark.parametrize(
    ("grown", "why"),
    [
        (STREAMS, "each load added the same"),
        ([100, 300, 300, 150, 1_400, 1_194], "a few less are no sweep"),
        ([60, 240, 390, 100, 616, 1_194], "the rate varies anyhow"),
        ([0, 0, 0, 0, 0, 0], "nothing grew"),
        ([0, 0, 300, 150, 1_526, 1_194], "the growth began later"),
    ],
)
def test_other_growth_shows_no_sweep(grown: Sequence[float], why: str) -> None:
    assert swept(grown) is None, why


def test_a_few_loads_have_no_usual_growth() -> None:
    assert swept([100, 300, 120], [100, 300, 300]) is None
