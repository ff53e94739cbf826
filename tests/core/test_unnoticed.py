"""Clients whose disconnect the service has not noticed: levels with their sockets do not count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from harness.core.cycle import Observation
from harness.core.judge.assessed import Assessed
from harness.core.judge.caveat import _released_late
from harness.core.judge.moments import moments
from harness.core.judge.retention import IdleEvidence, Release
from harness.core.judge.trial import judge
from harness.core.judge.unnoticed import premature, settle_for, slowest_close, unnoticed
from harness.core.metric import Key
from harness.core.verdict import Outcome
from tests.core.series import FDS, observation, trial

CLOSE_WAIT, ROWLESS = Key("fds", "close-wait"), Key("fds", "rowless-socket")


def seen(*held: tuple[float, float], **more: Any) -> list[Observation]:
    """Cycles after which these numbers of sockets are in CLOSE_WAIT and without a row."""
    return [
        observation(index, {FDS: 8.0 + wait + gone, CLOSE_WAIT: wait, ROWLESS: gone}, **more)
        for index, (wait, gone) in enumerate(held)
    ]


def early(*held: tuple[float, float]) -> Sequence[int]:
    return sorted(premature(seen(*held)))


def test_unnoticed_departures_are_those_in_both_socket_states() -> None:
    assert unnoticed(seen((5, 7))[0].levels) == 12


def test_a_level_with_sockets_that_are_closed_later_is_premature() -> None:
    assert early((60, 40), (200, 150), (0, 0), (300, 0), (0, 0)) == [0, 1, 3]
    assert early((100, 0), (160, 0), (20, 0), (20, 0)) == [0, 1]  # part of it stays


def test_what_is_never_closed_is_a_level() -> None:
    assert early((300, 0), (600, 0), (900, 0)) == []
    assert early((0, 0), (1, 0), (0, 0), (1, 0)) == []  # a straggler
    assert early((1000, 0), (990, 0)) == []  # within the share


def test_the_end_of_a_process_is_no_release() -> None:
    cycles = seen((300, 0), (600, 0))
    ended = observation(2, {FDS: 8.0, CLOSE_WAIT: 0.0}, events=("1234 ended",))
    assert not premature([*cycles, ended])


def test_growth_that_stays_for_minutes_is_retained() -> None:
    cycles = seen(*[(300, 0)] * 70, (0, 0))  # three seconds each
    assert sorted(premature(cycles)) == list(range(11, 70))


def test_a_premature_level_is_left_out_and_its_ledger_is_kept() -> None:
    found = moments(trial([], observations=seen((0, 0), (300, 0), (0, 0))))
    assert [moment.levels[FDS] for moment in found] == [8.0, 8.0]
    assert found[1].done["connection"] - found[0].done["connection"] == 600


def test_the_options_that_help_are_exact() -> None:
    slow = [observation(0, {FDS: 8.0}, close_lag=59.7)]
    assert settle_for(slow) == "--settle 63s --max-time 12m"
    assert settle_for(slow, 95.0) == "--settle 63s --max-time 13m"
    assert settle_for([observation(0, {FDS: 8.0}, close_lag=0.9)]) == ""
    assert settle_for([observation(n, {FDS: 8.0}, close_lag=9.5) for n in range(60)]) == ""
    assert settle_for(seen((60, 40), (200, 150), (0, 0))) == "--settle 9s --max-time 3m"


def test_an_inconclusive_run_of_a_slow_service_names_them() -> None:
    cycles = [*seen((60, 40), (200, 150)), observation(2, {FDS: 8.0}, close_lag=59.7)]
    verdict = judge(trial([], observations=cycles))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "up to 60 s after the clients had disconnected" in verdict.explanation
    assert verdict.advice == "allow that much time: --settle 63s --max-time 12m"


def test_growth_beside_a_slow_close_gets_time_to_outlive_the_retention_time_as_well() -> None:
    """aiohttp sessions that are retained: the seven minutes that the first run named ended before the wait began."""
    objects = Key("memory", "objects")
    cycles = [observation(n, {FDS: 8.0, objects: 9000.0 + 7500 * n}, close_lag=31.0) for n in range(8)]
    for retention, time in ((60.0, "8m"), (300.0, "12m"), (0.0, "7m")):
        verdict = judge(replace(trial([], observations=cycles), retention=retention))
        assert verdict.outcome is Outcome.INCONCLUSIVE
        assert verdict.explanation.startswith("memory/objects: "), verdict.explanation
        assert verdict.advice == f"allow that much time: --settle 33s --max-time {time}"


def test_no_time_to_settle_helps_where_the_next_request_closes() -> None:
    """libmicrohttpd closes what ended when the next client comes. 69 s to settle would have closed nothing."""
    late = Release(100.0, 65.0, over=True, by_request=True)
    one = Assessed(
        "undecided",
        0.02,
        "released",
        0.0,
        5_000.0,
        idle_evidence=IdleEvidence(66.0, 100.0, 50.0, 65.0, release=late),
    )
    cycles = seen((60, 40), (200, 150), (0, 0))
    assert premature(cycles)
    assert _released_late(trial([], observations=cycles), {FDS: one})


def test_the_slowest_close_is_that_of_a_settled_cycle() -> None:
    cycles = [
        observation(0, {FDS: 8.0}, close_lag=0.1),
        observation(1, {FDS: 8.0}, close_lag=9.4),
        observation(2, {FDS: 8.0}, close_lag=30.0, unsettled="fds"),
        observation(3, {}, close_lag=60.0, settled=False),
    ]
    assert slowest_close(cycles) == 9.4
    assert slowest_close([]) == 0.0
