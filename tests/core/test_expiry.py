"""What a service without timers releases only when the next request comes is no leak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from harness.core.cycle import Phase
from harness.core.judge.assessed import Assessed
from harness.core.judge.expiry import MIN_RELEASE
from harness.core.judge.expiry import without_requests as without
from harness.core.judge.fallen_back import fallen_back
from harness.core.judge.moment import Moment
from harness.core.judge.retained import retained
from harness.core.metric import Key
from tests.core.series import FDS, OBJECTS, trial

ANONYMOUS = Key("memory", "anonymous")
# Ten seconds each: three loads of 300 streams, a reading without clients, requests, and another reading.
CYCLES = (0, 300, 300, 300, 0, 300, 0)
PHASES = (Phase.WARMUP, *[Phase.LOAD] * 3, Phase.RETENTION, Phase.RETENTION, Phase.RETENTION)


def moments(
    levels: Sequence[float],
    key: Key = FDS,
    cycles: Sequence[int] = CYCLES,
    phases: Sequence[Phase] = PHASES,
) -> list[Moment]:
    found, answered = [], 0.0
    for index, (level, streams, phase) in enumerate(zip(levels, cycles, phases, strict=True)):
        answered += streams
        done = {"time": 10.0 * index, "reading": float(index), "answered": answered, "connection": answered}
        began = 10.0 * index - 8.0 if streams else 10.0 * index
        found.append(Moment(phase, {key: level}, done, 50 if streams else 0, began, 10.0 * index))
    return found


def without_requests(found: Sequence[Moment]) -> tuple[Moment, ...]:
    return without(found, 60.0)


def levels_of(found: Sequence[Moment], key: Key = FDS) -> list[float]:
    return [moment.levels[key] for moment in found]


def amounts(found: Sequence[Moment]) -> list[Mapping[str, float]]:
    return [moment.done for moment in found]


def test_requests_that_release_nothing_leave_no_trace() -> None:
    """The growth of their own streams, and what those did, is neither growth of the service nor exposure."""
    found = without_requests(moments([10, 310, 610, 910, 910, 1_210, 1_210]))
    assert levels_of(found) == [10, 310, 610, 910, 910, 910, 910]
    assert [done["answered"] for done in amounts(found)] == [0, 300, 600, 900, 900, 900, 900]
    assert [done["time"] for done in amounts(found)] == [10.0 * index for index in range(7)], "time goes on"
    assert [(moment.peak, moment.asked) for moment in found[-2:]] == [(0, True), (0, False)]


def test_what_falls_with_a_request_was_released_by_it() -> None:
    """All but what the requests' own streams added: 300, as in the loads before."""
    found = without_requests(moments([10, 310, 610, 910, 910, 310, 310]))
    assert levels_of(found) == [10, 310, 610, 910, 910, 10, 10]


@pytest.mark.parametrize(("after", "seen"), [(910 - MIN_RELEASE, 594.0), (910 - MIN_RELEASE + 1, 910.0)])
def test_jitter_is_no_release(after: float, seen: float) -> None:
    """Loads of which one added nothing are not steady, so only a fall counts."""
    found = without_requests(moments([10, 310, 610, 610, 910, after, after]))
    assert levels_of(found)[5] == seen


@pytest.mark.parametrize(("grown", "released"), [(60, True), (61, False), (0, True)])
def test_requests_that_add_next_to_nothing_released_as_much(grown: float, released: bool) -> None:
    """Each request removes one that is too old."""
    found = without_requests(moments([10, 310, 610, 910, 910, 910 + grown, 910 + grown]))
    assert levels_of(found)[5] == (610 + grown if released else 910)


@pytest.mark.parametrize(
    ("levels", "why"),
    [
        ([10, 310, 310, 910, 910, 910, 910], "one load added nothing either"),
        ([10, 16, 22, 28, 28, 28, 28], "six were expected, and none is chance"),
    ],
)
def test_growth_that_is_rare_or_uneven_may_add_nothing(levels: Sequence[float], why: str) -> None:
    assert levels_of(without_requests(moments(levels))) == levels, why


def test_a_later_request_is_judged_as_the_one_before_it() -> None:
    """The first one removes what is old enough, the second one the rest and the 300 of the first."""
    found = without_requests(
        moments(
            [10, 310, 610, 910, 910, 610, 610, 310],
            cycles=(*CYCLES, 300),
            phases=(*PHASES, Phase.RETENTION),
        )
    )
    assert levels_of(found) == [10, 310, 610, 910, 910, 310, 310, 0]


def test_a_load_after_a_wait_stays_a_load() -> None:
    phases = (*PHASES[:5], Phase.LOAD, Phase.RETENTION)
    found = moments([10, 310, 610, 910, 910, 310, 310], phases=phases)
    assert without_requests(found) == tuple(found)


def test_memory_of_an_allocator_is_no_count() -> None:
    found = moments([10, 310, 610, 910, 910, 310, 310], ANONYMOUS)
    assert levels_of(without_requests(found), ANONYMOUS) == [10, 310, 610, 910, 910, 910, 910]


def test_a_gap_in_the_readings_is_no_fall() -> None:
    found = moments([10, 310, 610, 910, 910, 310, 310])
    found[4] = replace(found[4], levels={OBJECTS: 5.0})
    assert without_requests(found)[5].levels == {FDS: 310}


def asked_again(levels: Sequence[float], at: Sequence[float] = (50.0, 60.0, 70.0)) -> list[Moment]:
    """Three loads, and three times requests in a wait that began at second 30."""
    found = moments(
        [10, 310, 610, 910, *levels],
        cycles=(*CYCLES[:4], 300, 300, 300),
        phases=(*PHASES[:4], *[Phase.RETENTION] * 3),
    )
    return [
        *found[:4],
        *(
            replace(moment, done={**moment.done, "time": second}, began=second - 1.0, left=second)
            for moment, second in zip(found[4:], at, strict=True)
        ),
    ]


def unsure_of(found: Sequence[Moment]) -> list[float]:
    return [moment.unsure.get(FDS, 0.0) for moment in found]


def test_what_a_later_request_may_have_released_is_unsure() -> None:
    """After 20 s all that the loads had left is released. Then each of the requests releases those before it, if it is
    not a leak of 300 that stays and no expiry at all."""
    found = without(asked_again([310, 310, 310]), 60.0)
    assert levels_of(found)[-3:] == [10, 0, 0]
    assert unsure_of(found)[-3:] == [0, 300, 310], "a leak of up to 300 is not excluded"


def test_streams_younger_than_those_that_were_released_are_still_held() -> None:
    """The first requests release a third, 20 s after the loads, the next the rest, but nothing that is 10 s old."""
    found = without(asked_again([910, 610, 910]), 60.0)
    assert levels_of(found)[-3:] == [610, 10, 10]
    assert unsure_of(found)[-3:] == [0, 0, 0]


def test_a_wait_is_whole_only_if_its_requests_began_after_the_retention_time() -> None:
    """They began 60.5 s after the last load and were read 61.5 s after it. A service in which a session lives for 60 s
    from when it notices the departure kept a third, and was called leaking: 300 were taken from what the next requests
    released, as if they had been of requests."""
    found = without(asked_again([910, 610, 910], at=(91.5, 103.0, 115.0)), 60.0)
    assert levels_of(found)[-3:] == [610, 10, 10]


def test_after_a_whole_wait_requests_release_only_what_requests_had_added() -> None:
    found = without(asked_again([310, 310, 310], at=(95.0, 105.0, 115.0)), 60.0)
    assert levels_of(found)[-3:] == [10, 10, 10]
    assert unsure_of(found)[-3:] == [0, 0, 0]


def test_the_true_level_is_at_most_the_one_that_was_read() -> None:
    """Threads of streams that a service with a tick of 3 s ended late: one thread was read, and 275 were in doubt."""
    found = moments(
        [10, 310, 610, 910, 10, 286, 3010, 10],
        cycles=(*CYCLES[:4], 0, 300, 3000, 0),
        phases=(*PHASES[:4], Phase.RETENTION, Phase.RETENTION, Phase.LOAD, Phase.RETENTION),
    )
    seen = without(found, 60.0)
    assert [level + more for level, more in zip(levels_of(seen), unsure_of(seen), strict=True)][-1] <= 10


@pytest.mark.parametrize(
    ("waited", "levels", "unsure"), [(70.0, [10, 610, 310], [0, 0, 0]), (20.0, [10, 310, 10], [0, 0, 300])]
)
def test_after_another_whole_wait_what_requests_had_left_is_a_part_of_the_load(
    waited: float, levels: list[float], unsure: list[float]
) -> None:
    """The requests after a whole wait, 300 streams more, and then a fall of 300: those of the load, or of the requests.
    What requests had left was taken from all later levels. In Rust, a spread release beside a leak of 1 per 40, those
    were 308 units which a second whole wait had released, and the leak was muted with four minutes too."""
    found = moments(
        [10, 310, 610, 910, 910, 310, 610, 310],
        cycles=(*CYCLES[:4], 0, 300, 300, 0),
        phases=(*PHASES[:4], Phase.RETENTION, Phase.RETENTION, Phase.LOAD, Phase.RETENTION),
    )
    late = [replace(one, done={**one.done, "time": 60.0 + one.at}) for one in found[4:]]
    late[-2] = replace(late[-2], left=late[-2].at)
    late[-1] = replace(late[-1], done={**late[-1].done, "time": late[-2].at + waited})
    seen = without([*found[:4], *late], 60.0)
    assert levels_of(seen)[-3:] == levels
    assert unsure_of(seen)[-3:] == unsure
    assert (seen[-1].done["answered"] == late[-1].done["answered"]) is (waited > 60)


def test_a_load_that_was_steeper_than_the_others_leaves_a_doubt() -> None:
    """One and a half for each of 300 streams, where the other loads left one."""
    found = without(moments([10, 460, 760, 1_060, 1_060, 310, 310]), 60.0)
    assert levels_of(found)[5] == 0
    assert unsure_of(found)[5] == 150


def test_a_level_is_as_high_as_it_can_be_where_it_excludes_a_leak() -> None:
    found = [replace(moment, unsure={FDS: 300.0}) for moment in moments([10, 310, 610, 910, 10, 10, 10])]
    open_ = Assessed("undecided", 1.0, "it fell")
    assert fallen_back(moments([10, 310, 610, 910, 10, 10, 10]), FDS, open_, 0.01).status == "bounded"
    assert fallen_back([replace(found[0], unsure={}), *found[1:]], FDS, open_, 0.01).status == "undecided"


def expired(levels: Sequence[float], unsure: float = 0.0, streams: int = 3000) -> Assessed:
    """The result for loads of ``streams``, a whole wait, and requests that released what had expired."""
    cycles = (0, streams, streams, streams, 0, 0, 0, 0)
    phases = (Phase.WARMUP, *[Phase.LOAD] * 3, *[Phase.RETENTION] * 4)
    found = [
        replace(one, done={**one.done, "time": one.at + (60.0 if index > 4 else 0.0)}, asked=index == 6)
        for index, one in enumerate(moments(levels, cycles=cycles, phases=phases))
    ]
    found = [replace(one, unsure={FDS: unsure}) if index >= 6 else one for index, one in enumerate(found)]
    one = Assessed(
        "leaking", 1.0, "it rose", levels[4] - levels[0], 3.0 * streams, rate=0.1, low=0.1, high=0.1
    )
    return retained(trial([], retention=60.0), found, FDS, one)


@pytest.mark.parametrize(("unsure", "status"), [(0.0, "bounded"), (6.0, "bounded"), (7.0, "undecided")])
def test_a_pass_counts_what_may_have_been_left(unsure: float, status: str) -> None:
    """Nine of 9,000 answered streams is the sensitivity, and three of them are the bound of none."""
    one = expired([10, 310, 610, 910, 910, 910, 10, 10], unsure)
    assert one.status == status
    assert one.at_most == pytest.approx((3 + unsure) / 9000)


def test_what_is_in_doubt_counts_only_above_the_level_of_the_start() -> None:
    """A full cache of 700 beside sockets that are released late: the level without the requests was taken to be 276
    below that of the start, so none of the 276 in doubt was growth."""
    one = expired([10, 310, 610, 910, 910, 910, 4, 4], 6.0)
    assert (one.status, one.at_most) == ("bounded", pytest.approx(3 / 9000))


def test_however_little_a_request_released_was_a_release() -> None:
    """A tenth of the growth is not reached by 20 of 900, but a leak does not fall just when a client comes again."""
    one = expired([10, 310, 610, 910, 910, 910, 890, 890])
    assert one.release is not None
    assert one.status != "leaking"
