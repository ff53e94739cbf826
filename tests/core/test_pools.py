"""Pools and state per client: growth per burst or per client is distinguished from growth per stream."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.core.cycle import Phase
from harness.core.judge.assessed import Assessed
from harness.core.judge.caveat import caveat_of
from harness.core.judge.counts import assess_counts
from harness.core.judge.following import without_brought_mappings
from harness.core.judge.growth import assess
from harness.core.judge.moments import Series, moments
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.plan import Goal
from harness.core.record import Trial
from harness.core.verdict import Outcome
from tests.core.series import FDS, CycleSums, observation, play, trial

GOAL = Goal(300, 50, 2.0, ("/",), disconnect="mixed", max_seconds=120.0, memory=False)


@pytest.mark.parametrize(("each", "cap"), [(1, 200), (3, 200), (10, 200), (25, 200)])
def test_a_pool_that_gains_so_much_in_every_burst_is_bounded_within_two_minutes(each: int, cap: int) -> None:
    played, reason = play(lambda did: {FDS: 20.0 + min(cap, each * did.loads)}, GOAL)
    verdict = judge(played)
    assert verdict.outcome is Outcome.BOUNDED, (verdict.explain(), reason)
    assert played.ended <= 120.0
    if each <= 3:
        assert "with each burst of clients" in verdict.explanation
        bound = next(
            b.at_most for b in verdict.bounds if b.metric == "fds" and b.unit == "fds/answered-stream"
        )
        assert bound <= 1e-3


@pytest.mark.parametrize("per", [100, 300, 700])
def test_a_leak_beside_such_a_pool_is_no_pass(per: int) -> None:
    played, _ = play(
        lambda did: {FDS: 20.0 + min(200, 3 * did.loads) + did.connections // per}, GOAL, sensitivity=1e-3
    )
    assert judge(played).outcome is not Outcome.BOUNDED


def test_growth_over_time_is_no_pool() -> None:
    played, _ = play(lambda did: {FDS: 20.0 + int(did.seconds)}, GOAL)
    assert judge(played).outcome is not Outcome.BOUNDED


def test_a_pool_that_is_not_full_yet_states_when_it_is() -> None:
    played, _ = play(lambda did: {FDS: 20.0 + min(200, 7 * did.loads)}, replace(GOAL, max_seconds=30.0))
    assert judge(played).outcome is Outcome.INCONCLUSIVE
    caveat = caveat_of(played, assess_counts(played, moments(played)))
    assert caveat is not None
    assert "--max-time" in caveat.advice


def with_clients(played: Trial, known: int) -> Trial:
    """The same, by so many distinct clients that come in turn."""
    opened, observations = 0, []
    for one in played.observations:
        opened += one.ledger.opened
        levels = {FDS: 20.0 + min(known, opened)}
        observations.append(
            replace(one, levels=levels, ledger=replace(one.ledger, clients=min(known, opened)))
        )
    return replace(played, observations=tuple(observations))


def test_state_per_client_of_a_finite_number_is_bounded_and_that_of_new_clients_is_not() -> None:
    played, _ = play(lambda did: {FDS: 20.0}, GOAL)
    streams = sum(one.ledger.opened for one in played.observations)
    assert judge(with_clients(played, 1200)).outcome is Outcome.BOUNDED
    assert judge(with_clients(played, 2 * streams)).outcome is Outcome.LEAKING


def test_growth_per_invalid_request_is_distinguished_from_growth_per_connection() -> None:
    goal = replace(GOAL, invalid=0.2)
    played, _ = play(lambda did: {FDS: 20.0}, goal)
    invalid, observations = 0, []
    for index, one in enumerate(played.observations):
        share = 0.0 if index % 3 == 2 else 0.2
        now = int(share * one.ledger.opened)
        invalid += now
        ledger = replace(one.ledger, invalid=now)
        observations.append(replace(one, levels={FDS: 20.0 + invalid}, ledger=ledger))
    (finding,) = judge(replace(played, observations=tuple(observations))).findings
    assert finding.driver == "invalid-request"
    assert Key(finding.metric) == FDS


def test_resources_of_a_pools_threads_make_no_pool_of_another_kind() -> None:
    """Each burst adds eight threads, and each thread some objects: the pool is filled by short bursts all the same."""
    objects, threads = Key("memory", "objects"), Key("threads")

    def level(did: CycleSums) -> dict[Key, float]:
        held = min(120, 8 * did.loads)
        noise = 1000.0 * (did.cycle % 2)
        return {FDS: 20.0, threads: 30.0 + held, objects: 9e3 + 250.0 * held + noise}

    played, reason = play(level, GOAL)
    assert judge(played).outcome is Outcome.BOUNDED, (judge(played).explain(), reason)
    bursts = [o for o in played.observations if o.spec.phase is Phase.LOAD and o.spec.connections <= 50]
    assert len(bursts) >= 10


# Tomcat's embedded server on a busy machine, of which every thread brings a stack and a guard page: phase, connections
# so far, mappings, threads.
TOMCAT = (
    (Phase.WARMUP, 100, 307, 53), (Phase.WARMUP, 400, 331, 65), (Phase.LOAD, 700, 336, 68), (Phase.LOAD, 850, 338, 68),
    (Phase.IDLE, 850, 338, 68), (Phase.ATTRIBUTION, 900, 338, 68), (Phase.LOAD, 1334, 338, 68),
    (Phase.LOAD, 1739, 350, 74), (Phase.LOAD, 3757, 440, 119),
)  # fmt: skip


@pytest.mark.parametrize(("stacks", "outcome"), [(True, Outcome.INCONCLUSIVE), (False, Outcome.LEAKING)])
def test_stacks_of_a_filling_thread_pool_are_no_leak_of_mappings(stacks: bool, outcome: Outcome) -> None:
    """The mappings alone rose in proportion to the streams, and the pool of threads was undecided."""
    seen, before = [], 0
    for index, (phase, opened, mappings, threads) in enumerate(TOMCAT):
        levels = {
            FDS: 35.0,
            Key("mappings"): float(mappings),
            Key("threads"): float(threads if stacks else 53),
        }
        seen.append(observation(index, levels, phase=phase, opened=opened - before))
        before = opened
    last = seen[-1]
    at = last.ended
    for _ in range(8):
        quiet = observation(len(seen), last.levels, phase=Phase.RETENTION, opened=0, ledger={"opened": 0})
        seen.append(replace(quiet, started=at, load_ended=at, ended=at + 10.0))
        at += 10.0
    verdict = judge(trial([], observations=seen, retention=60.0))
    assert verdict.outcome is outcome, verdict.explain()


@pytest.mark.parametrize(
    ("left", "status"), [(1202.0, "undecided"), (2547.0, "undecided"), (2548.0, "leaking")]
)
def test_stacks_that_the_c_library_keeps_are_no_leak(left: float, status: str) -> None:
    """A healthy C service whose 849 threads of 64 kB ended up to 56 s late: 1.60 mappings per stream were a leak."""
    threads, mappings = Key("threads"), Key("mappings")
    levels = [(2.0, 28.0), (651.0, 1324.0), (851.0, 1724.0), (485.0, 1724.0), (2.0, 28.0 + left)]
    seen = [observation(n, {threads: many, mappings: mapped}) for n, (many, mapped) in enumerate(levels)]
    results = {
        threads: Assessed("bounded", 0.001, "released 56 s after the client disconnected"),
        mappings: Assessed("leaking", 1.6, "remained", left),
    }
    found = moments(trial([], observations=seen))
    assert without_brought_mappings(results, found)[mappings].status == status


@pytest.mark.parametrize(("cache", "status"), [("rose with its driver", "undecided"), ("", "leaking")])
def test_heap_mappings_for_a_cache_are_no_leak(cache: str, status: str) -> None:
    """Node maps 0.03 pages of its heap per connection, whether a listener or an entry of a cache stays."""
    mappings, objects = Key("mappings"), Key("memory", "objects")
    results = {
        mappings: Assessed("leaking", 1.0, "grew", 65.0, 3000.0, rate=0.03, low=0.03, high=0.04),
        objects: Assessed(
            "undecided", 1.0, "rose; a cache would too", 9e4, 3000.0, growing=True, cache=cache
        ),
    }
    assert without_brought_mappings(results, ())[mappings].status == status
    assert without_brought_mappings(results, ())[objects] == results[objects]


@pytest.mark.parametrize(("status", "mapped"), [("suspected", "undecided"), ("leaking", "leaking")])
def test_mappings_are_not_certain_before_the_objects_that_they_are_for(status: str, mapped: str) -> None:
    """The heap of a Node service could not be counted any more on a busy machine, and an allocator does not unmap."""
    mappings, objects = Key("mappings"), Key("memory", "objects")
    results = {
        mappings: Assessed("leaking", 1.0, "grew", 200.0, 6000.0, rate=0.03, low=0.03, high=0.04),
        objects: Assessed(status, 1.0, "rose", 1.6e5, 6000.0, rate=26.0, growing=True),
    }
    assert without_brought_mappings(results, ())[mappings].status == mapped


@pytest.mark.parametrize(
    ("metric", "peak", "status"),
    [("threads", 50, "undecided"), ("threads", 20, "leaking"), ("fds", 50, "leaking")],
)
def test_a_pool_of_threads_may_hold_twice_the_streams_open_at_once(
    metric: str, peak: int, status: str
) -> None:
    """A healthy Java server on a busy machine: the longer the load, the more threads were busy at once."""
    grown = (18, 2, 2, 0, 4, 0, 9, 0, 6, 0, 17, 0, 22)
    clients = (300, 300, 564, 50, 1085, 50, 2170, 50, 4340, 50, 8680, 50, 9000)
    levels = [55.0]
    for value in grown:
        levels.append(levels[-1] + value)
    spans = tuple({"connection": float(n), "answered": float(n), "time": 4.0, "reading": 1.0, "cycle": 1.0}
                  for n in clients)  # fmt: skip
    one = Series(Key(metric), tuple(levels[1:]), spans[1:], peak, ())
    assert assess(one, sensitivity=1e-3).status == status


@pytest.mark.parametrize(
    ("grown", "leaks"),
    [
        ((0, 4, 0, 0, 5, 0, 64), False),  # Tomcat, healthy: a fast burst of 1,950 streams
        ((4, 5, 6, 3, 5, 2, 8), False),  # Jetty, healthy: nearly the same in each burst
        ((5, 3, 1, 8, 6, 1, 37), True),  # a thread per 50 streams
    ],
)
def test_threads_of_a_pool_are_distinguished_from_a_slow_leak_by_the_largest_burst(
    grown: tuple[int, ...], leaks: bool
) -> None:
    sizes = (300, 150, 50, 487, 300, 50, 1950)
    level, levels = 63.0, [63.0]
    for more in grown:
        level += more
        levels.append(level)
    spans = tuple(
        {
            "connection": float(n),
            "answered": float(n),
            "event": float(n),
            "cycle": 1.0,
            "reading": 1.0,
            "time": 6.0,
        }
        for n in sizes
    )
    for key in (Key("threads"), Key("tasks", "java-thread")):
        found = assess(Series(key, tuple(levels), spans, peak=20), sensitivity=1e-3)
        assert (found.status == "leaking") is leaks, (key, found)


PROCESSES, MAPPINGS = Key("processes"), Key("mappings")
# php-fpm with two nginx workers: before the first client, after each load, and without clients. A worker has 314.
WORKERS = ((6.0, 1129.0), (7.0, 1443.0), (10.0, 2385.0), (7.0, 1443.0), (7.0, 1443.0))


@pytest.mark.parametrize(
    ("mapped", "workers", "status"),
    [
        (314.0, "undecided", "undecided"),
        (314.0, "bounded", "undecided"),
        (314.0, "leaking", "leaking"),  # the worker processes leak, and their mappings with them
        (450.0, "undecided", "leaking"),  # more than one worker has
    ],
)
def test_the_mappings_of_a_worker_process_that_a_pool_keeps_are_no_leak(
    mapped: float, workers: str, status: str
) -> None:
    """php-fpm kept one worker more than before the first client, and 1.28 mappings per stream were called a leak."""
    seen = [observation(n, {PROCESSES: many, MAPPINGS: level}) for n, (many, level) in enumerate(WORKERS[1:])]
    initial = {PROCESSES: WORKERS[0][0], MAPPINGS: WORKERS[0][1]}
    found = moments(replace(trial([], observations=seen), initial=initial))
    results = {
        PROCESSES: Assessed(workers, 1.0, "remained", 1.0),
        MAPPINGS: Assessed("leaking", 1.3, "remained", mapped),
    }
    assert without_brought_mappings(results, found)[MAPPINGS].status == status


def test_mappings_beside_a_constant_number_of_processes_are_a_leak() -> None:
    seen = [observation(n, {PROCESSES: 7.0, MAPPINGS: 1443.0 + 314.0 * n}) for n in range(4)]
    results = {
        PROCESSES: Assessed("bounded", 0.001, "no growth"),
        MAPPINGS: Assessed("leaking", 1.3, "grew", 314.0),
    }
    found = moments(trial([], observations=seen))
    assert without_brought_mappings(results, found)[MAPPINGS].status == "leaking"


@pytest.mark.parametrize(("workers", "status"), [(13, "undecided"), (5, "leaking")])
def test_descriptors_of_workers_that_remain_are_no_leak_after_one_wait(workers: int, status: str) -> None:
    """A pool of 5 to 80 Perl processes shrank to 13, each with the pipes of its siblings: 0.15 pipes per answered
    stream were called a leak after the one wait for which there was time. With as many processes as at the start, the
    pipes are not theirs."""
    pipes, processes, seen = Key("fds", "pipe"), Key("processes"), []
    many = ((100, 9, 15.0), (300, 12, 61.0), (300, 12, 107.0), (2800, 80, 3030.0))
    for index, (opened, running, held) in enumerate(many):
        levels = {FDS: 24.0 + held, pipes: 20 + held, processes: float(running)}
        seen.append(
            observation(index, levels, phase=Phase.WARMUP if index < 2 else Phase.LOAD, opened=opened)
        )
    for _ in range(30):
        levels = {FDS: 24.0 + 538, pipes: 20.0 + 538, processes: float(workers)}
        seen.append(observation(len(seen), levels, phase=Phase.RETENTION, opened=0))
    start = {FDS: 24.0, pipes: 20.0, processes: 5.0}
    made = replace(trial([], observations=seen, retention=60.0), initial=start)
    results = assess_counts(made)
    assert results[FDS].status == results[pipes].status == status, results[FDS].why
    assert (judge(made).outcome is Outcome.LEAKING) is (status == "leaking")
    assert ("with 8 more processes" in results[FDS].why) is (status == "undecided")
