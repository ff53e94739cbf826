"""Growth that remains after a late release: none, a warm-up, or a leak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from harness.core.cycle import Phase
from harness.core.judge.counts import assess_counts
from harness.core.judge.following import followed
from harness.core.judge.moments import moments
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.record import Trial
from harness.core.verdict import Outcome
from tests.core.series import FDS, observation, trial

HEAP, MPTCP, CLOSE_WAIT = Key("memory", "heap-bytes"), Key("fds", "mptcp"), Key("fds", "close-wait")
QUIET = 4  # readings without clients after each load


def released(
    loads: Sequence[tuple[int, Mapping[Key, float]]], rests: Sequence[Mapping[Key, float]], quiet: int = QUIET
) -> Trial:
    """Loads of so many streams with the levels after them; and after the last one the levels of ``rests``, each
    read ``quiet`` times, 3 s apart."""
    first = dict.fromkeys(loads[0][1], 10.0) | {HEAP: 4e6}
    seen = [
        observation(index, levels, phase=Phase.WARMUP if index < 2 else Phase.LOAD, opened=streams)
        for index, (streams, levels) in enumerate(loads)
    ]
    for levels in rests:
        seen += [observation(len(seen) + again, levels, phase=Phase.IDLE, opened=0) for again in range(quiet)]
    return replace(trial([], observations=seen, retention=60.0), initial=first)


def rising(heap: float, left: float) -> Trial:
    """3,000 streams hold a descriptor and so many bytes each for some seconds; afterwards ``left`` bytes a stream
    are still there."""
    loads, streams = [], 0
    for opened in (300, 300, 600, 600, 1200):
        streams += opened
        loads.append((opened, {FDS: 10.0 + streams, HEAP: 4e6 + heap * streams}))
    return released(loads, [{FDS: 10.0, HEAP: 4e6 + left * streams}], quiet=25)


@pytest.mark.parametrize(("left", "outcome"), [(60.0, Outcome.BOUNDED), (170.0, Outcome.BOUNDED)])
def test_the_warm_up_of_a_heap_is_not_retained_memory(left: float, outcome: Outcome) -> None:
    assert judge(rising(1000.0, left)).outcome is outcome


def test_the_bound_of_memory_in_step_with_its_cause_is_three_of_its_units() -> None:
    """A Node service with 35 s between departure and close had at most 0.001 B of heap per stream, of 10 kB each."""
    one = rising(10_000.0, 0.0)
    found, results = moments(one), assess_counts(one)
    late = replace(results[HEAP], status="undecided", growing=True)
    assert results[FDS].status == "bounded"
    assert late.release
    heap = followed(found, {**results, HEAP: late}, {"heap-bytes": 4096.0})[HEAP]
    assert heap.status == "bounded"
    assert heap.at_most == pytest.approx(3 * 10_000.0 / 2700, rel=0.2)


def test_retained_bytes_are_no_pass() -> None:
    assert judge(rising(3000.0, 1500.0)).outcome is not Outcome.BOUNDED


def test_a_second_release_ends_at_the_level_after_the_first() -> None:
    warmed = 4e6 + 400_000
    loads = [
        (n, {FDS: 10.0 + held, HEAP: 4e6 + 1500.0 * held})
        for n, held in ((300, 300), (300, 600), (2400, 3000))
    ]
    one = released(loads, [{FDS: 10.0, HEAP: warmed}], quiet=25)
    again = [
        observation(len(one.observations), {FDS: 3010.0, HEAP: warmed + 3e6}, opened=3000),
        *(
            observation(
                len(one.observations) + k, {FDS: 10.0, HEAP: warmed + 2000}, phase=Phase.IDLE, opened=0
            )
            for k in range(1, 5)
        ),
    ]
    both = replace(one, observations=(*one.observations, *again))
    heap = assess_counts(both)[HEAP]
    assert heap.status == "bounded"
    assert heap.at_most == pytest.approx((3 * 4096 + 2000) / 3000, rel=0.1)  # not the 130 of the warm-up
    assert judge(both).outcome is Outcome.BOUNDED


def test_sockets_that_pass_from_one_state_to_another_are_covered_by_their_total() -> None:
    """Those of departed clients: they wait, then they are half closed, then they are gone."""
    loads = [
        (n, {FDS: 10.0 + held, CLOSE_WAIT: float(held), MPTCP: 0.0})
        for n, held in ((300, 300), (300, 600), (2400, 3000))
    ]
    rests = [
        {FDS: 3010.0, CLOSE_WAIT: 500.0, MPTCP: 2500.0},
        {FDS: 10.0, CLOSE_WAIT: 0.0, MPTCP: 0.0},
    ]
    one = released(loads, rests, quiet=12)
    assert assess_counts(one)[MPTCP].status == "bounded"
    assert judge(one).outcome is Outcome.BOUNDED


def explanation_of_two_loads(
    *, sweep: bool, own: bool = False, last: float = 600.0, after: float = 10, answered: int = 600
) -> str:
    """Two loads of 1 s, 4 s apart: each stream waits ``after`` seconds for itself, or a sweep takes both at 20 s.
    own: a descriptor comes and goes at each reading, as the connection of the harness to a runtime does. last:
    descriptors that the 600 streams of the second load leave. answered: streams of the first that were."""

    def level(at: float) -> float:
        def ended(start: float, until: float) -> float:
            return (600.0 if start == 3.0 else last) * min(1.0, max(0.0, until - start))

        gone = (
            (600.0 + last if at >= 20.0 else 0.0)
            if sweep
            else ended(3.0, at - after) + ended(7.0, at - after)
        )
        return 10.0 + ended(3.0, at) + ended(7.0, at) - gone

    seen = []
    for index, (start, phase) in enumerate([(3.0, Phase.LOAD), (7.0, Phase.LOAD)]):
        counts = {"answered": 600 if index else answered}
        one = observation(index, {FDS: level(start + 2)}, phase=phase, opened=600, ledger=counts)
        seen.append(replace(one, started=start, load_ended=start + 1, ended=start + 2))
    for index in range(2, 60):
        start = 9.0 + (index - 2) * 1.2
        rows = tuple(
            (start + tick / 10, level(start + tick / 10) + (own and 8 <= tick < 10), 5.0)
            for tick in range(12)
        )
        one = observation(index, {FDS: level(start + 1.1)}, phase=Phase.IDLE, opened=0, idle_counts=rows)
        seen.append(replace(one, started=start, load_ended=start, ended=start + 1.1))
    whole = replace(trial([], observations=seen, retention=60.0), initial={FDS: 10.0})
    release = assess_counts(whole)[FDS].idle_evidence
    assert release is not None
    assert release.release is not None
    return release.release.text()


def test_a_release_and_a_sweep_differ_in_what_falls_together() -> None:
    assert explanation_of_two_loads(sweep=False) == "released 10 s after the client disconnected"
    assert "a sweep" in explanation_of_two_loads(sweep=True)


@pytest.mark.parametrize("after", [10, 30])
def test_a_sweep_is_one_also_where_early_streams_left_more(after: int) -> None:
    """Go, swept every 45 s: a reset left a descriptor too, so early loads left more for each answered stream. It was
    "released 24 s after the client disconnected"."""
    assert "a sweep" in explanation_of_two_loads(sweep=True, last=900.0, answered=300)
    said = explanation_of_two_loads(sweep=False, last=900.0, answered=300, after=after)
    assert said == f"released {after} s after the client disconnected"


def test_the_connection_of_the_harness_to_a_runtime_is_not_released() -> None:
    """It made releases of 7 and 25 s look 12 to 20 % later than they were."""
    assert explanation_of_two_loads(sweep=False, own=True) == "released 10 s after the client disconnected"
    assert explanation_of_two_loads(sweep=True, own=True) == explanation_of_two_loads(sweep=True)


def test_a_pass_reports_the_late_release() -> None:
    assert "fds released" in judge(rising(1000.0, 0.0)).explanation


def test_a_small_load_at_the_end_is_not_reported_as_released() -> None:
    """5 % of what the first loads held is all that the last one holds."""
    one = rising(8000.0, 100.0)
    base = one.observations[-1].levels[HEAP]
    late = [
        observation(len(one.observations), {FDS: 110.0, HEAP: base + 800_000}, opened=100),
        *(
            observation(
                len(one.observations) + k, {FDS: 110.0, HEAP: base + 800_000}, phase=Phase.IDLE, opened=0
            )
            for k in range(1, 3)
        ),
    ]
    heap = assess_counts(replace(one, observations=(*one.observations, *late)))[HEAP]
    assert heap.total == pytest.approx(100.0 * 3000)  # as after the first release


def test_growth_of_two_loads_beside_a_release_is_a_leak() -> None:
    """One stream in 20 leaves a descriptor for good; the others hold one for a few seconds. The second wait is shorter
    than the retention time, and longer than the release that the first one saw."""
    loads, streams = [], 0
    for opened in (300, 300, 600, 600, 1200):
        streams += opened
        loads.append((opened, {FDS: 10.0 + streams}))
    one = released(loads, [{FDS: 10.0 + streams}, {FDS: 160.0}], quiet=25)
    again = [
        observation(len(one.observations), {FDS: 3410.0}, opened=3400),
        *(
            observation(len(one.observations) + k, {FDS: 330.0}, phase=Phase.IDLE, opened=0)
            for k in range(1, 50)
        ),
    ]
    both = replace(one, observations=(*one.observations, *again))
    found = assess_counts(both)[FDS]
    assert found.status == "leaking"
    assert found.rate == pytest.approx(0.05)
    [finding] = judge(both).findings
    assert finding.released.startswith("the rest was released within "), (
        "a field of its own, for the terminal"
    )


def companions_of(tested: int, searched: bool) -> Trial:
    """A file and five objects per five streams, and after the loads so many waits; then allocations are traced."""
    files, objects = Key("fds", "device"), Key("memory", "objects")
    seen, streams = [], 0
    for index, opened in enumerate((300, 300, 300, 150, 50, 500, 360, 2000)):
        streams += opened
        levels = {FDS: 10.0 + streams // 5, files: float(streams // 5), objects: 9000.0 + 4 * (streams // 5)}
        phase = Phase.WARMUP if index < 2 else Phase.LOAD
        seen.append(observation(index, levels, phase=phase, opened=opened))
    for again in range(tested):
        seen.append(observation(len(seen) + again, levels, phase=Phase.RETENTION, opened=0))
    if searched:
        more = {**levels, FDS: levels[FDS] + 40, files: levels[files] + 40}
        seen.append(observation(len(seen), more, phase=Phase.SEARCH, opened=200))
    return replace(
        trial([], observations=seen, retention=60.0), initial={FDS: 10.0, files: 0.0, objects: 9000.0}
    )


@pytest.mark.parametrize("tested", range(3, 30, 2))
def test_a_part_of_a_leak_is_no_surer_than_the_leak(tested: int) -> None:
    results = assess_counts(companions_of(tested, searched=False))
    if results[Key("memory", "objects")].status == "leaking":
        assert results[Key("fds", "device")].status == "leaking"


def test_objects_in_step_with_descriptors_are_found_although_a_search_followed() -> None:
    results = assess_counts(companions_of(25, searched=True))
    assert results[FDS].status == "leaking"
    assert results[Key("memory", "objects")].status == "leaking"


def worked(after: Sequence[float]) -> Trial:
    """Idle CPU that rises by 1 % of a core per 1,000 streams, and scatters while no client comes."""
    cpu, streams, seen = Key("idle-cpu"), 0, []
    for index, opened in enumerate((300, 300, 300, 300, 600, 1200, 50, 2400)):
        streams += opened
        phase = Phase.WARMUP if index < 2 else Phase.LOAD
        level = 0.012 + 1e-5 * streams + 0.001 * (-1) ** index
        seen.append(observation(index, {FDS: 10.0, cpu: level}, phase=phase, opened=opened))
    top = 0.012 + 1e-5 * streams
    for again in after:
        levels = {FDS: 10.0, cpu: top * again}
        seen.append(observation(len(seen), levels, phase=Phase.RETENTION, opened=0))
    return replace(trial([], observations=seen, retention=60.0), initial={FDS: 10.0, cpu: 0.012})


def test_idle_cpu_that_scatters_is_no_release() -> None:
    scattered = worked([0.9, 1.0, 0.92, 1.02, 0.93, 1.04, 0.92, 1.03, 0.91, 1.05, 0.92, 1.02, 0.93] * 3)
    one = assess_counts(scattered)[Key("idle-cpu")]
    assert one.idle_evidence is None or one.release is None, one
    released = worked([0.8, 0.6, 0.45, 0.3, 0.2, 0.2, 0.21, 0.2] * 4)
    one = assess_counts(released)[Key("idle-cpu")]
    assert one.status != "leaking"


def test_many_objects_of_too_few_streams_could_be_a_cache_and_are_never_called_a_pool() -> None:
    """aiohttp sessions that are retained, whose connections time out after 15 s: 70,849 objects are no pool."""
    objects = Key("memory", "objects")
    loads, streams = [], 0
    for opened in (300, 300, 600, 600):
        streams += opened
        loads.append((opened, {FDS: 10.0 + streams, objects: 9000.0 + 60 * streams}))
    held = loads[-1][1]
    one = released(loads, [held, {FDS: 10.0, objects: 9000.0 + 25 * streams}], quiet=60)
    found = assess_counts(replace(one, initial={FDS: 10.0, objects: 9000.0}))[objects]
    assert found.status == "undecided"
    assert (
        f"a cache also grows until it is full: only 4,096 answered streams rule one out, and there were {streams:,}"
        in found.why
    )
    assert "pool" not in found.why


@pytest.mark.parametrize(("phase", "released_late"), [(Phase.SEARCH, False), (Phase.LOAD, True)])
def test_work_that_a_traced_service_finishes_late_is_no_late_release(
    phase: Phase, released_late: bool
) -> None:
    """It answered none of 200 clients, and closed their sockets seven seconds later. The plan then held every load back
    for a whole wait, and a leak of timers was undecided."""
    levels = [8.0, 8.0, 8.0, 8.0, 208.0, *[8.0] * 4]
    phases = [Phase.WARMUP] * 2 + [Phase.LOAD] * 2 + [phase] + [Phase.RETENTION] * 4
    seen = [
        observation(index, {FDS: level}, phase=now, opened=0 if now is Phase.RETENTION else 300)
        for index, (level, now) in enumerate(zip(levels, phases, strict=True))
    ]
    one = assess_counts(replace(trial([], observations=seen, retention=60.0), initial={FDS: 8.0}))[FDS]
    assert bool(one.release) is released_late


# The idle CPU of a C service that scanned a list of all its clients: the last load was read high by chance.
ROSTER = (
    *(0.491, 0.413, 0.436, 0.435, 0.457, 0.381, 0.491, 0.4, 0.427),
    *(0.485, 0.389, 0.507, 0.44, 0.393, 0.413, 0.351, 0.336),
)


@pytest.mark.parametrize(
    ("readings", "released_late"), [(ROSTER, False), ((0.49, *[0.43] * 6, *[0.1] * 6), True)]
)
def test_one_high_reading_of_the_idle_cpu_is_no_late_release(
    readings: Sequence[float], released_late: bool
) -> None:
    cpu = Key("idle-cpu")
    loads = [0.02, 0.05, 0.1, 0.18, 0.32, readings[0]]
    seen = [
        observation(index, {cpu: level}, phase=Phase.WARMUP if index < 2 else Phase.LOAD, opened=2000)
        for index, level in enumerate(loads)
    ]
    seen += [
        observation(len(loads) + index, {cpu: level}, phase=Phase.RETENTION, opened=0)
        for index, level in enumerate(readings[1:])
    ]
    one = assess_counts(replace(trial([], observations=seen, retention=60.0), initial={cpu: 0.01}))[cpu]
    assert bool(one.release) is released_late


@pytest.mark.parametrize(
    ("runtime", "fall", "opened", "late"),
    [
        ("jvm", 2000.0, 50, False),
        ("jvm", 9000.0, 50, True),  # nearly everything
        ("jvm", 2000.0, 700, False),
        ("jvm", 900.0, 3000, False),  # its garbage scatters by that much
        ("jvm", 2000.0, 3000, True),  # a large load, as when a sweep is due
        ("jvm", 2000.0, 800, True),  # more than a quarter of the load before
        ("python", 2000.0, 50, True),
    ],
)
def test_what_the_next_streams_of_a_jvm_collect_is_no_late_release(
    runtime: str, fall: float, opened: int, late: bool
) -> None:
    """A healthy Jetty was left alone for 55 of 120 seconds, to see whether the rest of its objects goes too."""
    objects = Key("memory", "objects")
    levels = [100_000.0, 101_000.0, 103_000.0, 110_000.0, 110_000.0 - fall]
    clients = [100, 300, 1000, 3000, opened]
    seen = [
        observation(n, {FDS: 9.0, objects: level}, phase=Phase.WARMUP if n < 2 else Phase.LOAD, opened=many)
        for n, (level, many) in enumerate(zip(levels, clients, strict=True))
    ]
    made = trial([], observations=seen, retention=60.0)
    one = assess_counts(replace(made, target=replace(made.target, runtime=runtime)))[objects]
    assert ("released late" in one.why) is late


@pytest.mark.parametrize(
    ("falls", "more", "late"),
    [
        ([2000.0, 0.0, 0.0], 0.0, False),
        ([9000.0, 0.0, 0.0], 0.0, True),  # nearly everything
        ([9000.0, 0.0, 0.0], 9000.0, True),  # and what came later hides it
        ([0.0, 0.0, 0.0, 0.0, 2000.0], 0.0, True),  # long after the last client
    ],
)
def test_what_a_jvm_collects_in_the_first_seconds_without_clients_is_no_late_release(
    falls: list[float], more: float, late: bool
) -> None:
    """Jetty in three of four runs: the level of a large load was read 2 to 5 s before its buffers were collected."""
    objects, level = Key("memory", "objects"), 110_000.0
    levels = [100_000.0, 101_000.0, 103_000.0, level]
    seen = [
        observation(n, {FDS: 9.0, objects: one}, phase=Phase.WARMUP if n < 2 else Phase.LOAD, opened=many)
        for n, (one, many) in enumerate(zip(levels, [100, 300, 1000, 3000], strict=True))
    ]
    for fall in falls:
        level -= fall
        seen.append(observation(len(seen), {FDS: 9.0, objects: level}, phase=Phase.RETENTION, opened=0))
    seen.append(
        observation(
            len(seen), {FDS: 9.0, objects: level + more}, phase=Phase.LOAD, opened=3000 if more else 300
        )
    )
    made = trial([], observations=seen, retention=60.0)
    one = assess_counts(replace(made, target=replace(made.target, runtime="jvm")))[objects]
    assert (one.release is not None) is late, one.why


def test_more_than_the_smallest_leak_beside_a_large_release_is_no_pass() -> None:
    """An object per 12 to 25 streams beside a sweep of all others: 4 % of what it had released remained, and passed."""
    objects = Key("memory", "objects")
    streams, levels = 0, []
    for opened, kept in ((300, 300), (4000, 4000), *[(0, 0)] * 30, (4400, 4400), *[(0, 0)] * 30):
        streams += opened
        levels.append((opened, 100_000.0 + streams / 25 + kept))
    seen = [
        observation(
            n, {FDS: 9.0, objects: level}, phase=Phase.LOAD if opened else Phase.RETENTION, opened=opened
        )
        for n, (opened, level) in enumerate(levels)
    ]
    made = replace(trial([], observations=seen, retention=60.0), initial={FDS: 9.0, objects: 100_000.0})
    one = assess_counts(made)[objects]
    assert one.release is not None
    assert one.status != "bounded"
    assert one.growing
    assert judge(made).outcome is not Outcome.BOUNDED
