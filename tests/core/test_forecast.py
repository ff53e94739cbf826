"""Which ceiling is reached first: per process, per context or for all processes together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from harness.core.cycle import Phase
from harness.core.judge.forecast import first_full, first_limit, nearest, soonest
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.plan import Goal
from harness.core.record import Trial
from harness.core.sample import Census
from harness.core.verdict import Exhaustion, Finding, Rate
from harness.report.facts import facts_of
from tests.core.series import FDS, observation, play, trial

EVENTFD = Key("fds", "eventfd")


def of_workers(cycles: Sequence[Sequence[int | None]], *, limit: float = 1024) -> Trial:
    """A tree whose processes held so many descriptors at the end of each cycle, the first being the warm-up;
    what could not be counted is 100 of them for the sum."""
    seen = []
    for index, each in enumerate(cycles):
        whole = sum(100 if count is None else count for count in each)
        known = {str(pid): count for pid, count in enumerate(each, 100) if count is not None}
        census = Census(0.0, fds={"file": whole}, per_process=known if len(known) == len(each) else {})
        phase = Phase.LOAD if index else Phase.WARMUP
        seen.append(observation(index, {FDS: float(whole)}, phase=phase, census=census))
    made = trial([], observations=seen)
    return replace(made, target=replace(made.target, limits={"RLIMIT_NOFILE": limit}))


def exhausted(what: Trial, key: Key = FDS) -> Exhaustion:
    """The forecast beside the finding of ``key``."""
    (found,) = [one for one in judge(what).findings if Key(one.metric, one.kind) == key]
    assert found.exhausts is not None
    assert found.exhausts.after_connections is not None
    return found.exhausts


def test_workers_that_leak_alike_reach_the_limit_of_each_and_not_of_their_sum() -> None:
    ends = exhausted(of_workers([[10 + 75 * cycle] * 4 for cycle in range(5)]))
    # 300 connections a cycle, a quarter of them in each worker, which has 310 of 1,024.
    assert ends.after_connections == pytest.approx((1024 - 310) * 4, abs=0.1)
    assert ends.ceiling == "RLIMIT_NOFILE"
    # All cycles grew by the same, so the interval has no width: its ends are scaled like the rate.
    assert (ends.after_connections_low, ends.after_connections_high) == (2856.0, 2856.0)


def test_one_worker_that_leaks_among_clean_ones_has_the_whole_rate() -> None:
    ends = exhausted(of_workers([[10 + 150 * cycle, 40, 40, 40] for cycle in range(5)]))
    assert ends.after_connections == pytest.approx((1024 - 610) * 2, abs=0.1)


def test_a_full_parent_that_does_not_grow_is_not_the_one_that_is_full_first() -> None:
    ends = exhausted(of_workers([[500, *[10 + 30 * cycle] * 4] for cycle in range(5)]))
    # A worker takes every tenth connection's descriptor.
    assert ends.after_connections == pytest.approx((1024 - 130) * 10, abs=0.1)


def test_the_process_that_grows_fastest_may_be_full_before_the_fullest() -> None:
    ends = exhausted(of_workers([[500 + cycle, 10 + 74 * cycle] for cycle in range(5)]))
    assert ends.after_connections == pytest.approx((1024 - 306) / 74 * 300, abs=0.1)


def test_workers_that_are_replaced_make_the_forecast_early_and_never_late() -> None:
    what = of_workers([[10 + 75 * cycle] * 2 for cycle in range(5)])
    seen = [
        replace(
            one,
            census=replace(one.census, per_process={f"{one.spec.index}{pid}": n for pid, n in each.items()}),
        )
        for one in what.observations
        if one.census and (each := one.census.per_process)
    ]
    ends = exhausted(replace(what, observations=tuple(seen)))
    assert ends.after_connections == pytest.approx((1024 - 310) * 2, abs=0.1)


def test_a_worker_that_came_later_counts_from_when_it_was_first_seen() -> None:
    seen = of_workers([[10], [10], [10, 10], [20, 40]]).observations
    assert first_full(seen, 1024) == (40.0, 30 / 40)


def test_descriptors_that_further_processes_bring_fill_no_process() -> None:
    """A job per request that never ends, with eight of its own: 2,360 more do not exhaust RLIMIT_NOFILE."""
    seen = of_workers([[10], [10], [10, 8], [10, 8, 8], [10, 8, 8, 8]]).observations
    assert first_full(seen, 1024) == (10.0, 0.0)
    assert nearest("fds", 10.0, Rate(0.0, 0.0, 0.0, "fds/connection"), {"RLIMIT_NOFILE": 1024.0}) is None


def test_one_process_has_the_whole_growth() -> None:
    assert exhausted(of_workers([[10 + 300 * cycle] for cycle in range(4)])).after_connections == 1024 - 910


def test_with_a_process_that_could_not_be_counted_the_sum_stands_in() -> None:
    what = of_workers([[10 + 75 * cycle, 10 + 75 * cycle, None] for cycle in range(4)])
    assert first_full(what.observations, 1024) is None
    assert exhausted(what).after_connections == pytest.approx((1024 - 570) * 2, abs=0.1)


def test_the_warm_up_and_cycles_that_did_not_settle_are_no_part_of_the_share() -> None:
    seen = of_workers([[400, 10], [10, 10], [60, 60], [110, 110]]).observations
    assert first_full(seen, 1024) == (110.0, 0.5)
    assert first_full([*seen[:3], replace(seen[3], settled=False)], 1024) == (60.0, 0.5)
    assert first_full(seen[:2], 1024) is None


def zeromq(*, nofile: float, others: float = 0.0, ceiling: float | None = 1023.0) -> Trial:
    """A ZeroMQ socket left open per connection, its eventfd and its connection to the broker."""
    seen = []
    for index in range(4):
        sockets = 100.0 * index
        levels = {
            FDS: 20.0 + others + 2 * sockets,
            EVENTFD: 5.0 + sockets,
            Key("fds", "tcp-out:9797"): 1.0 + sockets,
            Key("fds", "file"): 14.0 + others,
        }
        seen.append(observation(index, levels, phase=Phase.LOAD if index else Phase.WARMUP, opened=100))
    made = trial([], observations=seen)
    limits = {"RLIMIT_NOFILE": nofile} | ({"ZMQ_MAX_SOCKETS": ceiling} if ceiling else {})
    return replace(made, target=replace(made.target, limits=limits))


def test_a_context_is_full_at_1023_sockets_however_many_descriptors_are_allowed() -> None:
    what = zeromq(nofile=65536)
    ends = exhausted(what, EVENTFD)
    assert (ends.ceiling, ends.limit) == ("ZMQ_MAX_SOCKETS", 1023)
    assert ends.after_connections == pytest.approx(1023 - 305, abs=0.1)
    (found,) = [one for one in judge(what).findings if one.kind == "eventfd"]
    assert "718 more connections exhaust ZMQ_MAX_SOCKETS (1,023)" in found.explanation
    # Its connection's descriptors are bounded by the process alone.
    assert exhausted(what, Key("fds", "tcp-out:9797")).ceiling == "RLIMIT_NOFILE"


def test_the_process_is_full_first_where_its_limit_is_nearer() -> None:
    ends = exhausted(zeromq(nofile=1024), EVENTFD)
    assert ends.ceiling == "RLIMIT_NOFILE"
    assert ends.after_connections == pytest.approx((1024 - 620) / 2, abs=0.1)


def test_without_libzmq_there_is_no_such_ceiling() -> None:
    assert exhausted(zeromq(nofile=65536, ceiling=None), EVENTFD).ceiling == "RLIMIT_NOFILE"


def test_a_context_per_connection_fills_no_context() -> None:
    seen = []
    for index in range(4):
        made = 100.0 * index
        levels = {
            FDS: 20.0 + 6 * made,
            EVENTFD: 5.0 + 4 * made,
            Key("fds", "eventpoll"): 1.0 + 2 * made,
            Key("threads"): 3.0 + 2 * made,
        }
        seen.append(observation(index, levels, phase=Phase.LOAD if index else Phase.WARMUP, opened=100))
    what = trial([], observations=seen)
    limits = {"RLIMIT_NOFILE": 65536.0, "ZMQ_MAX_SOCKETS": 1023.0}
    assert (
        exhausted(replace(what, target=replace(what.target, limits=limits)), EVENTFD).ceiling
        == "RLIMIT_NOFILE"
    )


@pytest.mark.parametrize("metric", ["threads", "processes"])
@pytest.mark.parametrize(("pids", "nproc", "ceiling"), [(100, 300, "pids.max"), (300, 100, "RLIMIT_NPROC")])
def test_the_nearest_of_several_ceilings_counts(metric: str, pids: float, nproc: float, ceiling: str) -> None:
    found = nearest(
        metric, 40.0, Rate(0.5, 0.25, 1.0, "x"), {"pids.max": pids, "RLIMIT_NPROC": nproc}, per_second=10.0
    )
    assert found == Exhaustion(ceiling, 100, 120.0, 12.0, 60.0, 240.0)


@pytest.mark.parametrize(
    ("metric", "ceiling"),
    [("fds", "RLIMIT_NOFILE"), ("mappings", "vm.max_map_count"), ("memory", "memory.max"), ("memory", "MemTotal"),
     ("memory/heap-bytes", "V8 heap_size_limit"), ("memory/heap-bytes", "JVM MaxHeapSize"),
     ("fds/eventfd", "ZMQ_MAX_SOCKETS")],
)  # fmt: skip
def test_every_bounded_metric_has_its_ceiling(metric: str, ceiling: str) -> None:
    found = nearest(metric, 40.0, Rate(1.0, 1.0, 1.0, "x"), {ceiling: 100.0, "another": 50.0})
    assert found is not None
    assert (found.ceiling, found.after_connections, found.after_seconds) == (ceiling, 60.0, None)


def test_no_growth_or_no_ceiling_means_no_forecast() -> None:
    limits = {"RLIMIT_NOFILE": 100.0}
    assert nearest("fds", 40.0, Rate(0.0, 0.0, 1.0, "x"), limits) is None
    assert nearest("fds", 40.0, Rate(-1.0, -2.0, 1.0, "x"), limits) is None
    assert nearest("tasks", 40.0, Rate(1.0, 1.0, 1.0, "x"), limits) is None
    assert nearest("fds", 40.0, Rate(1.0, 1.0, 1.0, "x"), {}) is None


def test_a_level_above_its_ceiling_has_no_room_and_an_open_interval_has_no_end() -> None:
    found = nearest("fds", 140.0, Rate(1.0, 1.0, 1.0, "x"), {"RLIMIT_NOFILE": 100.0})
    assert found is not None
    assert found.after_connections == 0.0
    open_end = nearest("fds", 40.0, Rate(1.0, 0.0, 2.0, "x"), {"RLIMIT_NOFILE": 100.0})
    assert open_end is not None
    assert (open_end.after_connections_low, open_end.after_connections_high) == (30.0, None)


def test_what_grows_over_time_reaches_its_limit_after_a_time_whatever_the_load() -> None:
    """One descriptor a second, with or without clients: more connections do not bring it any nearer."""
    played, _ = play(lambda did: {FDS: 10.0 + round(did.seconds)}, Goal(300, 50, 1.0, ("/",)), limit=40)
    what = replace(played, target=replace(played.target, limits={"RLIMIT_NOFILE": 20_000.0}))
    (found,) = judge(what).findings
    assert found.driver == "time"
    assert found.rate is not None
    ends = found.exhausts
    assert ends is not None
    assert (ends.after_connections, ends.after_connections_low, ends.after_connections_high) == (
        None,
        None,
        None,
    )
    last = what.observations[-1].levels[FDS]
    assert ends.after_seconds == pytest.approx((20_000 - last) / found.rate.value * 3600, rel=1e-3)
    assert "RLIMIT_NOFILE (20,000) is exhausted after about 5." in found.explanation
    assert "more connection" not in found.explanation
    shown = facts_of(replace(what, verdict=judge(what))).text()
    assert "RLIMIT_NOFILE (20,000) after about 5 h" in shown
    assert "whatever the load" in shown


def test_connections_are_counted_and_not_the_answered_streams_among_them() -> None:
    """Two descriptors for each request reset before its answer, which is a fifth of the connections."""
    seen = [
        observation(
            index, {FDS: 10.0 + 200 * index}, phase=Phase.LOAD if index else Phase.WARMUP, opened=500,
            ledger={"answered": 400, "by_mode": {"fin": 400, "rst-early": 100}, "aborts": 100},
        )
        for index in range(6)
    ]  # fmt: skip
    made = trial([], observations=seen)
    ends = exhausted(replace(made, target=replace(made.target, limits={"RLIMIT_NOFILE": 2010.0})))
    assert ends.after_connections == pytest.approx((2010 - 1010) / 0.4, abs=0.1)


def test_the_soonest_of_several_forecasts_is_found_by_time_and_else_by_connections() -> None:
    late, early = Exhaustion("a", 9.0, 10.0, 90.0), Exhaustion("b", 9.0, None, 60.0)
    assert soonest([None, late, early]) is early
    assert soonest([late, Exhaustion("c", 9.0, 5.0)]) == Exhaustion("c", 9.0, 5.0)
    assert soonest([None]) is None


HEAP, OBJECTS, MAPPINGS = Key("memory", "heap-bytes"), Key("memory", "objects"), Key("mappings")


def heap_that_grows(limits: Mapping[str, float]) -> Trial:
    """38 objects of 5,120 B per connection, and a mapping for every 50 connections: the heap's own growth."""
    seen = []
    for index in range(7):
        served = 1000.0 * index
        levels = {
            FDS: 20.0,
            OBJECTS: 40_000 + 38 * served,
            HEAP: 5e6 + 5120 * served,
            Key("memory", "anonymous"): 40e6 + 5120 * served,
            MAPPINGS: 300 + served / 50,
        }
        phase = Phase.LOAD if index else Phase.WARMUP
        seen.append(observation(index, levels, phase=phase, opened=1000))
    made = trial([], observations=seen)
    return replace(made, target=replace(made.target, limits={"vm.max_map_count": 65_530.0, **limits}))


def limit_line(what: Trial) -> str:
    facts = facts_of(replace(what, verdict=judge(what))).facts
    return next(one.text for one in facts if one.label == "limit")


def test_the_limit_of_a_heap_is_named_and_not_that_of_the_mappings_it_brings() -> None:
    what = heap_that_grows({"V8 heap_size_limit": 517e6, "MemTotal": 8e9})
    ends = exhausted(what, HEAP)
    assert ends.ceiling == "V8 heap_size_limit"
    assert ends.after_connections == pytest.approx((517e6 - 5e6) / 5120 - 6000, abs=1)
    assert limit_line(what).startswith("V8 heap_size_limit (517 MB) after 94,000 more connections")
    texts = {Key(one.metric, one.kind): one for one in judge(what).findings}
    assert "94000 more connections exhaust V8 heap_size_limit (517 MB)" in texts[HEAP].explanation
    assert MAPPINGS not in texts, "an allocator maps memory for what was retained"
    assert texts[OBJECTS].exhausts is None, "the ceilings of memory are in bytes"


def test_without_a_limit_of_the_heap_that_of_the_group_or_the_machine_is_named() -> None:
    assert limit_line(heap_that_grows({"MemTotal": 8e9})).startswith("MemTotal (8 GB) after 1,5")
    grouped = heap_that_grows({"MemTotal": 8e9, "memory.max": 512e6})
    assert limit_line(grouped).startswith("memory.max (512 MB) after 86,")


def test_without_any_limit_of_the_memory_no_later_limit_stands_in_for_it() -> None:
    """As in the record of an older version."""
    what = heap_that_grows({})
    assert limit_line(what) == "none known"
    assert not any("exhaust" in one.explanation for one in judge(what).findings)
    rate = Rate(1.0, 1.0, 1.0, "x")
    mapped = Finding("mappings", "", "leaking", "connection", rate, "", exhausts=Exhaustion("m", 9, 9))
    assert first_limit([mapped]) == mapped.exhausts, "mappings alone have their own limit"
