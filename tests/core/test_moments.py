"""The levels of a moment, where a class of descriptors was counted and where it was not."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from harness.core.census_diff import UNCLASSIFIED
from harness.core.cycle import Phase
from harness.core.judge.counts import assess_counts
from harness.core.judge.moments import Series, moments, series
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.verdict import Outcome
from tests.core.series import FDS, observation, trial

EVENTFD, FILE = Key("fds", "eventfd"), Key("fds", "file")
CENSUS = {FDS: 12.0, FILE: 5.0, EVENTFD: 7.0}
HOT_LANE = {FDS: 12.0}  # what is known of a cycle without a census


def read(*cycles: Mapping[Key, float]) -> Series | None:
    """The eventfds of a trial whose cycles ended so, the first being the warm-up."""
    phases = [Phase.WARMUP, *[Phase.LOAD] * (len(cycles) - 1)]
    seen = [observation(i, each, phase=phases[i]) for i, each in enumerate(cycles)]
    return series(moments(trial([], observations=seen)), EVENTFD)


@pytest.mark.parametrize(
    "blind",
    [HOT_LANE, {FDS: 12.0, Key("fds", UNCLASSIFIED): 12.0}, {Key("threads"): 3.0}],
    ids=["no census", "classes not readable", "descriptors not readable"],
)
def test_a_class_missing_where_none_was_seen_is_a_gap_and_its_connections_are_kept(
    blind: Mapping[Key, float],
) -> None:
    found = read(CENSUS, CENSUS, blind, CENSUS)
    assert found is not None
    assert found.levels == (7.0, 7.0, 7.0)
    assert found.column("connection") == [300.0, 600.0]


@pytest.mark.parametrize("seen", [{FDS: 5.0, FILE: 5.0}, {FDS: 0.0}], ids=["others seen", "holds nothing"])
def test_a_class_that_a_census_did_not_meet_is_zero(seen: Mapping[Key, float]) -> None:
    found = read(CENSUS, CENSUS, seen, CENSUS)
    assert found is not None
    assert found.levels == (7.0, 7.0, 0.0, 7.0)
    assert found.column("connection") == [300.0, 300.0, 300.0]


def test_a_class_read_once_has_no_series() -> None:
    assert read(HOT_LANE, CENSUS, HOT_LANE) is None


def test_a_gap_neither_hides_a_leak_nor_makes_one() -> None:
    def cycles(per_cycle: float) -> list[Mapping[Key, float]]:
        whole = [{FDS: 12 + per_cycle * i, FILE: 5.0, EVENTFD: 7 + per_cycle * i} for i in range(9)]
        return [{FDS: one[FDS]} if i % 3 == 0 and i else one for i, one in enumerate(whole)]

    for per_cycle, outcome in ((0.0, Outcome.BOUNDED), (300.0, Outcome.LEAKING)):
        phases = [Phase.WARMUP, *[Phase.LOAD] * 8]
        seen = [observation(i, one, phase=phases[i], opened=500) for i, one in enumerate(cycles(per_cycle))]
        verdict = judge(trial([], observations=seen))
        assert verdict.outcome is outcome
        rates = {one.kind: one.rate.value for one in verdict.findings if one.rate}
        assert rates == ({"eventfd": pytest.approx(0.6)} if per_cycle else {})


def test_growth_over_time_is_still_certain_after_a_search_whose_growth_is_left_out() -> None:
    """A descriptor a second, with clients or without; a search of 20 s at the end."""
    phases = [Phase.WARMUP] * 2 + [Phase.LOAD, Phase.LOAD, Phase.IDLE, Phase.IDLE] * 4 + [Phase.SEARCH] * 7
    seen = [
        observation(i, {FDS: 10.0 + 3 * i, EVENTFD: 3.0 * i}, phase=phase) for i, phase in enumerate(phases)
    ]
    verdict = judge(trial([], observations=seen))
    assert verdict.outcome is Outcome.LEAKING
    assert verdict.findings[0].driver == "time"


def test_a_fall_while_allocations_are_traced_counts_as_a_fall() -> None:
    found = series(
        moments(
            trial(
                [],
                observations=[
                    observation(i, {FDS: level}, phase=phase)
                    for i, (level, phase) in enumerate(
                        [
                            (10.0, Phase.WARMUP),
                            (300.0, Phase.LOAD),
                            (10.0, Phase.SEARCH),
                            (250.0, Phase.SEARCH),
                        ]
                    )
                ],
            )
        ),
        FDS,
    )
    assert found is not None
    assert found.increments == [290.0, -290.0, 0.0]


@pytest.mark.parametrize(("answered", "read"), [(0, 6), (1, 7)])
def test_a_last_search_in_which_no_stream_was_answered_proves_nothing(answered: int, read: int) -> None:
    """A starved service let 40 streams stall, and its descriptors were not in step with them any more."""
    seen = [observation(n, {FDS: 10.0 + 300 * n}, phase=Phase.LOAD) for n in range(6)]
    ledger = {"answered": answered, "completed": answered, "events": 0, "stalls": 40 - answered}
    search = observation(6, {FDS: 1510.0}, phase=Phase.SEARCH, opened=40, ledger=ledger)
    assert len(moments(trial([], observations=[*seen, search]))) == read


def test_late_work_of_a_traced_service_proves_nothing_and_a_load_after_it_does() -> None:
    def grown(phase: Phase, opened: int) -> list[float]:
        cycles = [(10.0, Phase.WARMUP, 300), (300.0, Phase.LOAD, 300), (330.0, Phase.SEARCH, 100)]
        seen = [
            observation(i, {FDS: level}, phase=each, opened=n)
            for i, (level, each, n) in enumerate([*cycles, (341.0, phase, opened)])
        ]
        found = series(moments(trial([], observations=seen)), FDS)
        assert found is not None
        return found.increments

    assert grown(Phase.RETENTION, 0) == [290.0, 0.0, 0.0]
    assert grown(Phase.LOAD, 300) == [290.0, 0.0, 11.0]


def test_a_consequence_that_is_certain_proves_no_cause() -> None:
    """Objects that grow in step with descriptors leak with them; in step with mappings they are still open."""
    objects, mappings = Key("memory", "objects"), Key("mappings")

    def status(leader: Key) -> str:
        sizes = [300, 300, 150, 50, 600, 300]
        levels = [10.0, *(10.0 + sum(sizes[: n + 1]) for n in range(len(sizes)))]
        seen = [
            observation(
                i, {leader: level, objects: 500.0 + 2 * level, FDS: level if leader == FDS else 10.0},
                phase=Phase.WARMUP if i < 1 else Phase.LOAD, opened=300 if i < 1 else sizes[i - 1],
            )
            for i, level in enumerate(levels)
        ]  # fmt: skip
        return assess_counts(trial([], observations=seen))[objects].status

    assert status(FDS) == "leaking"
    assert status(mappings) == "undecided"


READ, UNREAD = {"event": 600.0}, {"event": 25.0, "unread": 50.0}


def test_a_rate_per_event_leaves_out_cycles_whose_clients_did_not_read() -> None:
    """What the service sent to stalled readers is not known: 2.00 blocks per event were called 2.30 (1.57 to 3.03)."""
    one = Series(FDS, (10.0, 610.0, 1_210.0, 1_810.0, 2_410.0), (READ, UNREAD, READ, READ), 50)
    rated = one.for_rate("event")
    assert rated.levels == (10.0, 610.0, 610.0, 1_210.0, 1_810.0)
    assert rated.column("event") == [600.0, 0.0, 600.0, 600.0]
    assert one.for_rate("connection") is one, "whoever read, as many streams were opened"


def test_a_cycle_with_most_of_the_growth_is_kept_for_the_rate() -> None:
    one = Series(FDS, (10.0, 20.0, 6_010.0, 6_020.0), (READ, UNREAD, READ), 50)
    assert one.for_rate("event") is one
    assert Series(FDS, (10.0, 20.0), (READ,), 50).for_rate("event").levels == (10.0, 20.0)
