"""Each limit of the test for levels with noise, with a series just inside it and one just outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from harness.core.judge import trend
from harness.core.judge.assessed import Assessed
from harness.core.judge.moments import Series
from harness.core.metric import Key
from harness.core.stats.linear import line
from tests.core.series import FDS

CPU = Key("idle-cpu")
LEAKING, OPEN, PASS = "leaking", "undecided", "bounded"
NOISE = (1.0, -1.0, -0.6, 0.6, 0.9, -0.9, -0.2, 0.3)


def series(levels: Sequence[float], clients: Sequence[float], *, key: Key = FDS) -> Series:
    spans = tuple(
        {
            "connection": float(n),
            "answered": float(n),
            "time": n / 800 + 1.3,
            "cycle": float(n > 0),
            "reading": 1.0,
        }
        for n in clients
    )
    return Series(key, tuple(levels), spans, 0)


def rising(each: Sequence[float], start: float = 10.0) -> list[float]:
    levels = [start]
    for value in each:
        levels.append(levels[-1] + value)
    return levels


def straight(levels: int, noise: float, total: float = 100.0) -> Assessed:
    """A straight line in cycles that are all alike, with a noise around it."""
    found = [10 + total * i / (levels - 1) + noise * NOISE[i % 8] for i in range(levels)]
    return trend.assess(series(found, [300] * (levels - 1)), sensitivity=1e-5)


@pytest.mark.parametrize(
    ("levels", "inside", "outside"),
    [(6, 5.6, 5.7), (8, 7.6, 7.7), (9, 10.7, 10.8), (24, 17.0, 17.1), (25, 24.8, 24.9), (30, 25.3, 25.4)],
)
def test_certainty_takes_14_11_or_8_times_the_noise(levels: int, inside: float, outside: float) -> None:
    assert straight(levels, inside).status == LEAKING
    assert straight(levels, outside).status == OPEN


@pytest.mark.parametrize(("levels", "status"), [(5, OPEN), (6, LEAKING)])
def test_a_line_takes_six_levels(levels: int, status: str) -> None:
    assert straight(levels, 0.0).status == status


@pytest.mark.parametrize(("total", "status"), [(64, OPEN), (65, LEAKING)])
def test_equal_cycles_are_a_leak_only_beyond_a_pool(total: float, status: str) -> None:
    assert straight(12, 0.0, total).status == status


@pytest.mark.parametrize(("levels", "noise", "growing"), [(6, 24.5, True), (6, 24.8, False)])
def test_growth_is_seen_from_three_times_its_error(levels: int, noise: float, growing: bool) -> None:
    assert straight(levels, noise).growing is growing


@pytest.mark.parametrize(("acted", "status"), [(2, OPEN), (3, LEAKING)])
def test_a_driver_is_named_after_it_acted_three_times(acted: int, status: str) -> None:
    clients = [0] * (8 - acted) + [600] * acted
    assert trend.assess(series(rising(clients), clients), sensitivity=1e-5).status == status


@pytest.mark.parametrize(("late", "continues"), [(0.3, False), (0.34, True), (0.4, True)])
def test_the_second_half_rises_half_as_steeply_as_the_whole(late: float, continues: bool) -> None:
    """Whole: (1 + late) / 2 of the first half's pace. The second half has 46 %, 51 % and 57 % of that."""
    levels = rising([10] * 12 + [10 * late] * 12)
    one = trend.assess(series(levels, [300] * 24), sensitivity=1e-5)
    assert one.growing is continues


@pytest.mark.parametrize(("large", "status"), [(350, OPEN), (375, OPEN), (380, LEAKING)])
def test_growth_per_cycle_must_leave_the_driver_three_errors(large: int, status: str) -> None:
    """Growth per second is distinguished a little later than growth per cycle."""
    clients = [300, large] * 6
    levels = [
        level + 0.001 * (1, -1, -0.6, 0.6)[i % 4]
        for i, level in enumerate(rising([1e-4 * n for n in clients], 0.01))
    ]
    one = trend.assess(series(levels, clients, key=CPU), sensitivity=1e-7, floor=0.002, least=0.02)
    assert one.status == status


@pytest.mark.parametrize(
    ("levels", "cores", "status"),
    [(15, 0.06, OPEN), (16, 0.06, LEAKING), (16, 0.049, OPEN), (16, 0.051, LEAKING)],
)
def test_idle_cpu_beyond_a_pool_of_idle_workers_is_a_leak(levels: int, cores: float, status: str) -> None:
    """All cycles add the same, which a pool that fills would do too. They become shorter, so no clock does it."""
    clients = [310, *[300] * (levels - 2)]
    found = series(rising([cores / (levels - 1)] * (levels - 1), 0.01), clients, key=CPU)
    timed = [dict(span, time=100 * 0.6**index + 1) for index, span in enumerate(found.spans)]
    one = Series(CPU, found.levels, tuple(timed), 0)
    assert trend.assess(one, sensitivity=1e-7, floor=0.002, least=0.02).status == status


@pytest.mark.parametrize(("fall", "noisy"), [(100, False), (108, False), (109, True), (115, True)])
def test_a_count_that_falls_rises_by_twice_its_largest_fall(fall: float, noisy: bool) -> None:
    """The rise is 220, and three units of it are not growth."""
    clients = [100, 1600] * 24
    levels = rising([10 if n > 100 else 0 for n in clients])
    levels[1] += fall + 10
    one = trend.assess_moving(series(levels, clients), sensitivity=1e-3)
    assert one.status == OPEN
    assert ("noise could explain" in one.why) is noisy


@pytest.mark.parametrize(("jitter", "status"), [(0.29, PASS), (0.31, OPEN)])
def test_a_rounded_count_stands_still_within_the_noise_of_rounding(jitter: float, status: str) -> None:
    levels = [100.0, 100.0 + jitter, 100.0, 100.0 + jitter, 100.0]
    assert trend.assess(series(levels, [3000] * 4), sensitivity=1e-3).status == status


@pytest.mark.parametrize(("sensitivity", "status"), [(0.0084, OPEN), (0.0088, PASS)])
def test_a_trend_that_is_seen_passes_at_half_of_the_required_sensitivity(
    sensitivity: float, status: str
) -> None:
    levels = [100 + 0.9 * i + (0.9 if i % 2 else -0.9) for i in range(12)]
    one = trend.assess(series(levels, [300] * 11), sensitivity=sensitivity)
    assert one.at_most == pytest.approx(0.00431, abs=1e-5)
    assert one.status == status


def test_noise_hides_as_many_units_as_the_line_rose_and_its_error() -> None:
    """No growth over 3,300 streams bounds an exact count at 3; noise of ±1 hides about one more."""
    one = series([100 + (i % 2) for i in range(12)], [300] * 11)
    found = line(one.levels, [[300.0 * i for i in range(12)]], trend.ROUNDING_DEVIATION)
    assert found is not None
    hidden = 3300 * (max(0.0, found.slopes[0]) + found.errors[0])
    assert 0.5 < hidden < 2
    assert trend.assess(one, sensitivity=1.0).at_most == pytest.approx((3 + hidden) / 3300)


def test_the_bound_of_a_trend_is_its_one_sided_upper_end() -> None:
    levels = [100 + 10 * NOISE[i % 8] for i in range(12)]
    one = series(levels, [300] * 11)
    found = line(levels, [[300.0 * i for i in range(12)]], trend.ROUNDING_DEVIATION)
    assert found is not None
    assert found.free == 10
    upper = max(0.0, found.slopes[0]) + 0.84 * 2.228 * found.errors[0]  # 2.228: t of 10 degrees of freedom
    assert trend.assess(one, sensitivity=1.0).at_most == pytest.approx(upper)


def test_levels_read_again_and_again_without_clients_are_no_evidence_for_a_line() -> None:
    """A cleanup after 2,500 requests, each fourth of which retained a unit: called a leak per second of a stream."""
    levels = [310.0, 310, 320, 380, 530, 485, *[485.0] * 18]
    # Streams, those that were reset, seconds that all were open, events, and the length of each cycle.
    loads = [
        (0, 0, 0, 0, 2.2), (50, 30, 25, 150, 2.2), (300, 180, 18, 180, 2.1), (600, 0, 120, 1800, 4.3),
        (2320, 0, 0, 2320, 4.7), *[(0, 0, 0, 0, 2.6)] * 7, *[(0, 0, 0, 0, 3.9)] * 11,
    ]  # fmt: skip
    spans = tuple(
        {
            "connection": float(n),
            "answered": n - aborts / 3,
            "abort": float(aborts),
            "stream-second": float(open_),
            "event": float(events),
            "time": seconds,
            "reading": 1.0,
            "cycle": float(n > 0),
        }
        for n, aborts, open_, events, seconds in loads
    )
    one = trend.assess_moving(Series(FDS, tuple(levels), spans, 50, (190.0, 250.0, 310.0)), sensitivity=1e-3)
    assert one.status == "undecided"


SECONDS = (1.8, 1.9, 2.3, 2.2, 4.8, 6.4, 2.5, 1.5, 3.5)
CLIENTS = (0, 300, 600, 50, 1200, 50, 2056, 50, 4112)


def over_time(grown: Sequence[float]) -> Assessed:
    """Blocks of a real service, in cycles of such lengths with so many clients."""
    one = series(rising(grown, 75466.0), CLIENTS, key=Key("memory", "blocks"))
    spans = tuple({**span, "time": seconds} for span, seconds in zip(one.spans, SECONDS, strict=True))
    return trend.assess_moving(
        replace(one, spans=spans), sensitivity=0.05, floor=4.0, least=20.0, readings_add=True
    )


@pytest.mark.parametrize(
    ("grown", "status"),
    [
        ((7, 25, 33, 23, 46, 67, 25, 12, 32), OPEN),  # an event of 5 kB published five times a second, kept
        ((3, 11, 15, 10, 21, 30, 11, 5, 14), PASS),  # half as much: a pool or a warm-up could be that large
        ((70, 60, 40, 25, 15, 5, 2, 1, 1), PASS),  # a warm-up that ends
    ],
)
def test_growth_over_time_does_not_pass_because_many_clients_came(
    grown: tuple[float, ...], status: str
) -> None:
    one = over_time(grown)
    assert one.status == status
    if status == OPEN:
        assert (one.factor, one.growing) == ("time", True)
