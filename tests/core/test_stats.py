"""The statistics against values from tables and against each other."""

from __future__ import annotations

import math
import operator
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench._rivals import mann_kendall
from bench._services import poisson
from harness.core.stats.distributions import (
    correlated,
    drawdown,
    isotonic,
    poisson_interval,
    ranks,
    ratio_interval,
    student95,
    student_tail,
)
from harness.core.stats.falling import falling
from harness.core.stats.linear import line, solve, solve_all
from harness.core.stats.poisson import fit


@pytest.mark.parametrize(
    ("t", "free", "p"),  # any table of Student's t
    [
        (2.353, 3, 0.05),
        (4.541, 3, 0.01),
        (2.015, 5, 0.05),
        (5.893, 5, 0.001),
        (2.764, 10, 0.01),
        (3.307, 60, 0.0008),
    ],
)
def test_students_tail_is_that_of_the_tables(t: float, free: int, p: float) -> None:
    assert student_tail(t, free) == pytest.approx(p, rel=0.08)


def test_students_tail_and_its_quantile_agree() -> None:
    for free in (5, 10, 30, 100):
        assert student_tail(student95(free), free) == pytest.approx(0.025, rel=0.03)


def test_the_correlation_test_is_the_permutation_test() -> None:
    rng = random.Random(1)
    x = [rng.random() for _ in range(12)]
    y = [value + rng.gauss(0, 0.35) for value in x]
    seen = math.fsum(a * b for a, b in zip(x, y, strict=True))
    hits = 0
    for _ in range(20_000):
        rng.shuffle(x_copy := list(x))
        hits += math.fsum(a * b for a, b in zip(x_copy, y, strict=True)) >= seen
    assert correlated(x, y) == pytest.approx(hits / 20_000, rel=0.4, abs=2e-4)
    assert correlated([1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0]) == 1.0
    assert correlated([1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]) == 1.0


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_the_nearest_rising_sequence_rises_and_keeps_the_mean(values: list[float]) -> None:
    found = isotonic(values)
    assert all(b >= a - 1e-6 for a, b in pairwise(found))
    assert math.fsum(found) == pytest.approx(math.fsum(values), rel=1e-9, abs=1e-3)


def test_the_nearest_rising_sequence_of_known_values() -> None:
    assert isotonic([1.0, 3.0, 2.0, 4.0]) == [1.0, 2.5, 2.5, 4.0]
    assert isotonic([3.0, 2.0, 1.0]) == [2.0, 2.0, 2.0]
    assert isotonic([3.0, 1.0], [1.0, 3.0]) == [1.5, 1.5]


def test_rates_that_fall_are_told_from_one_rate() -> None:
    amounts = [300.0, 600.0, 4400.0, 4400.0]
    assert falling([30, 60, 440, 440], amounts).surplus == pytest.approx(0.0, abs=1e-9)
    assert falling([10, 60, 440, 900], amounts).surplus == pytest.approx(0.0, abs=1e-9), "a rise is no fall"
    # Rates of 0.4, 0.3, 0.2 and 0.1: 2 log-likelihood as a table of the multinomial has it.
    fallen = falling([120, 180, 880, 440], amounts)
    rate = 1620 / 9700
    expected = sum(
        n * math.log(n / amount / rate) for n, amount in zip([120, 180, 880, 440], amounts, strict=True)
    )
    assert (fallen.surplus, fallen.dispersion) == (pytest.approx(expected), 1.0)


def test_scatter_is_measured_about_the_fall() -> None:
    """Rates of 0.3, 0.5, 0.1 and 0.1: the first two are pooled at 0.4, the last at 0.1."""
    scattered = falling([300, 500, 100, 100], [1000.0] * 4)
    assert scattered.dispersion == pytest.approx((100**2 / 400 * 2) / 2)


def test_the_largest_fall_of_a_series() -> None:
    assert drawdown([1.0, 5.0, 3.0, 6.0, 2.0]) == 4.0
    assert drawdown([1.0, 1.0, 2.0]) == 0.0


def test_the_trend_of_the_benchmark() -> None:
    assert mann_kendall([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(1 / math.factorial(5))
    assert mann_kendall([2.0] * 9) == 1.0


def test_a_poisson_interval_covers_and_no_events_bound_by_three() -> None:
    rate, low, high = poisson_interval(0.0, 1000.0)
    assert (rate, low) == (0.0, 0.0)
    assert high == pytest.approx(3.7e-3, rel=0.02)  # two-sided; the one-sided bound is 3/M
    rng = random.Random(2)
    covered = 0
    for _ in range(2000):
        count = poisson(rng, 20.0)
        _, low, high = poisson_interval(float(count), 1000.0)
        covered += low <= 0.02 <= high
    assert 0.93 <= covered / 2000 <= 0.975


def test_equal_values_share_the_mean_of_their_ranks() -> None:
    assert ranks([]) == []
    assert ranks([5.0, 1.0, 5.0, 9.0]) == [1.5, 0.0, 1.5, 3.0]


def test_a_ratio_interval_of_exactly_proportional_growth_is_narrow() -> None:
    rate, low, high = ratio_interval([(300.0, 300.0), (601.0, 600.0), (1199.0, 1200.0), (2400.0, 2400.0)])
    assert rate == pytest.approx(1.0, abs=1e-3)
    assert 0.99 < low <= 1.0 <= high < 1.01


def test_a_fit_shares_growth_out_among_its_causes() -> None:
    connections = [300.0, 600.0, 50.0, 1200.0, 50.0, 2400.0]
    cycles = [1.0] * 6
    grown = [0.01 * n + 2.0 for n in connections]
    found = fit(grown, [connections, cycles], [0.0] * 6)
    assert found.rates == (pytest.approx(0.01, rel=0.05), pytest.approx(2.0, rel=0.05))


def test_the_interval_of_a_line_is_wider_for_autocorrelated_noise() -> None:
    rng = random.Random(3)
    state, levels = 0.0, []
    for _ in range(24):
        state = 0.7 * state + rng.gauss(0, 1)
        levels.append(state)
    found = line(levels, [[float(i) for i in range(24)]])
    assert found is not None
    plain = found.sigma / math.sqrt(math.fsum((i - 11.5) ** 2 for i in range(24)))
    assert found.rho > 0.3
    assert found.errors[0] > 1.4 * plain
    assert line(levels, [[1.0] * 24]) is None


@pytest.mark.parametrize(
    ("free", "quantile"),  # any table of Student's t
    [(1, 12.706), (2, 4.303), (10, 2.228), (29, 2.045), (30, 2.042), (31, 2.040), (60, 2.000), (1000, 1.962)],
)
def test_quantiles_are_those_of_the_tables(free: int, quantile: float) -> None:
    assert student95(free) == pytest.approx(quantile, abs=0.003)


@pytest.mark.parametrize("free", [0, -1])
def test_without_a_degree_of_freedom_nothing_is_bounded(free: int) -> None:
    assert student95(free) == math.inf


@pytest.mark.parametrize("free", [1, 2, 3, 5, 10, 15, 20, 21, 22, 23, 25, 28, 30])
def test_students_t_holds_95_percent(free: int) -> None:
    """The density of Student's t, integrated by Simpson's rule."""
    scale = math.exp(math.lgamma((free + 1) / 2) - math.lgamma(free / 2)) / math.sqrt(free * math.pi)
    step = student95(free) / 2000
    heights = [scale * (1 + (step * n) ** 2 / free) ** (-(free + 1) / 2) for n in range(2001)]
    inside = step / 3 * (heights[0] + heights[-1] + 4 * sum(heights[1:-1:2]) + 2 * sum(heights[2:-1:2]))
    assert 2 * inside == pytest.approx(0.95, abs=2e-4)


def test_right_sides_solved_at_once_are_solved_as_each_alone() -> None:
    rng, singular = random.Random(3), 0
    for size in [*range(1, 9)] * 5:
        # Zeros everywhere, on the diagonal too: the pivots change places.
        matrix = [[rng.choice((0.0, rng.gauss(0, 1))) for _ in range(size)] for _ in range(size)]
        rights = [[rng.gauss(0, 1) for _ in range(size)] for _ in range(3)]
        found = solve_all(matrix, rights)
        singular += found is None
        assert (found or [None] * 3) == [solve(matrix, right) for right in rights]
        for right, solved in zip(rights, found or (), strict=False):
            again = [math.fsum(map(operator.mul, row, solved)) for row in matrix]
            assert again == pytest.approx(right, rel=1e-6, abs=1e-6)
    assert 5 <= singular <= 25
