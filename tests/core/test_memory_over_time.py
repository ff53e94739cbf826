"""Growth of anonymous memory over time: each limit, with a series just inside it and one just outside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from harness.core.cycle import Phase
from harness.core.judge.assessed import Allowed, Assessed
from harness.core.judge.memory import MEMORY
from harness.core.judge.memory_over_time import memory_of, over_time
from harness.core.judge.moments import Series, moments
from harness.core.plan import Goal, next_step
from tests.core.series import FDS, observation, trial

LEAKING, OPEN = "leaking", "undecided"
MIB = float(1 << 20)
START = 8 * MIB
LOADS = [(300, 4.0), (600, 4.0), (1200, 6.0), (2400, 8.0), (50, 6.0), (2400, 8.0)]  # clients, seconds
OTHERWISE = Assessed("bounded", 500.0, "stood still", 0.0, 7000.0)


def series(pace: float, idle: Sequence[float], loads: float | None = None) -> Series:
    """Loads during which memory grew by ``pace`` bytes a second (``loads``, where that differs), and idle readings of
    four seconds."""
    each = pace if loads is None else loads
    spans = [
        *({"connection": float(n), "time": s} for n, s in LOADS),
        *({"connection": 0.0, "time": 4.0} for _ in idle),
    ]
    grown = [*(each * s for _, s in LOADS), *(4.0 * value for value in idle)]
    levels = [START]
    for value in grown:
        levels.append(levels[-1] + value)
    return Series(MEMORY, tuple(levels), tuple(spans), 50)


def judged(
    one: Series, *, seconds: float = 60.0, garbage: float = 2.0, granted: Allowed | None = None
) -> Assessed:
    return over_time(one, OTHERWISE, granted or Allowed(), seconds=seconds, garbage=garbage)


PACE = 2.0e5


def test_growth_that_continues_without_clients_is_a_leak_over_time() -> None:
    one = judged(series(PACE, [PACE * (1 + 0.02 * (i % 3)) for i in range(12)]))
    assert (one.status, one.factor) == (LEAKING, "time")
    assert one.low <= PACE <= one.high
    assert one.high < 1.15 * PACE
    assert "MB of that in 48 s without clients" in one.why


def test_steps_of_an_allocator_are_growth_over_time_as_well() -> None:
    """A heap takes 6 MB at once, every 15 s or so: most readings stand still."""
    one = judged(series(PACE, [4 * PACE * (i % 4 == 3) for i in range(16)]))
    assert (one.status, one.factor) == (LEAKING, "time")


@pytest.mark.parametrize(("looks", "status"), [(7, OPEN), (8, LEAKING)])
def test_thirty_seconds_without_clients_are_required(looks: int, status: str) -> None:
    one = judged(series(3e5, [3e5] * looks))
    assert (one.status, one.factor, one.growing) == (status, "time", status == OPEN)


@pytest.mark.parametrize(("seconds", "status"), [(84.0, LEAKING), (85.0, OPEN)])
def test_growth_must_continue_for_longer_than_the_retention_time(seconds: float, status: str) -> None:
    assert judged(series(PACE, [PACE] * 12), seconds=seconds).status == status


@pytest.mark.parametrize(("garbage", "status"), [(3.0, LEAKING), (3.1, OPEN), (math.inf, OPEN)])
def test_garbage_that_waits_for_a_collection_is_no_leak(garbage: float, status: str) -> None:
    """16.8 MB beside 8.4 MB: three times as much as at first."""
    one = judged(series(PACE, [PACE] * 12), garbage=garbage)
    assert one.status == status
    assert ("garbage that waits for a collection" in one.why) is (status == OPEN)


@pytest.mark.parametrize(("pace", "status"), [(1.30e5, OPEN), (1.32e5, LEAKING)])
def test_four_arenas_must_come_without_clients(pace: float, status: str) -> None:
    """32 s without clients."""
    assert judged(series(pace, [pace] * 8), garbage=1.0).status == status


@pytest.mark.parametrize(
    ("readings", "still", "status"), [(15, 0, OPEN), (16, 0, LEAKING), (16, 1, LEAKING), (16, 2, OPEN)]
)
def test_less_than_four_arenas_must_come_in_nearly_every_reading(
    readings: int, still: int, status: str
) -> None:
    """40 kB a second, 2.4 to 2.6 MB without clients: an allocator's steps would be fewer and larger."""
    idle = [4e4 * readings / (readings - still)] * readings
    idle[10 : 10 + still] = [0.0] * still
    assert judged(series(4e4, idle, loads=6e4), garbage=1.0).status == status


def test_memory_that_rises_with_clients_alone_is_judged_otherwise() -> None:
    assert judged(series(0.0, [0.0] * 16, loads=4e5)) is OTHERWISE
    assert judged(series(0.0, [1e5] * 12, loads=4e5)) is OTHERWISE, "less than half of its pace"


def test_idle_growth_that_stops_is_judged_otherwise() -> None:
    assert judged(series(PACE, [PACE] * 7 + [0.0] * 9)) is OTHERWISE
    assert judged(series(PACE, [PACE] * 6 + [0.1 * PACE] * 10)) is OTHERWISE


@pytest.mark.parametrize(("noise", "same"), [(0.2, False), (6.0, True)])
def test_a_line_over_time_must_exceed_its_noise(noise: float, same: bool) -> None:
    one = series(PACE, [PACE] * 12)
    levels = [level + noise * MIB * (0, 1, -1, 0.5, -0.5)[i % 5] for i, level in enumerate(one.levels)]
    assert (judged(replace(one, levels=tuple(levels))) is OTHERWISE) is same


def test_growth_granted_over_time_is_no_leak() -> None:
    granted = Allowed(hour=PACE * 3600)
    assert judged(series(PACE, [PACE] * 12), granted=granted) is OTHERWISE


def test_without_idle_readings_the_cycles_decide_whether_to_wait() -> None:
    """Cycles differ by design: 50 clients in six seconds grow as much as 1,200 in six."""
    one = judged(series(PACE, [PACE]))
    assert (one.status, one.factor, one.growing) == (OPEN, "time", True)
    by_clients = Series(
        MEMORY,
        (
            START,
            *(START + 2000.0 * sum(n for n, _ in LOADS[: i + 1]) for i in range(6)),
            START + 2000.0 * 6950,
        ),
        (*({"connection": float(n), "time": s} for n, s in LOADS), {"connection": 0.0, "time": 4.0}),
        50,
    )
    assert judged(by_clients) is OTHERWISE


def test_the_plan_leaves_a_service_alone_whose_memory_grows_over_time() -> None:
    """More clients would not distinguish it from growth per connection; readings without clients do."""
    goal = Goal(connections=300, concurrency=50, dwell=1.0, paths=("/",), max_seconds=120.0, retention=60.0)
    opened = [100, 300, 300, 0, 300, 600, 1200, 50, 2400, 2400]
    phases = [Phase.WARMUP] * 3 + [Phase.IDLE] + [Phase.LOAD] * 6
    seen = [
        observation(
            i, {MEMORY: START + 3 * PACE * i, FDS: 9.0}, phase=phase, opened=n, ledger={"answered": n}
        )
        for i, (n, phase) in enumerate(zip(opened, phases, strict=True))
    ]
    now = trial([], observations=seen, retention=60.0)
    one = memory_of(now, moments(now))
    assert one is not None
    assert (one.factor, one.growing) == ("time", True)
    step = next_step(now, goal)
    assert getattr(step, "phase", None) is Phase.RETENTION
    assert getattr(step, "connections", None) == 0


def test_a_heap_that_stands_still_for_ten_seconds_is_watched_for_longer() -> None:
    """Go takes 4 to 6 MB at once: eight readings of a second each were the same, although 2.8 MB were retained."""
    loads = [{"connection": float(n), "time": s} for n, s in LOADS]
    waiting = [*loads, *loads, *({"connection": 0.0, "time": 1.1} for _ in range(8))]
    levels = [START]
    for span in waiting:
        levels.append(levels[-1] + (PACE * span["time"] if span["connection"] else 0.0))
    one = judged(Series(MEMORY, tuple(levels), tuple(waiting), 50))
    assert (one.status, one.factor, one.growing) == (OPEN, "time", True)


@pytest.mark.parametrize(("few", "otherwise"), [(0.20, True), (0.30, False)])
def test_a_warm_up_by_connections_that_slows_down_does_not_grow_while_few_come(
    few: float, otherwise: bool
) -> None:
    """A line over time explains its loads best. The hold of 50 clients, which takes 6 s of 36, shows that it does not
    grow over time."""
    spans = [{"connection": float(n), "time": s} for n, s in LOADS]
    grown = [PACE * span["time"] * (few if span["connection"] == 50 else 1.0) for span in spans] * 2
    levels = [START]
    for value in grown:
        levels.append(levels[-1] + value)
    one = Series(MEMORY, tuple(levels), (*spans, *spans), 50)
    assert (judged(one) is OTHERWISE) is otherwise


@pytest.mark.parametrize(("still", "rising", "status"), [(18, 40, LEAKING), (25, 6, OPEN)])
def test_free_memory_of_a_load_is_filled_before_memory_grows(still: int, rising: int, status: str) -> None:
    """A heap of Go stood still for 18 s after its loads, and then grew at 350 kB a second. Thirty seconds in which it
    stood still for 25 are no reason to load again."""
    loads = [{"connection": float(n), "time": s} for n, s in LOADS]
    idle = [{"connection": 0.0, "time": 1.0} for _ in range(still + rising)]
    levels = [START]
    for span in loads:
        levels.append(levels[-1] + 3.5e5 * span["time"])
    for second in range(still + rising):
        levels.append(levels[-1] + (3.5e5 if second >= still else 0.0))
    one = judged(Series(MEMORY, tuple(levels), (*loads, *idle), 50))
    assert (one.status, one.factor, one.growing) == (status, "time", status == OPEN)
    if status == LEAKING:
        assert one.low <= 3.5e5 <= one.high
