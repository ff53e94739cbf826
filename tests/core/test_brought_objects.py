"""Objects that come with the threads of a filling pool are no leak of their own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from harness.core.judge.assessed import Assessed
from harness.core.judge.following import without_brought_objects, without_pooled_objects
from harness.core.judge.moments import moments
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.plan import Goal
from harness.core.verdict import Outcome
from tests.core.series import FDS, OBJECTS, CycleSums, observation, play, trial

THREADS = Key("tasks", "java-thread")
FILLED = (60.0, 61.0, 61.0, 64.0, 65.0, 68.0)
BROUGHT = (26_736.0, 26_762.0, 26_774.0, 26_846.0, 26_868.0, 26_944.0)  # of a healthy Java server


def judged(threads: Sequence[float], objects: Sequence[float], status: str = "bounded") -> Assessed:
    """The result for objects that were called a leak."""
    read = [{THREADS: count, OBJECTS: amount} for count, amount in zip(threads, objects, strict=True)]
    found = moments(trial([], observations=[observation(n, each) for n, each in enumerate(read)]))
    total = objects[-1] - objects[0]
    results = {
        THREADS: Assessed(status, 0.0, "grew", threads[-1] - threads[0]),
        OBJECTS: Assessed("leaking", 0.03, "grew over 20 cycles in proportion", total),
    }
    return without_brought_objects(results, found)[OBJECTS]


@pytest.mark.parametrize("status", ["bounded", "undecided", "suspected"])
def test_objects_of_the_threads_that_came_are_no_leak(status: str) -> None:
    one = judged(FILLED, BROUGHT, status)
    assert (one.status, one.growing) == ("undecided", False)
    assert one.why.endswith("those of the 8 threads that came")


@pytest.mark.parametrize(
    ("threads", "objects", "status"),
    [
        (FILLED, BROUGHT, "leaking"),  # the threads leak themselves, and their objects with them
        ([60.0] * 6, BROUGHT, "bounded"),  # no thread came
        (
            FILLED,
            [amount + 2000.0 * n for n, amount in enumerate(BROUGHT)],
            "bounded",
        ),  # far more than threads hold
        ([60.0, 60.0, 60.0, 60.0, 60.0, 68.0], BROUGHT, "bounded"),  # most objects came without a thread
    ],
)
def test_other_objects_stay_a_leak(threads: Sequence[float], objects: Sequence[float], status: str) -> None:
    assert judged(threads, objects, status).status == "leaking"


@pytest.mark.parametrize(
    ("apart", "status"),
    [
        ((15.0,) * 4, "leaking"),
        ((13.0,) * 4, "undecided"),
        ((30.0, 30.0, 0.0, 0.0), "undecided"),
        ((15.0, 15.0, 15.0, -40.0), "undecided"),
    ],
)
def test_streams_explain_objects_that_also_come_without_a_thread(apart: Sequence[float], status: str) -> None:
    """A Java server that kept 30 objects for each stream was inconclusive, as most loads brought threads as well."""
    read, threads, objects = [{THREADS: 100.0, OBJECTS: 50_000.0}], 100.0, 50_000.0
    sizes = [(300, 200.0, 30.0), (2000, 900.0, 30.0)] * 4
    for index, (streams, came, each) in enumerate(sizes):
        few = index % 2 == 0
        threads += 0.0 if few else came
        objects += streams * (apart[index // 2] if few else each)
        read.append({THREADS: threads, OBJECTS: objects})
    clients = [300, *(streams for streams, _, _ in sizes)]
    seen = [
        observation(n, each, opened=clients[n], ledger={"answered": clients[n]})
        for n, each in enumerate(read)
    ]
    total = objects - 50_000.0
    results = {
        THREADS: Assessed("undecided", 0.0, "grew", threads - 100.0),
        OBJECTS: Assessed("leaking", 30.0, "rose with its driver", total, math.fsum(clients[1:]), rate=30.0),
    }
    one = without_brought_objects(results, moments(trial([], observations=seen)))[OBJECTS]
    assert one.status == status


@pytest.mark.parametrize(
    ("pool", "total", "status"),
    [
        ("bounded", 640.0, "undecided"),
        ("undecided", 640.0, "undecided"),
        ("bounded", 641.0, "leaking"),  # more than 80 descriptors hold
        ("leaking", 640.0, "leaking"),  # the descriptors leak, and their objects with them
        ("suspected", 640.0, "leaking"),
    ],
)
def test_objects_that_a_pool_of_descriptors_could_hold_get_more_streams(
    pool: str, total: float, status: str
) -> None:
    """A Go server opened 80 files for its pool, and counted 257 objects more, in 17 cycles."""
    results = {
        FDS: Assessed(pool, 0.0, "grew", 80.0),
        OBJECTS: Assessed("leaking", 0.1, "grew over 17 cycles in proportion", total),
    }
    one = without_pooled_objects(results)[OBJECTS]
    assert one.status == status
    assert one.growing is (status == "undecided")


def test_objects_that_grow_over_time_are_not_those_of_a_pool() -> None:
    one = Assessed("leaking", 0.1, "rose", 100.0, factor="time")
    results = {FDS: Assessed("bounded", 0.0, "grew", 80.0), OBJECTS: one}
    assert without_pooled_objects(results)[OBJECTS] is one


def tomcat(did: CycleSums, leak: float) -> dict[Key, float]:
    """A server whose threads come in the first cycles, with 430 objects each, as its processors and buffers do."""
    threads = 60.0 + min(140.0, 35.0 * max(0, did.loads - 2))
    return {FDS: 86.0, THREADS: threads, OBJECTS: 1e5 + 430.0 * threads + leak * did.connections}


GOAL = Goal(300, 50, 2.0, ("/",), disconnect="mixed", max_seconds=120.0, memory=False)


BETWEEN = pytest.mark.soak(reason="a tenth of a second of a core for a case between two others")


@pytest.mark.parametrize("leak", [0.6, pytest.param(1.0, marks=BETWEEN), 2.0])
def test_a_leak_beside_a_pool_of_threads_that_filled_is_seen(leak: float) -> None:
    """The threads had come with 60,000 objects, so that one or two more for each of 9,600 streams passed as noise."""
    verdict = judge(play(lambda did: tomcat(did, leak), GOAL)[0])
    assert verdict.outcome is Outcome.LEAKING, verdict.explain()
    assert verdict.findings[0].rate is not None
    assert verdict.findings[0].rate.value == pytest.approx(leak, rel=0.05)


def test_objects_that_still_grow_steeply_keep_a_run_from_passing() -> None:
    """Two cycles at the end are too few for a leak, and 4,400 objects too many for a pass."""

    def level(did: CycleSums) -> dict[Key, float]:
        late = 0.5 * max(0, did.connections - 5000)
        return {**tomcat(did, 0.0), OBJECTS: tomcat(did, 0.0)[OBJECTS] + late}

    assert judge(play(level, GOAL)[0]).outcome is not Outcome.BOUNDED


def test_a_pool_of_threads_that_filled_is_no_leak() -> None:
    verdict = judge(play(lambda did: tomcat(did, 0.0), GOAL)[0])
    assert verdict.outcome is Outcome.BOUNDED, verdict.explain()
