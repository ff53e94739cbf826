"""A count that has reached a ceiling of the kernel did not stop growing by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from harness.core.cycle import Phase
from harness.core.judge.assessed import Assessed
from harness.core.judge.ceiling import ceiling_of
from harness.core.judge.counts import assess_counts
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.record import Trial
from harness.core.verdict import Outcome
from tests.core.series import FDS, observation, trial

INOTIFY = Key("fds", "inotify")
CEILING = "fs.inotify.max_user_instances"
STREAMS = 40
# One instance for every tenth stream until the kernel refuses more, then nothing for many cycles.
RARE = [10 + 4 * cycle for cycle in range(1, 30)] + [128] * 100


def at_ceiling(levels: Sequence[float], key: Key = INOTIFY, streams: int = STREAMS, **limits: float) -> Trial:
    known = limits or {CEILING: 128.0}
    one = trial(levels, key=key, opened=streams)
    return replace(one, target=replace(one.target, limits=known))


def cut_off(waits: int = 0) -> Trial:
    """A real run: one instance for every tenth stream, until a load of 2,556 streams found room for 61 more. waits:
    readings of 8 s each without clients afterwards."""
    opened = (40, 80, 4, 160, 4, 176, 4, 57, 57, 2772, 216, 40)
    answered = (32, 80, 4, 128, 4, 176, 4, 57, 57, 2556, 194, 36)
    added = (4, 8, 0, 16, 1, 17, 1, 5, 6, 61, 0, 0)
    level, seen = 10.0, [observation(0, {INOTIFY: 10.0}, phase=Phase.WARMUP, opened=40)]
    for index, (streams, served, grown) in enumerate(zip(opened, answered, added, strict=True), 1):
        level += grown
        one = observation(index, {INOTIFY: level}, phase=Phase.LOAD, opened=streams)
        seen.append(replace(one, ledger=replace(one.ledger, answered=served)))
    timed = [
        replace(one, started=3.4 * index, load_ended=3.4 * index + 1.0, ended=3.4 * index + 3.0)
        for index, one in enumerate(seen)
    ]
    for index in range(waits):
        one = observation(len(seen) + index, {INOTIFY: level}, phase=Phase.RETENTION, opened=0)
        timed.append(replace(one, started=44.2 + 8.0 * index, load_ended=None, ended=52.0 + 8.0 * index))
    whole = at_ceiling([])
    return replace(
        whole,
        observations=tuple(timed),
        initial={INOTIFY: 10.0},
        retention=60.0 if waits else 0.0,
        ended=timed[-1].ended,
    )


def result(levels: Sequence[float], **limits: float) -> Assessed:
    return assess_counts(at_ceiling(levels, **limits))[INOTIFY]


def test_growth_in_step_with_the_streams_until_the_ceiling_is_a_leak_with_its_rate() -> None:
    one = result(RARE)
    assert one.status == "leaking"
    assert one.low <= 0.1 <= one.high
    assert one.why.endswith(f"then {CEILING} (128) allowed no more")


def test_a_load_that_the_ceiling_cut_off_does_not_lower_the_rate() -> None:
    one = assess_counts(cut_off())[INOTIFY]
    assert one.status == "leaking"
    assert one.low <= 0.1 <= one.high
    assert one.rate > 0.08


def test_a_load_that_the_ceiling_cut_off_is_no_sweep() -> None:
    """With a sweep the remainder would be younger than it, and the run was inconclusive after a whole wait."""
    assert assess_counts(cut_off(waits=5))[INOTIFY].status == "leaking"


def test_loads_after_a_service_stopped_serving_are_no_sweeps() -> None:
    """The search for the place opened 200 streams after a wait, which added nothing: the remainder seemed 3 s old."""
    served = [(80, 100), (240, 300), (40, 50), (40, 49)]
    level, seen = 5.0, []
    for index, (answered, grown) in enumerate(served):
        level += grown
        one = observation(index, {FDS: level}, phase=Phase.LOAD if index else Phase.WARMUP, opened=answered)
        seen.append(replace(one, started=3.0 * index, load_ended=3.0 * index + 1.0, ended=3.0 * index + 2.5))
    failed = {
        "opened": 150,
        "answered": 0,
        "failed": 150,
        "causes": {"status-500": 150},
        "statuses": {500: 150},
    }
    none = observation(4, {FDS: level}, phase=Phase.LOAD, ledger=failed)
    seen.append(replace(none, started=12.0, load_ended=13.0, ended=15.0))
    for index in range(7):
        one = observation(5 + index, {FDS: level}, phase=Phase.RETENTION, opened=0)
        seen.append(replace(one, started=15.0 + 8 * index, load_ended=None, ended=23.0 + 8 * index))
    search = observation(12, {FDS: level}, phase=Phase.SEARCH, opened=200)
    seen.append(replace(search, started=71.0, load_ended=72.0, ended=74.0))
    capped = trial([], observations=tuple(seen), retention=60.0, initial={FDS: 5.0})
    assert assess_counts(capped)[FDS].status == "leaking"


def test_the_same_levels_without_the_ceiling_are_those_of_a_full_cache() -> None:
    assert result(RARE, other=128.0).status == "bounded"
    assert judge(at_ceiling(RARE, other=128.0)).outcome is Outcome.BOUNDED


def test_the_verdict_is_leaking_and_no_pass() -> None:
    assert judge(at_ceiling(RARE)).outcome is Outcome.LEAKING


def test_growth_out_of_step_with_the_streams_is_undecided_where_it_ends_at_the_ceiling() -> None:
    levels = [10] * 6 + [90] * 6 + [128] * 90
    one = result(levels)
    assert (one.status, one.growing) == ("undecided", True)
    assert one.why == f"grew by 118, then {CEILING} (128) allowed no more"
    assert result(levels, other=128.0).status == "bounded"


@pytest.mark.parametrize(("last", "status"), [(116, "leaking"), (115, "bounded")])
def test_a_level_stands_at_a_ceiling_from_nine_tenths_of_it(last: int, status: str) -> None:
    """115.2 of 128: the user's other processes hold the rest."""
    levels = [level for level in RARE if level < last] + [last] * 90
    assert result(levels).status == status


@pytest.mark.parametrize(("limit", "bounded"), [(116.0, True), (117.0, False)])
def test_a_level_beyond_a_ceiling_is_not_bound_by_it(limit: float, bounded: bool) -> None:
    """128 is 1.103 and 1.094 times these."""
    assert (result(RARE, **{CEILING: limit}).status == "bounded") is bounded


def test_a_service_that_began_at_its_ceiling_has_not_grown_to_it() -> None:
    one = trial([100] * 4 + [128] * 100, warmup=(100, 100, 100), key=INOTIFY, opened=STREAMS)
    one = replace(one, target=replace(one.target, limits={CEILING: 128.0}))
    assert assess_counts(one)[INOTIFY].status == "bounded"


def test_ceilings_of_one_process_are_not_compared_with_a_sum_over_processes() -> None:
    limits = {"RLIMIT_NOFILE": 1024.0, "pids.max": 500.0, "RLIMIT_NPROC": 400.0, "vm.max_map_count": 65530.0}
    assert ceiling_of(Key("fds"), limits) is None
    assert ceiling_of(Key("mappings"), limits) is None
    assert ceiling_of(Key("threads"), limits) == ("RLIMIT_NPROC", 400.0)
    assert ceiling_of(Key("fds", "eventfd"), {"ZMQ_MAX_SOCKETS": 1023.0}) == ("ZMQ_MAX_SOCKETS", 1023.0)
    assert ceiling_of(Key("fds", "pipe"), limits) is None


@pytest.mark.parametrize(("processes", "status"), [(1.0, "leaking"), (3.0, "undecided")])
def test_one_process_that_stands_at_its_own_limit_did_not_stop_by_itself(
    processes: float, status: str
) -> None:
    """C with RLIMIT_NOFILE of 350, one timer for each second request: it served its streams one at a time then, and its
    growth passed for that of a full pool. The descriptors of several processes say nothing of the limit of each."""
    many = Key("processes")
    levels = [54.0, 154.0, 304.0, *[349.0] * 9]
    opened = [100, 200, 300, 300, *[300] * 8]
    seen = [
        observation(
            index,
            {FDS: level, many: processes},
            phase=Phase.WARMUP if index < 1 else Phase.LOAD,
            ledger={
                "opened": streams,
                "answered": streams if index < 3 else 150,
                "unanswered": 150 * (index >= 3),
            },
        )
        for index, (level, streams) in enumerate(zip(levels, opened, strict=True))
    ]
    made = trial([], observations=seen)
    made = replace(made, target=replace(made.target, limits={"RLIMIT_NOFILE": 350.0}))
    made = replace(made, initial={FDS: 4.0, many: processes})
    one = assess_counts(made)[FDS]
    assert one.status == status, one.why
    if status == "leaking":
        assert one.rate == pytest.approx(0.5, rel=0.1)
        assert "RLIMIT_NOFILE (350) allowed no more" in one.why
