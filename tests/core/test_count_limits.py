"""Each limit of the tests for counts, with a series just inside it and one just outside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from harness.core.cycle import Phase
from harness.core.judge import idle_work, one_count, retained, runtime_threads
from harness.core.judge.assessed import Allowed, Assessed
from harness.core.judge.moment import Moment
from harness.core.judge.moments import Series, moments
from harness.core.judge.retention import IdleEvidence
from harness.core.metric import Key
from harness.core.record import Trial
from tests.core.series import FDS, observation, trial

THREADS, CPU, HEAP = Key("threads"), Key("idle-cpu"), Key("memory", "heap-bytes")
MAPPINGS, OBJECTS, BLOCKS = Key("mappings"), Key("memory", "objects"), Key("memory", "blocks")
LEAKING, OPEN, PASS = "leaking", "undecided", "bounded"
STEP = "rose with its driver"


def series(key: Key, grown: Sequence[float], clients: Sequence[float], *, peak: int = 0) -> Series:
    """A count with the given growth and clients per cycle, in cycles of equal length."""
    levels = [1000.0]
    for value in grown:
        levels.append(levels[-1] + value)
    spans = tuple(
        {"connection": float(n), "answered": float(n), "time": 2.0, "reading": 1.0, "cycle": float(n > 0)}
        for n in clients
    )
    return Series(key, tuple(levels), spans, peak)


def run_by(runtime: str) -> Trial:
    one = trial([])
    return replace(one, target=replace(one.target, runtime=runtime))


def result_of(one: Series, sensitivity: float = 1e-3) -> Assessed:
    return one_count._tested(one, sensitivity, Allowed())


@pytest.mark.parametrize(("each", "status"), [(3, PASS), (4, PASS), (5, LEAKING), (6, LEAKING)])
def test_four_mappings_a_cycle_are_an_interpreters_own(each: int, status: str) -> None:
    """Cycles of 100 and 1,600 clients in turn; only the large ones add mappings."""
    one = series(MAPPINGS, [0, each] * 12, [100, 1600] * 12)
    assert result_of(one).status == status


@pytest.mark.parametrize("key", [OBJECTS, BLOCKS])
@pytest.mark.parametrize(("peak", "step"), [(27, True), (28, False)])
def test_a_stream_in_a_pool_holds_five_objects(key: Key, peak: int, step: bool) -> None:
    """275 in all; a pool may hold twice what the open streams do: 270 and 280."""
    clients = [25, 50, 25, 50, 125]
    assert (STEP in result_of(series(key, clients, clients, peak=peak)).why) is step


@pytest.mark.parametrize(
    ("runtime", "total", "found"),
    [
        ("go", 8, PASS), ("go", 9, OPEN), ("jvm", 16, PASS), ("jvm", 17, OPEN), ("node", 8, PASS), ("node", 9, OPEN),
        ("python", 1, OPEN), ("unknown", 1, OPEN),
    ],
)  # fmt: skip
def test_a_runtime_starts_so_many_threads_itself(runtime: str, total: float, found: str) -> None:
    one = Assessed(OPEN, math.inf, "", total=total, exposure=3000.0, growing=True)
    judged = runtime_threads.bound_runtime_threads(run_by(runtime), THREADS, one, rises=3, peak=50)
    assert judged.status == found
    assert judged.growing is (found == OPEN)
    assert runtime_threads.bound_runtime_threads(run_by(runtime), FDS, one, rises=3, peak=50) == one


@pytest.mark.parametrize(
    ("rises", "total", "found"), [(2, 50, PASS), (2, 51, OPEN), (1, 50, PASS), (3, 50, OPEN), (3, 8, PASS)]
)
def test_in_two_cycles_it_starts_one_for_each_open_stream(rises: int, total: float, found: str) -> None:
    one = Assessed(OPEN, math.inf, "", total=total, exposure=3000.0)
    assert runtime_threads.bound_runtime_threads(run_by("go"), THREADS, one, rises, 50).status == found


@pytest.mark.parametrize(("answered", "found"), [(2999, OPEN), (3000, PASS)])
def test_its_threads_pass_after_as_many_streams_as_any_pass_takes(answered: float, found: str) -> None:
    one = Assessed(OPEN, math.inf, "", total=5, exposure=answered)
    assert runtime_threads.bound_runtime_threads(run_by("go"), THREADS, one, 3, 50).status == found


@pytest.mark.parametrize(("served", "status"), [(4095, OPEN), (4096, LEAKING), (4200, LEAKING)])
def test_a_cache_may_hold_4096_entries(served: int, status: str) -> None:
    clients = [served / 32, served / 16] * 11
    clients[-1] += served - sum(clients)
    one = one_count.assess_one(series(OBJECTS, clients, clients, peak=1), 1e-3, Allowed())
    assert one.status == status
    assert bool(one.cache) is (status == OPEN)
    assert ("a cache also grows" in one.why) is (status == OPEN)


@pytest.mark.parametrize(("last", "status"), [(0.79, OPEN), (0.81, LEAKING)])
def test_a_cache_that_has_filled_adds_less_than_four_fifths_at_the_end(last: float, status: str) -> None:
    clients = [200.0, 400.0] * 8
    grown = [*clients[:-1], round(400 * last)]
    one = one_count.assess_one(series(OBJECTS, grown, clients, peak=1), 1e-3, Allowed())
    assert (one.status, bool(one.cache)) == (status, status == OPEN)
    assert ("by less at the end" in one.why) is (status == OPEN)


@pytest.mark.parametrize(("each", "cache"), [(0.49, False), (0.51, True)])
def test_an_entry_of_a_cache_is_at_least_half_an_object(each: float, cache: bool) -> None:
    clients = [200.0, 400.0] * 6
    one = one_count.assess_one(series(OBJECTS, [each * n for n in clients], clients, peak=1), 1e-3, Allowed())
    assert (one.status, bool(one.cache)) == (OPEN, cache)


@pytest.mark.parametrize(("cores", "status"), [(0.049, OPEN), (0.05, LEAKING)])
@pytest.mark.parametrize("growing", [True, False])
def test_work_for_what_is_held_is_a_twentieth_of_a_core(cores: float, status: str, growing: bool) -> None:
    cached = Assessed(OPEN, 1.0, "grew; a cache would too", total=900, rate=1.0, growing=True, cache=True)
    cpu = Assessed(OPEN if growing else LEAKING, 1.0, "", total=cores, growing=growing)
    found = idle_work.rule_out_cache({OBJECTS: cached, CPU: cpu})
    assert found[OBJECTS].status == status
    assert found[CPU] == cpu
    still = idle_work.rule_out_cache({OBJECTS: cached, CPU: replace(cpu, status=PASS, growing=False)})
    assert still[OBJECTS] == cached
    assert idle_work.rule_out_cache({OBJECTS: replace(cached, cache=False), CPU: cpu})[OBJECTS].status == OPEN
    assert idle_work.rule_out_cache({OBJECTS: replace(cached, rate=0.0), CPU: cpu})[OBJECTS].status == OPEN


@pytest.mark.parametrize(
    ("streams", "held", "unnoticed"), [(50, 2, False), (50, 3, True), (1000, 20, False), (1000, 21, True)]
)
def test_departures_are_unnoticed_from_two_sockets_or_two_in_a_hundred(
    streams: float, held: float, unnoticed: bool
) -> None:
    waits = Key("fds", "close-wait")
    found = [
        Moment(Phase.LOAD, {FDS: 9.0, waits: 5.0}, {}, 5, 0, 0),
        Moment(Phase.LOAD, {FDS: 9.0, waits: 5.0 + held}, {"answered": streams}, 5, 0, 0),
    ]
    assert retained._departures_unnoticed(found) is unnoticed


FIRM = Assessed(LEAKING, 1.0, "grew in step", total=50.0, exposure=3000.0, rate=1.0, low=0.9, high=1.1)


@pytest.mark.parametrize(
    ("one", "seen", "status"),
    [
        # Growth with the streams: older than the retention time and a second, and a release would have been seen.
        (FIRM, IdleEvidence(61.0, 0.0, 10.0, 0.0), LEAKING),
        (FIRM, IdleEvidence(60.9, 0.0, 10.0, 0.0), "suspected"),
        (FIRM, IdleEvidence(61.0, 0.0, 7.0, 0.0), LEAKING),
        (FIRM, IdleEvidence(61.0, 0.0, 6.9, 0.0), "suspected"),
        (FIRM, IdleEvidence(61.0, 3.0, 10.0, 0.0), LEAKING),
        (FIRM, IdleEvidence(61.0, 3.1, 10.0, 0.0), "suspected"),
        # Small growth: the release of nine tenths of it must have been observable.
        (replace(FIRM, total=5.0), IdleEvidence(61.0, 0.0, 4.5, 0.0), LEAKING),
        (replace(FIRM, total=5.0), IdleEvidence(61.0, 0.0, 4.4, 0.0), "suspected"),
        # A large one: a tenth.
        (replace(FIRM, total=200.0), IdleEvidence(61.0, 0.0, 20.0, 0.0), LEAKING),
        (replace(FIRM, total=200.0), IdleEvidence(61.0, 0.0, 19.9, 0.0), "suspected"),
        # Two for each stream come in batches of two.
        (replace(FIRM, rate=2.0), IdleEvidence(61.0, 0.0, 14.0, 0.0), LEAKING),
        (replace(FIRM, rate=2.0), IdleEvidence(61.0, 0.0, 13.9, 0.0), "suspected"),
        # Growth over time must continue for a quarter longer.
        (replace(FIRM, factor="time"), IdleEvidence(75.0, 0.0, 0.0, 0.0), LEAKING),
        (replace(FIRM, factor="time"), IdleEvidence(74.9, 0.0, 0.0, 0.0), "suspected"),
        # A cleanup has freed half as much at once.
        (FIRM, IdleEvidence(61.0, 0.0, 10.0, 0.0, swept=24.9), LEAKING),
        (FIRM, IdleEvidence(61.0, 0.0, 10.0, 0.0, swept=25.0), OPEN),
    ],
)
def test_growth_is_retained_once_no_release_can_have_been_missed(
    one: Assessed, seen: IdleEvidence, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retained, "idle_evidence", lambda *_, **__: seen)
    judged = retained.retained(
        replace(trial([]), retention=60.0), [Moment(Phase.LOAD, {FDS: 1.0}, {}, 5, 0, 0)], FDS, one
    )
    assert judged.status == status
    assert judged.growing is (status != LEAKING)


@pytest.mark.parametrize(("age", "status"), [(73.0, LEAKING), (72.9, "suspected")])
def test_a_service_that_misses_departures_has_twelve_seconds_more(
    age: float, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retained, "idle_evidence", lambda *_, **__: IdleEvidence(age, 0.0, 10.0, 0.0))
    waits = Key("fds", "close-wait")
    found = [Moment(Phase.LOAD, {FDS: 9.0, waits: held}, {}, 5, 0, 0) for held in (0.0, 9.0)]
    assert retained.retained(replace(trial([]), retention=60.0), found, FDS, FIRM).status == status


@pytest.mark.parametrize(
    ("key", "least"),
    [
        (FDS, 16.0),
        (THREADS, 16.0),
        (OBJECTS, 200.0),
        (BLOCKS, 200.0),
        (HEAP, 1048576.0),
        (CPU, 0.05),
        (MAPPINGS, 64.0),
    ],
)
@pytest.mark.parametrize(("share", "released"), [(1.0, True), (0.99, False)])
def test_a_fall_without_clients_is_a_release_from_its_least_size(
    key: Key, least: float, share: float, released: bool
) -> None:
    """Ten cycles, and then one without clients in which it falls."""
    base, high = (0.01, 0.01 + 2 * least) if key == CPU else (1000.0, 1000.0 + 2 * least)
    seen = [observation(n, {FDS: 5.0, key: base + n / 9 * (high - base)}) for n in range(10)]
    seen += [
        observation(
            n, {FDS: 5.0, key: high - share * least - (1e-9 if share == 1.0 else 0.0)}, phase=Phase.IDLE
        )
        for n in range(10, 14)
    ]
    whole = replace(trial([], observations=seen, retention=6.0), initial={key: base})
    one = Assessed(OPEN, 1.0, "", total=2 * least, exposure=3000.0, growing=True)
    judged = retained.retained(whole, moments(whole), key, one)
    assert (judged.idle_evidence is not None) is released


@pytest.mark.parametrize(("sixth", "growing"), [(3300, True), (3100, False)])
def test_objects_that_grew_in_the_last_half_of_the_streams_are_no_pass(sixth: int, growing: bool) -> None:
    """The noise of a JVM hides what 4,096 streams leave: 4,800 of 12,000 left nothing, and half of them 3,000."""
    grown = [-3600, -1600, -3100, 3000, 1300, sixth, 550, -950, 200]
    one = one_count.assess_one(series(OBJECTS, grown, [1200] * 6 + [1500, 1500, 1800]), 1e-3, Allowed())
    assert (one.status, one.growing) == (OPEN, growing)
