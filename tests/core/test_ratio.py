"""The factor between two sets of measurements, and its interval."""

from __future__ import annotations

import random

import pytest

from harness.core.stats.ratio import factor


def test_fewer_than_five_runs_give_no_factor() -> None:
    assert factor([2.0] * 4, [1.0] * 9) is None
    assert factor([2.0] * 9, [1.0] * 4) is None


def test_five_runs_each_leave_out_the_three_ratios_that_the_tables_allow() -> None:
    first, second = [10.0, 11.0, 12.0, 13.0, 14.0], [1.0, 1.01, 1.02, 1.03, 1.04]
    ratios = sorted(a / b for a in first for b in second)
    found = factor(first, second)
    assert found is not None
    assert found[1:] == (ratios[2], ratios[-3])  # U of at most 2: 2 x 4 of 252, 3.2 %; of at most 3: 5.6 %
    assert found[0] == pytest.approx(12 / 1.02, rel=0.01)


@pytest.mark.parametrize(("size", "true"), [(5, 1.0), (5, 1.7), (8, 3.0)])
def test_the_interval_holds_the_factor_in_95_of_100(size: int, true: float) -> None:
    chance = random.Random(7)
    held = 0
    for _ in range(600):
        first = [true * chance.lognormvariate(0, 0.4) for _ in range(size)]
        found = factor(first, [chance.lognormvariate(0, 0.4) for _ in range(size)])
        assert found is not None
        held += found[1] <= true <= found[2]
    assert held >= 0.94 * 600
