"""Series with noise: the driver, and whether the growth continues."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from bench import _calibrate
from bench._kinds import LEAKING_MEMORY
from bench._services import run
from harness.core.judge import trend
from harness.core.judge.assessed import Assessed
from harness.core.judge.counts import assess_counts
from harness.core.judge.moments import Series
from harness.core.judge.trial import judge
from harness.core.metric import Key
from tests.core.series import trial

CPU = Key("idle-cpu")


def series(levels: list[float], cycles: list[int]) -> Series:
    spans = tuple(
        {
            "connection": float(n),
            "event": float(n),
            "time": n / 800 + 1.3,
            "cycle": float(n > 0),
            "reading": 1.0,
        }
        for n in cycles
    )
    return Series(CPU, tuple(levels), spans, 50)


def test_growth_within_one_very_large_cycle_before_a_control_continues() -> None:
    # Seen in simulation: 1 % of a core per 1,000 connections, half of all of which came in the last cycle but one.
    cycles = [0, 300, 600, 1200, 2400, 50, 4720, 50]
    levels = [0.0193, 0.0192, 0.0192, 0.022, 0.0343, 0.0614, 0.063, 0.1104, 0.1077]
    found = trend.assess(series(levels, cycles), sensitivity=1e-5, floor=0.002, least=0.02)
    assert found.status == "leaking" or found.growing
    assert found.status != "bounded"


def test_growth_that_stopped_before_the_second_half_does_not_continue() -> None:
    cycles = [600, 600, 600, 600, 1200, 1200, 1200, 1200]
    levels = [0.01, 0.03, 0.05, 0.07, 0.09, 0.09, 0.091, 0.09, 0.091]
    found = trend.assess(series(levels, cycles), sensitivity=1e-5, floor=0.002, least=0.02)
    assert (found.status == "leaking", found.growing) == (False, False)


@pytest.mark.parametrize("seed", [39, 41, 45, 63])  # where a tenth less noise had named another driver
def test_another_driver_than_the_connection_needs_odds_and_not_a_tenth_less_noise(seed: int) -> None:
    kind = next(kind for kind in LEAKING_MEMORY if kind.name == "idle CPU 1 % per 1,000")
    (finding,) = judge(run(kind, seed)).findings
    assert (finding.metric, finding.driver) == ("idle-cpu", "connection")


def test_a_bound_in_bytes_holds_what_the_noise_of_a_reading_could_hide() -> None:
    cycles = [300, 300, 600, 1200, 2400, 2400]
    heap = replace(series([5e6] * 7, cycles), key=Key("memory", "heap-bytes"))
    found = trend.assess(heap, sensitivity=128.0, floor=4096.0, least=1048576.0, readings_add=True)
    assert found.status == "bounded"
    # Three bytes in 7,200 connections would claim too much.
    assert found.at_most == pytest.approx((3 + 4096) / 7200)


def test_small_steps_within_the_noise_add_up_in_the_bound() -> None:
    creeping = replace(series([1000.0 + 2 * i for i in range(7)], [500] * 6), key=Key("memory", "objects"))
    found = trend.assess(creeping, sensitivity=1.0, floor=2.0, least=10.0)
    assert found.at_most >= 12 / 3000


@pytest.mark.parametrize("levels", [6, 12, 30])
def test_autocorrelated_noise_hardly_reaches_the_bound_of_certainty(levels: int) -> None:
    reached = _calibrate.reached(levels, 1000)
    assert sum(t >= trend.critical(levels) for t in reached) <= 3
    assert sum(t >= trend.critical(levels) / 3 for t in reached) > 10  # and it is noise that was drawn


def equal_cycles(levels: list[float]) -> Assessed:
    """Idle CPU over cycles that were all alike, as an older plan or a fixed one makes them."""
    seen = trial(levels, warmup=[0.02, 0.021, 0.02], key=CPU)
    return assess_counts(replace(seen, retention=0.0))[CPU]


NOISY = [0.003 * math.sin(7.3 * n) for n in range(28)]


def test_idle_cpu_that_rises_over_equal_cycles_is_a_leak() -> None:
    assert equal_cycles([0.02 + 0.13 * n / 27 + noise for n, noise in enumerate(NOISY)]).status == "leaking"


@pytest.mark.parametrize("settled", [4, 8, 14])
def test_idle_cpu_that_settles_over_equal_cycles_is_none(settled: int) -> None:
    rising = [0.02 + 0.13 * min(n, settled) / settled + noise for n, noise in enumerate(NOISY)]
    assert equal_cycles(rising).status != "leaking"


def test_flat_idle_cpu_over_equal_cycles_is_none() -> None:
    assert equal_cycles([0.02 + noise for noise in NOISY]).status != "leaking"
