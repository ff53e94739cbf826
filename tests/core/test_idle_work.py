"""Idle CPU that was undecided by itself, beside a count that leaks."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import pytest

from harness.core.cycle import Phase
from harness.core.judge.counts import assess_counts
from harness.core.judge.idle_work import MAX_CHANCE, rank_chance
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.record import Trial
from tests.core.series import FDS, OBJECTS, observation, trial

CPU = Key("idle-cpu")
DISTURBED = (0.4, 0.38, 0.35, 0.21, 0.31, 0.12, 0.24, 0.41, 0.4, 0.36)  # cores, on a machine with other work


def timers(
    after: Sequence[float], each: int = 6, before: Sequence[float] = (0.01, 0.02, 0.05, 0.07)
) -> Trial:
    """Six objects per stream, most of them of one load, and one wait of 70 s with the CPU readings ``after``."""
    seen, streams = [], 0
    for index, opened in enumerate((100, 300, 300, 150, 4096)):
        streams += opened
        levels = {FDS: 10.0, OBJECTS: 18_000.0 + each * streams, CPU: [*before, after[0]][index]}
        phase = Phase.WARMUP if index < 2 else Phase.LOAD
        seen.append(observation(index, levels, phase=phase, opened=opened))
    for cores in [*after] * 5:
        levels = {FDS: 10.0, OBJECTS: 18_000.0 + each * streams, CPU: cores}
        seen.append(observation(len(seen), levels, phase=Phase.RETENTION, opened=0))
    streams += 300
    levels = {FDS: 10.0, OBJECTS: 18_000.0 + each * streams, CPU: after[-1]}
    seen.append(observation(len(seen), levels, phase=Phase.RETENTION, opened=300))
    start = {FDS: 10.0, OBJECTS: 18_000.0, CPU: before[0]}
    return replace(trial([], observations=seen, retention=60.0), initial=start)


def test_idle_cpu_that_is_higher_after_a_leak_than_before_it_is_found_beside_it() -> None:
    seen = timers(DISTURBED)
    found = {f.metric: f for f in judge(seen).findings}
    assert judge(seen).findings[0].metric == "memory", "the cause comes first"
    assert found["idle-cpu"].driver == found["memory"].driver
    rate = found["idle-cpu"].rate
    assert rate is not None
    assert rate.value == pytest.approx(0.3 / 4500, rel=0.3)
    assert rate.low < rate.value < rate.high
    assert "while memory/objects grew" in found["idle-cpu"].explanation


@pytest.mark.parametrize(
    ("after", "each", "why"),
    [
        (DISTURBED, 0, "nothing leaks, so what was compiled may have caused it"),
        ([0.06, 0.08, 0.05, 0.09], 6, "less than a twentieth of a core"),
        ([0.4, 0.01, 0.02, 0.4, 0.01, 0.03], 6, "most readings are as low as before"),
    ],
)
def test_other_rises_of_idle_cpu_stay_undecided(after: list[float], each: int, why: str) -> None:
    assert assess_counts(timers(after, each))[CPU].status != "leaking", why


def test_three_low_readings_say_too_little() -> None:
    """Any order of 3 and 17 readings has a chance of 1 in 1,140."""
    assert rank_chance([0.1] * 3, [0.4] * 12) > MAX_CHANCE
    assert rank_chance([0.1] * 4, [0.4] * 12) < MAX_CHANCE


def test_the_chance_of_a_rank_is_that_of_all_orders_counted_one_by_one() -> None:
    draw = random.Random(3)
    for _ in range(40):
        before = [draw.randint(0, 9) for _ in range(draw.randint(1, 5))]
        after = [draw.randint(0, 12) for _ in range(draw.randint(1, 5))]
        pairs = sum(late > early for late in after for early in before)
        places = range(len(before) + len(after))
        orders = [
            sum(late > early for late in chosen for early in places if early not in chosen)
            for chosen in combinations(places, len(after))
        ]
        expected = sum(one >= pairs for one in orders) / len(orders)
        assert rank_chance(before, after) == pytest.approx(expected)
