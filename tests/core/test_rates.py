"""The rate's 95 % interval holds the truth in 93 to 97 of 100 seeded series, whatever noise they have."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from bench._services import poisson
from bench._shapes_leaks import varying
from harness.core.judge.assessed import Allowed, Assessed
from harness.core.judge.findings import _rate
from harness.core.judge.memory import BLOCK, _leaking
from harness.core.judge.moments import Series
from harness.core.judge.rates import beside_readings, interval
from harness.core.metric import Key
from harness.core.stats.distributions import median, poisson_interval
from harness.core.stats.varying import WIDEST

OBJECTS, MEMORY = Key("memory", "objects"), Key("memory", "anonymous")
CYCLES = (300, 300, 0, 300, 600, 50, 1200, 50, 2400, 50, 4000)  # as a plan would have them
RUNS = 600
COVERED = (0.93, 0.975)  # 95 % and two standard deviations of 600 runs
# The seeds are fixed: intervals 0.8 times as wide cover at most 0.90 of these runs, those 1.5 times as wide at least
# 0.983.
SAMPLE, LARGER = 60, 120
COVERED_OF_SAMPLE = (0.91, 0.98)


def spans(cycles: tuple[int, ...]) -> tuple[dict[str, float], ...]:
    return tuple({"connection": float(n), "reading": 1.0, "cycle": float(n > 0)} for n in cycles)


def counted(
    rng: random.Random, rate: float, *, noise: float, each: float, cycles: tuple[int, ...] = CYCLES
) -> Series:
    """A runtime counter: ``each`` more at every reading, and a Poisson leak."""
    held, levels = 0, []
    for index, n in enumerate((0, *cycles)):
        held += poisson(rng, rate * n)
        levels.append(50_000.0 + held + each * index + round(rng.gauss(0, noise)))
    return Series(OBJECTS, tuple(levels), spans(cycles), 50)


def share(rate: float, of: Callable[[random.Random], tuple[float, float, float] | None], runs: int) -> float:
    """The share of seeded runs whose interval holds the rate."""
    found = [of(random.Random(seed)) for seed in range(runs)]
    return sum(one is not None and one[1] <= rate <= one[2] for one in found) / runs


SAMPLES = pytest.mark.parametrize(
    ("runs", "least", "most"),
    [
        (SAMPLE, *COVERED_OF_SAMPLE),
        pytest.param(RUNS, *COVERED, marks=pytest.mark.soak(reason="two seconds of a core for each case")),
    ],
)


@SAMPLES
@pytest.mark.parametrize(
    ("rate", "noise", "each"), [(0.01, 1.5, 4.0), (0.5, 1.5, 4.0), (0.01, 2.0, 0.0), (0.5, 2.0, 0.0)]
)
def test_a_counter_that_adds_to_its_own_readings(
    rate: float, noise: float, each: float, runs: int, least: float, most: float
) -> None:
    covered = share(
        rate, lambda rng: beside_readings(counted(rng, rate, noise=noise, each=each), "connection", 2.0), runs
    )
    assert least <= covered <= most


@SAMPLES
@pytest.mark.parametrize("known", [2.0, 20.0])
def test_a_counter_noisier_than_any_measured_gets_a_wider_interval_not_a_wrong_one(
    known: float, runs: int, least: float, most: float
) -> None:
    covered = share(
        0.02, lambda rng: beside_readings(counted(rng, 0.02, noise=20.0, each=4.0), "connection", known), runs
    )
    # The error of one reading cancels that of the next: an interval for more noise than there is covers more.
    assert least <= covered <= (1.0 if known < 20 else most)


def test_identical_cycles_cannot_separate_reading_from_connection_so_the_interval_is_wide() -> None:
    alike = counted(random.Random(1), 0.01, noise=1.5, each=4.0, cycles=(300,) * 8)
    found = beside_readings(alike, "connection", 2.0)
    assert found is not None
    _, low, high = found
    assert low <= 0.01 <= high
    assert high - low > 4.0 / 300  # a reading adds something between nothing and twice its noise


def test_exactly_proportional_growth_of_objects_gets_a_narrow_interval() -> None:
    cycles = (300, 300, 0, 300, 600, 1200, 2400)
    done, levels = 0, []
    for n in (0, *cycles):
        done += n
        levels.append(50_000.0 + done)
    found = beside_readings(Series(OBJECTS, tuple(levels), spans(cycles), 50), "connection", 2.0)
    assert found is not None
    assert found[0] == pytest.approx(1.0, abs=0.01)
    assert found[2] - found[1] < 0.02


def test_without_the_factor_there_is_no_rate() -> None:
    still = Series(OBJECTS, (1.0, 2.0, 3.0), spans((0, 0)), 0)
    assert beside_readings(still, "connection", 2.0) is None
    assert interval([1.0, 1.0], [0.0, 0.0]) == (0.0, 0.0, 0.0)


# Most intervals 0.8 times as wide cover less than 0.96 of the larger sample.
LEAST = pytest.mark.parametrize(
    ("runs", "least"),
    [
        (LARGER, 0.96),
        pytest.param(RUNS, COVERED[0], marks=pytest.mark.soak(reason="a second of a core for each case")),
    ],
)


BETWEEN = pytest.mark.soak(reason="two tenths of a second of a core for a case between two others")


@LEAST
@pytest.mark.parametrize(
    "rate", [0.001, pytest.param(0.01, marks=BETWEEN), pytest.param(0.1, marks=BETWEEN), 1.0]
)
def test_the_interval_of_an_exact_count_covers_its_rate(rate: float, runs: int, least: float) -> None:
    cycles = [300.0, 600.0, 50.0, 1200.0, 50.0, 2400.0, 4000.0]
    widths = []

    def found(rng: random.Random) -> tuple[float, float, float]:
        grown = [float(poisson(rng, rate * n)) for n in cycles]
        _, low, high = poisson_interval(math.fsum(grown), math.fsum(cycles))
        one = interval(grown, cycles)
        widths.append((one[2] - one[1]) / (high - low))
        return one

    assert share(rate, found, runs) >= least
    # A few spans cannot show that the rate is constant, so the interval is a little wider than Poisson's.
    assert median(widths) <= 1.3


@pytest.mark.parametrize(
    "shape", [1.0, pytest.param(1.5, marks=BETWEEN), pytest.param(3.0, marks=BETWEEN), 6.0]
)
@pytest.mark.parametrize("rate", [0.03, 0.3])
def test_the_interval_covers_a_rate_that_varies_between_cycles(rate: float, shape: float) -> None:
    """Poisson's interval covers it in 7 to 47 of 100 runs, the spread of the spans alone in 73 to 82."""
    cycles = [300.0, 300.0, 600.0, 50.0, 1200.0, 50.0, 2400.0]
    draw = varying(shape)
    covered = share(rate, lambda rng: interval([float(draw(rng, rate * n)) for n in cycles], cycles), LARGER)
    assert covered >= 0.9


def test_large_counts_that_agree_by_chance_are_not_exactly_proportional() -> None:
    """Half a unit per event: four spans within two per cent of each other, whose spread alone is narrower."""
    _, low, high = interval([950.0, 1185.0, 2430.0, 594.0], [1900.0, 2400.0, 4800.0, 1195.0])
    _, least, most = poisson_interval(5159.0, 10295.0)
    assert high - low >= 0.99 * (most - least)


@pytest.mark.parametrize(
    "drift", [-12.0 * 1024, 0.0, 12.0 * 1024]
)  # bytes per block: less than means anything
@pytest.mark.parametrize("leaked", [1024.0, 4096.0])
@LEAST
def test_anonymous_memory_whose_healthy_part_creeps(
    leaked: float, drift: float, runs: int, least: float
) -> None:
    def found(rng: random.Random) -> tuple[float, float, float]:
        level, levels = 2e7, [2e7]
        for _ in range(12):
            level += leaked * BLOCK * rng.gauss(1, 0.03) + drift
            levels.append(level)
        blocks = Series(MEMORY, tuple(levels), spans((int(BLOCK),) * 12), 50)
        one = _leaking(blocks, Allowed(), "")
        return one.rate, one.low, one.high

    assert share(leaked, found, runs) >= least


def test_two_spans_that_agree_give_the_rate_as_exactly_as_counts() -> None:
    """Student's t over two spans alone would say 0 to 0.7."""
    rate, low, high = interval([32.0, 335.0], [320.0, 3350.0 - 40.0])
    assert rate == pytest.approx(0.101, abs=0.001)
    assert 0.088 < low < 0.1 < high < 0.114


@pytest.mark.parametrize("grown", [[366.0], [0.0, 366.0]])
def test_one_increment_alone_is_no_batch(grown: list[float]) -> None:
    _, low, high = interval(grown, [500.0, 3160.0][-len(grown) :])
    assert 0.08 < low < high < 0.14


def test_the_interval_of_a_leak_never_contains_zero() -> None:
    """Three uneven cycles of a service that leaked threads: their spread alone would reach below zero."""
    found = interval([320.0, 40.0, 500.0], [300.0, 300.0, 250.0])
    assert found[1] <= 0
    leak = Assessed("leaking", found[2], "grew", 860.0, 850.0, "connection", (), *found)
    rate = _rate(leak, Key("threads"))
    assert 0 < rate.low < rate.value < rate.high
    assert rate.value / rate.low == pytest.approx(math.exp(WIDEST), rel=1e-3)
    narrow = _rate(replace(leak, low=0.9), Key("threads"))
    assert narrow.low == 0.9, "a lower end above that stays as it is"
