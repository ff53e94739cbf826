"""The search for the place of a leak never makes the service reach the ceiling that the leak would reach."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.core.cycle import BrokerCount, CycleSpec, Phase
from harness.core.judge.attribution import MIN_CONNECTIONS, MIN_CYCLES_BELOW_CEILING, attribution_cycle, units
from harness.core.metric import Key
from harness.core.plan import Goal
from tests.core.series import FDS, CycleSums, play, trial

GOAL = Goal(connections=300, concurrency=50, dwell=1.0, paths=("/",), disconnect="mixed", max_seconds=120.0)
DRIVERS: dict[str, tuple[Callable[[CycleSums], int], Callable[[CycleSpec], bool]]] = {
    "broker-timeout": (lambda did: did.unanswered, lambda step: step.fault == "silence"),
    "abort": (lambda did: did.aborts + did.stalls, lambda step: step.disconnect != "fin"),
    "slow-reader": (lambda did: did.stalls, lambda step: step.disconnect in ("mixed", "stall")),
    "connection": (lambda did: did.connections, lambda step: not step.fault),
}


@pytest.mark.parametrize(
    ("nofile", "size"), [(20_000, MIN_CONNECTIONS), (1024, (1024 - 910) // MIN_CYCLES_BELOW_CEILING)]
)
def test_cycles_of_attribution_fit_below_the_nearest_ceiling(nofile: int, size: int) -> None:
    leaking = trial([310, 610, 910])
    limited = replace(leaking, target=replace(leaking.target, limits={"RLIMIT_NOFILE": float(nofile)}))
    chosen = attribution_cycle(limited)
    assert chosen is not None
    assert chosen[0].connections == size


def test_with_no_room_at_all_none_is_run() -> None:
    leaking = trial([310, 610, 910])
    limited = replace(leaking, target=replace(leaking.target, limits={"RLIMIT_NOFILE": 930.0}))
    assert attribution_cycle(limited) is None


@pytest.mark.parametrize("driver", DRIVERS)
def test_the_cycle_is_one_in_which_the_driver_acts(driver: str) -> None:
    count, fits = DRIVERS[driver]
    leaking, _ = play(lambda did: {FDS: 20.0 + count(did)}, replace(GOAL, broker=driver == "broker-timeout"))
    last = leaking.observations[-1]
    orderly = replace(last.spec, index=last.spec.index + 1, disconnect="fin", fault="", phase=Phase.LOAD)
    ledger = replace(last.ledger, opened=300, aborts=0, by_mode={"fin": 300})
    quiet = replace(last, spec=replace(orderly, connections=300), ledger=ledger)
    if driver == "broker-timeout":
        quiet = replace(quiet, broker=BrokerCount(1, 1, 300, 300, 0))
    if driver != "connection":  # a last load in which the driver did not act
        leaking = replace(leaking, observations=(*leaking.observations, quiet))
    chosen = attribution_cycle(leaking)
    assert chosen is not None
    assert fits(chosen[0]), chosen[0]


def test_room_is_measured_in_cycles_like_the_one_that_is_run() -> None:
    """With a silent broker four are leaked per stream: a rate over all connections would be much too low."""

    def level(did: CycleSums) -> dict[Key, float]:
        return {FDS: 20.0 + 4 * did.unanswered}

    leaking, _ = play(level, replace(GOAL, broker=True))
    last = leaking.observations[-1].levels[FDS]
    limits = {"RLIMIT_NOFILE": last + 600.0}
    limited = replace(leaking, target=replace(leaking.target, limits=limits))
    chosen = attribution_cycle(limited)
    assert chosen is not None
    assert 4 * chosen[0].connections * MIN_CYCLES_BELOW_CEILING <= 600


def test_growth_over_time_is_searched_without_clients_and_counted_by_the_second() -> None:
    leaking, _ = play(lambda did: {FDS: 20.0 + 5 * did.seconds}, GOAL)
    chosen = attribution_cycle(leaking)
    assert chosen is not None
    step, per = chosen
    assert (step.connections, per) == (0, "second")


def test_growth_per_answered_stream_is_counted_by_what_was_answered() -> None:
    leaking, _ = play(lambda did: {FDS: 20.0 + did.connections}, GOAL)
    ledger = replace(leaking.observations[-1].ledger, opened=300, answered=200)
    assert units(ledger, "answered stream", 1.0) == 200
    assert units(replace(ledger, answered=None), "answered stream", 1.0) == 300
    assert units(ledger, "connection", 1.0) == 300
