"""Growth while clients stay connected: a leak is found with its driver, buffers, heaps and pools are not."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.core.budget import Budget
from harness.core.cycle import CycleSpec, Ledger, Observation, Phase, Reading
from harness.core.holding import next_hold
from harness.core.judge.connected_findings import bounds, findings, hourly, undecided, warnings
from harness.core.judge.trial import judge
from harness.core.judge.while_connected import certain
from harness.core.metric import Key
from harness.core.plan import Goal, next_step
from harness.core.record import Trial
from harness.core.verdict import Finding, Outcome
from harness.report.reasoning import reasoning, while_connected
from tests.core.series import observation, play, trial

ANONYMOUS, HEAP, OBJECTS = Key("memory", "anonymous"), Key("memory", "heap-bytes"), Key("memory", "objects")
FDS, TASKS = Key("fds"), Key("tasks")
CLIENTS = 50
MIB = float(1 << 20)
EVENTS = 20.0  # a second and reading client
PLAIN = CycleSpec(0, 300, CLIENTS, 2.0)

Level = Callable[[float, int, int], float]
"""(seconds connected, reading, stalled) → level. After the disconnect: seconds 0 and nobody."""


def held(spec: CycleSpec, key: Key, level: Level, start: float) -> Observation:
    """One hold cycle, read twice a second."""
    stalled, seconds = spec.stalled, spec.dwell
    reading = spec.connections - stalled
    times = [0.5 * n for n in range(1, int(2 * seconds))]
    connected = tuple(Reading(start + t, {key: level(t, reading, stalled)}) for t in times)
    return Observation(
        spec=spec,
        ledger=Ledger(
            opened=CLIENTS,
            completed=CLIENTS,
            seconds=seconds,
            events=int(EVENTS * seconds * reading),
            answered=CLIENTS,
        ),
        levels={key: level(0.0, 0, 0)},
        started=start,
        ended=start + seconds + 1,
        load_ended=start + seconds,
        connected=connected,
    )


def watched(key: Key, level: Level, hold: float = 5.0, budget: Budget | None = None) -> tuple[Trial, float]:
    """All the hold cycles that the plan wants, and how long they took."""
    now = trial([], observations=[], budget=budget or Budget())
    seconds = 0.0
    while step := next_hold(now, replace(PLAIN, phase=Phase.HOLD), hold):
        now = replace(now, observations=(*now.observations, held(step, key, level, seconds)))
        seconds += step.dwell + 1
    return now, seconds


def short(key: Key, level: Level) -> Trial:
    """The first two hold cycles: what there is time for."""
    now, _ = watched(key, level)
    return replace(now, observations=now.observations[:2])


def found(key: Key, level: Level, **more: float) -> list[Finding]:
    return findings(watched(key, level, **more)[0])


def freed(
    base: float, each: Callable[[float], float], *, readers: bool = True, stalled: bool = True
) -> Level:
    """``each(seconds)`` per client of these sorts, freed when they leave."""
    return lambda t, r, s: base + each(t) * ((r if readers else 0) + (s if stalled else 0))


@pytest.mark.parametrize("key", [ANONYMOUS, HEAP, Key("memory", "external-bytes")])
def test_bytes_retained_per_event_are_found_with_their_rate(key: Key) -> None:
    (one,) = found(key, freed(30 * MIB, lambda t: 10_000 * EVENTS * t))
    assert (one.scope, one.driver, one.status) == ("while-connected", "event", "leaking")
    assert one.rate is not None
    assert one.rate.unit == "B/event"
    assert one.rate.low <= 10_000 <= one.rate.high
    assert "freed when they leave" in one.explanation


def test_growth_of_stalled_readers_alone_is_named_so() -> None:
    (one,) = found(ANONYMOUS, freed(30 * MIB, lambda t: 400_000 * t, readers=False))
    assert one.driver == "stalled-second"
    assert one.rate is not None
    assert one.rate.value == pytest.approx(400_000, rel=0.01)


def test_growth_without_events_is_per_connected_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.core.test_while_connected.EVENTS", 0.02)
    (one,) = found(TASKS, freed(10, lambda t: 2 * t))
    assert one.driver == "connected-second"
    assert one.rate is not None
    assert one.rate.value == pytest.approx(2.0, rel=0.05)


def staircase(base: float, each: Callable[[float], float]) -> Level:
    """An allocator takes arenas of 1 MiB."""
    return lambda t, r, s: base + MIB * int(each(t) * (r + s) / MIB)


HEALTHY: dict[str, tuple[Key, Level]] = {
    "nothing": (FDS, freed(8, lambda t: 1.0 * (t > 0))),
    "a queue of 1,000 events of 1 kB that fills and stops": (
        ANONYMOUS, freed(30 * MIB, lambda t: min(1_000, EVENTS * t * 4) * 1_000, readers=False)),
    "a queue of 100 events of 10 kB per client": (
        ANONYMOUS, freed(30 * MIB, lambda t: min(100, EVENTS * t) * 10_000)),
    "a queue that is still filling at the end": (
        HEAP, freed(30 * MIB, lambda t: min(1_000, EVENTS * t) * 1_000)),
    "a ring of the last 1,000 events for all": (
        ANONYMOUS, lambda t, r, s: 30 * MIB + min(1_000, EVENTS * t) * 10_000 * (r + s > 0)),
    "a replay buffer per session, of 1,000 events of 10 kB": (
        HEAP, freed(30 * MIB, lambda t: min(1_000, EVENTS * t) * 10_000)),
    "the same behind stalled readers alone": (
        HEAP, freed(30 * MIB, lambda t: min(1_000, EVENTS * t) * 10_000, readers=False)),
    "a replay list per session, of 1,000 events": (
        OBJECTS, freed(40_000, lambda t: 3 * min(1_000, EVENTS * t))),
    "garbage that waits for a collection": (
        ANONYMOUS, (lambda worst: lambda t, r, s: worst.append(t * 8 * MIB) or 30 * MIB + max(worst))([0.0])),
    "a heap that is collected every two seconds": (
        ANONYMOUS, lambda t, r, s: 30 * MIB + (t % 2.0) * 40 * MIB * (r + s > 0)),
    "buffers that connections take at first": (
        ANONYMOUS, freed(30 * MIB, lambda t: 256_000 * min(1.0, t))),
    "arenas": (ANONYMOUS, staircase(30 * MIB, lambda t: 2_000 * t)),
    "a thread pool that grows to 32": (Key("threads"), lambda t, r, s: 4 + min(32, int(8 * t)) * (r + s > 0)),
    "two poll connections that come and go": (FDS, lambda t, r, s: 8 + r + s + 2 * (int(2 * t) % 2)),
}  # fmt: skip


@pytest.mark.parametrize(
    ("behind", "most", "decided"),
    [(1.0, 6e3, True), (1.0, 1.7e3, True), (1.2, 6e3, True), (1.3, 6e3, False), (1.0, 1e3, False)],
)
def test_a_history_that_was_seen_full_with_readers_is_not_open_behind_stalled_ones(
    behind: float, most: float, decided: bool
) -> None:
    """A service writes into the kernel's buffers for a stalled reader too, so its history of 1,000 events fills at the
    same pace, and no two minutes are left to see it full again. What is queued for them would add to that pace, or
    exceed what the history of a reader holds."""

    def level(t: float, r: int, s: int) -> float:
        return 68_000 + min(most, 6 * EVENTS * t) * r + behind * 6 * EVENTS * t * s

    now, _ = watched(Key("memory", "blocks"), level)
    last_of_readers = [o for o in now.observations if o.spec.stalled == 0][-1]
    stalled = replace(last_of_readers.spec, stalled=CLIENTS, dwell=15.0)
    now = replace(now, observations=tuple(o for o in now.observations if o.spec.stalled < CLIENTS))
    now = replace(now, observations=(*now.observations, held(stalled, Key("memory", "blocks"), level, 90.0)))
    assert (undecided(now) is None) == decided


@pytest.mark.parametrize("name", list(HEALTHY))
def test_healthy_services_with_bounded_buffers_have_no_finding(name: str) -> None:
    key, level = HEALTHY[name]
    seen, _ = watched(key, level)
    assert findings(seen) == []


RATE = pytest.mark.soak(reason="an error rate on five times as many runs")


@pytest.mark.parametrize("runs", [60, pytest.param(300, marks=RATE)])
def test_noise_in_anonymous_memory_is_no_finding(runs: int) -> None:
    for seed in range(runs):
        rng = random.Random(seed)
        walk = [30 * MIB]

        def level(t: float, r: int, s: int, walk: list[float] = walk, rng: random.Random = rng) -> float:
            walk.append(max(0.0, walk[-1] + rng.gauss(0.2, 1.0) * MIB))
            return walk[-1] + 100_000 * (r + s)

        assert findings(watched(ANONYMOUS, level)[0]) == [], f"seed {seed}"


@pytest.mark.parametrize(("runs", "most"), [(20, 0), pytest.param(100, 1, marks=RATE)])
def test_a_leak_is_found_beneath_that_noise(runs: int, most: int) -> None:
    missed = 0
    for seed in range(runs):
        rng = random.Random(seed)

        def level(t: float, r: int, s: int, rng: random.Random = rng) -> float:
            return (30 + rng.gauss(0, 0.5)) * MIB + 10_000 * EVENTS * t * (r + s)

        missed += not findings(watched(ANONYMOUS, level)[0])
    assert missed <= most


def test_a_healthy_service_needs_one_short_hold_and_no_search_is_longer_than_the_time_to_spare() -> None:
    assert watched(FDS, HEALTHY["nothing"][1])[1] == 6.0
    assert all(watched(key, level)[1] <= 5 + 5 + 5 + 60 + 60 + 5 for key, level in HEALTHY.values())


def test_growth_that_a_buffer_explains_is_reported_with_the_hold_that_shows_it() -> None:
    slow = freed(30 * MIB, lambda t: 22_500 * t)
    seen = short(HEAP, slow)
    assert findings(seen) == []
    (text,) = warnings(seen)
    assert "--hold" in text
    seconds = float(text.rpartition("--hold ")[2].partition("s")[0])
    assert findings(watched(HEAP, slow, hold=seconds)[0])


def test_a_budget_allows_growth_per_connected_hour() -> None:
    leak = freed(30 * MIB, lambda t: 10_000 * EVENTS * t)
    hour = 10_000 * EVENTS * 3600
    assert findings(watched(HEAP, leak, budget=Budget(per_connected_hour={"memory": 1.1 * hour}))[0]) == []
    assert findings(
        watched(HEAP, leak, budget=Budget(per_connected_hour={"memory/heap-bytes": 0.5 * hour}))[0]
    )


def test_the_growth_of_a_run_suffices_as_its_budget() -> None:
    seen, _ = watched(HEAP, freed(30 * MIB, lambda t: 10_000 * EVENTS * t))
    granted = Budget(per_connected_hour={str(key): 1.001 * amount for key, amount in hourly(seen).items()})
    assert findings(replace(seen, budget=granted)) == []


def test_no_growth_is_bounded_per_connected_hour() -> None:
    (one,) = bounds(watched(FDS, HEALTHY["nothing"][1])[0])
    assert (one.metric, one.unit, one.scope) == ("fds", "fds/connected-hour", "while-connected")
    assert 0 < one.at_most < 120


def test_the_plan_holds_once_and_a_leak_decides_the_verdict() -> None:
    goal = Goal(300, 50, 2.0, ("/",), max_seconds=120.0, hold=5.0)
    played, reason = play(lambda did: {FDS: 10.0}, goal)
    assert [o.spec.phase for o in played.observations].count(Phase.HOLD) == 1
    assert reason.startswith("no count grew after clients had left")
    assert judge(played).outcome is Outcome.BOUNDED
    leaking, _ = watched(HEAP, freed(30 * MIB, lambda t: 10_000 * EVENTS * t))
    verdict = judge(replace(played, observations=(*played.observations, *leaking.observations)))
    assert verdict.outcome is Outcome.LEAKING
    assert verdict.findings[0].scope == "while-connected"


@pytest.mark.parametrize("broker", [True, False])
def test_a_silent_broker_comes_before_a_hold_that_may_take_the_rest_of_the_time(broker: bool) -> None:
    """Blocks that moved during the first hold took a minute of the next one, and a leak per timeout was not seen."""
    plain, now = replace(PLAIN, phase=Phase.LOAD), trial([10.0] * 6)
    short = replace(plain, phase=Phase.HOLD, connections=CLIENTS, concurrency=CLIENTS, dwell=5.0)
    level = queued(3_000)
    control = now.observations[-1]
    control = replace(control, spec=replace(control.spec, phase=Phase.IDLE, connections=0), ledger=Ledger())
    now = replace(now, observations=(*now.observations, control))
    for stalled in (25, 0, 50):  # still growing in the last one
        held_ = held(replace(short, stalled=stalled), HEAP, level, now.observations[-1].ended + 1)
        now = replace(now, observations=(*now.observations, held_))
    goal = Goal(300, 50, 2.0, ("/",), max_seconds=200.0, hold=5.0, broker=broker)
    step = next_step(now, goal)
    assert isinstance(step, CycleSpec)
    assert (step.fault, step.phase) == (("silence", Phase.LOAD) if broker else ("", Phase.HOLD))
    assert (step.dwell > 5.0) is not broker


def test_requests_and_users_of_a_locustfile_are_not_held() -> None:
    assert next_hold(trial([], observations=[]), replace(PLAIN, mode="request"), 5.0) is None
    assert next_hold(trial([], observations=[]), PLAIN, 0.0) is None


def test_a_reading_that_a_busy_service_answers_after_its_clients_have_left_is_left_out() -> None:
    step = next_hold(trial([], observations=[]), replace(PLAIN, phase=Phase.HOLD), 20.0)
    assert step is not None
    grows = held(
        replace(step, stalled=0, dwell=20.0), HEAP, lambda t, reading, _: 5e6 + 1e7 * t * bool(reading), 0.0
    )
    late = Reading(19.9, {HEAP: 5e6})
    one = trial([], observations=[replace(grows, connected=(*grows.connected, late))])
    assert [finding.metric for finding in findings(one)] == ["memory"]


def test_growth_of_stalled_readers_alone_needs_one_short_hold_of_readers() -> None:
    seen, _ = watched(HEAP, freed(30 * MIB, lambda t: 250_000 * t, readers=False))
    assert [(o.spec.stalled, o.spec.dwell <= 5.0) for o in seen.observations] == [
        (25, True), (0, True), (50, False)]  # fmt: skip
    assert findings(seen)[0].driver == "stalled-second"


@pytest.mark.parametrize(("key", "certain"), [(HEAP, True), (OBJECTS, True), (ANONYMOUS, False)])
def test_a_hold_that_was_cut_short_counts_what_is_counted_after_a_collection(key: Key, certain: bool) -> None:
    level = freed(30 * MIB, lambda t: 10_000 * EVENTS * t)
    whole = held(replace(PLAIN, phase=Phase.HOLD, connections=CLIENTS, dwell=45.0), key, level, 0.0)
    cut = replace(whole, levels={}, complete=False, settled=False)
    one = findings(trial([], observations=[cut]))
    assert bool(one) is certain
    assert all("the run ended before they left" in each.explanation for each in one)


def test_growth_while_connected_that_is_not_decided_is_no_pass() -> None:
    goal = Goal(300, 50, 2.0, ("/",), max_seconds=120.0)
    played, _ = play(lambda did: {FDS: 10.0}, goal)
    slow = short(HEAP, freed(30 * MIB, lambda t: 22_500 * t))
    open_ = replace(played, observations=(*played.observations, *slow.observations))
    verdict = judge(open_)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "--hold" in verdict.advice
    assert "--max-time" in verdict.advice
    closed, _ = watched(HEAP, HEALTHY["a queue of 100 events of 10 kB per client"][1])
    assert undecided(closed) is None, warnings(closed)
    assert (
        judge(replace(played, observations=(*played.observations, *closed.observations))).outcome
        is Outcome.BOUNDED
    )


def test_a_hold_fits_into_the_time_that_is_left_since_the_start_of_the_service() -> None:
    goal = Goal(300, 50, 2.0, ("/",), max_seconds=60.0, hold=5.0)
    played, _ = play(lambda did: {FDS: 10.0}, replace(goal, max_seconds=12.0, hold=0.0))
    shifted = [replace(o, started=o.started + 35.0, ended=o.ended + 35.0, load_ended=(o.load_ended or 0.0) + 35.0)
               for o in played.observations]  # fmt: skip
    grows = freed(30 * MIB, lambda t: 18_500 * t)
    first = held(next_step(trial([], observations=shifted), goal), HEAP, grows, 0.0)  # type: ignore[arg-type]
    at = shifted[-1].ended
    moved = replace(first, started=at, load_ended=at + 5.0, ended=at + 6.0,
                    connected=tuple(replace(r, at=r.at + at) for r in first.connected))  # fmt: skip
    step = next_step(trial([], observations=[*shifted, moved]), goal)
    assert not isinstance(step, CycleSpec) or step.dwell < 60.0 - moved.ended


def collected(each: float, base: float, *, collects: bool, runtime: str = "go") -> Trial:
    """A hold in which each client adds so many bytes a second, and two loads. Pages stay with the heap until its next
    collection, which comes with the second load."""
    now = trial([], observations=[])
    now = replace(now, target=replace(now.target, runtime=runtime))
    step = next_hold(now, replace(PLAIN, phase=Phase.HOLD), 5.0)
    assert step
    one = held(step, ANONYMOUS, lambda t, r, s: base + each * t * (r + s), 0.0)
    full = base + each * 4.5 * CLIENTS
    after = [
        Observation(
            PLAIN,
            Ledger(opened=300, completed=300, answered=300, seconds=1.0),
            {ANONYMOUS: level},
            started=start,
            ended=start + 2,
        )
        for start, level in ((6.0, full), (8.0, base if collects else full))
    ]
    return replace(now, observations=(replace(one, levels={ANONYMOUS: full}), *after))


def test_a_collected_heap_that_was_in_use_while_connected_is_held_for_longer() -> None:
    now = collected(100_000, 8 * MIB, collects=True)
    open_ = undecided(now)
    assert open_ is not None
    assert "memory/anonymous" in open_[0]
    assert next_hold(now, replace(PLAIN, phase=Phase.HOLD), 5.0) is not None


@pytest.mark.parametrize(
    ("each", "base", "collects", "runtime"),
    [
        (100_000, 30 * MIB, True, "go"),  # less than doubled: garbage
        (100_000, 8 * MIB, False, "go"),  # never freed: no growth while connected alone
        (100_000, 8 * MIB, True, "none"),  # a collector that may let its heap grow
    ],
)
def test_a_heap_that_may_wait_for_its_collection_is_no_growth_while_connected(
    each: float, base: float, collects: bool, runtime: str
) -> None:
    assert undecided(collected(each, base, collects=collects, runtime=runtime)) is None


@pytest.mark.parametrize(
    ("each", "more", "stalled", "collects", "runtime", "found"),
    [
        (200_000, 0, 0, True, "go", True),
        (
            200_000,
            0,
            0,
            False,
            "go",
            False,
        ),  # no collection was ever seen: GOGC=off lets garbage grow to a limit
        (60_000, 0, 0, True, "go", False),  # four times the live heap would be all of it: GOGC=300
        (200_000, 300 * MIB, 0, True, "go", False),  # the same beside a heap that was large before
        (200_000, 0, CLIENTS, True, "go", False),  # a queue for a stalled reader may hold 4 MiB
        (500_000, 0, CLIENTS, True, "go", True),
        (200_000, 0, 0, True, "none", False),  # a collector of which nothing is known
    ],
)
def test_a_heap_beyond_any_garbage_was_in_use_although_it_is_not_collected_in_time(
    each: float, more: float, stalled: int, collects: bool, runtime: str, found: bool
) -> None:
    """A Go server without pprof kept 10 kB of each event: 24 MB before a hold of 65 s, 655 MB after it and at the end.
    It was undecided."""
    first = collected(100_000, 8 * MIB, collects=collects, runtime=runtime)
    low = first.observations[-1].levels[ANONYMOUS]
    step = replace(PLAIN, phase=Phase.HOLD, connections=CLIENTS, dwell=60.0, events=0, stalled=stalled)
    one = held(step, ANONYMOUS, freed(low + more, lambda t: each * t), 12.0)
    high = {ANONYMOUS: one.connected[-1].levels[ANONYMOUS]}
    load = replace(first.observations[-1], levels=high, started=74.0, ended=76.0)
    seen = findings(replace(first, observations=(*first.observations, replace(one, levels=high), load)))
    assert [(f.metric, f.kind) for f in seen] == ([("memory", "anonymous")] if found else [])
    if found:
        assert "and not yet collected after they left" in seen[0].explanation
        assert seen[0].rate is not None
        assert seen[0].rate.value == pytest.approx(each if stalled else each / EVENTS, rel=0.05)


def test_pages_of_the_last_hold_are_collected_before_the_next_one() -> None:
    """Otherwise the clients of the next hold would fill these pages without visible growth."""
    now = collected(100_000, 8 * MIB, collects=True)
    for seen, again in ((1, False), (2, False), (3, True)):
        part = replace(now, observations=now.observations[:seen])
        assert (next_hold(part, replace(PLAIN, phase=Phase.HOLD), 5.0) is not None) is again


def test_growth_of_a_busy_service_continues_with_its_events() -> None:
    """On a busy machine events come in bursts: less in the second half of the seconds, and no less per event."""
    now = collected(100_000, 8 * MIB, collects=True)
    (hold, *loads) = now.observations
    shown = [
        (2.0, 0, 0.0),
        (2.5, 300, 6e6),
        (3.0, 310, 6.2e6),
        (3.5, 320, 6.4e6),
        (4.0, 330, 6.6e6),
        (4.5, 480, 9.6e6),
    ]
    first = hold.connected[0]
    busy = [
        replace(first, at=at, events=events, levels={ANONYMOUS: 8 * MIB + grown})
        for at, events, grown in [(0.5, 0, 0.0), *((at, events, grown) for at, events, grown in shown)]
    ]

    def growing(readings: list[Reading]) -> bool:
        seen = replace(now, observations=(replace(hold, connected=tuple(readings)), *loads))
        return undecided(seen) is not None

    assert growing(busy)
    assert not growing([replace(one, events=None) for one in busy])


def test_the_hold_that_decides_is_that_of_the_metric_which_decides_first() -> None:
    """Of objects and bytes, one thing, the bytes reach their limit long before."""
    step = replace(PLAIN, phase=Phase.HOLD, connections=CLIENTS, dwell=20.0)
    bytes_ = held(step, HEAP, freed(30 * MIB, lambda t: 20_000 * t), 0.0)
    objects = held(step, OBJECTS, freed(9000, lambda t: 5 * t), 0.0)
    both = [
        replace(mine, levels={**mine.levels, **theirs.levels})
        for mine, theirs in zip(bytes_.connected, objects.connected, strict=True)
    ]
    seen = replace(bytes_, connected=tuple(both), levels={**bytes_.levels, **objects.levels})
    open_ = undecided(trial([], observations=[seen]))
    assert open_ is not None
    assert "memory/heap-bytes" in open_[0] or "heap" in open_[0]
    assert "--hold 1" in open_[1], open_[1]


def test_growth_while_connected_precedes_a_bound_that_is_only_weak() -> None:
    slow = short(HEAP, freed(30 * MIB, lambda t: 22_500 * t))
    few = [observation(n, {FDS: 10.0, HEAP: 30 * MIB}, opened=50) for n in range(4)]
    verdict = judge(replace(slow, observations=(*few, *slow.observations)))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "while connected" in verdict.explanation, verdict.explanation


def test_a_hold_with_too_few_readings_is_held_again_for_longer() -> None:
    """Each reading of a busy service took more than a second: what grew would not have been seen."""
    step = next_hold(trial([], observations=[]), replace(PLAIN, phase=Phase.HOLD), 5.0)
    assert step
    one = held(step, HEAP, freed(30 * MIB, lambda t: 10_000 * EVENTS * t), 0.0)
    slow = replace(one, connected=one.connected[::3])
    again = next_hold(trial([], observations=[slow]), replace(PLAIN, phase=Phase.HOLD), 5.0)
    assert again is not None
    assert (again.dwell, again.stalled) == (10.0, CLIENTS // 2)
    short_of_time = next_hold(trial([], observations=[slow]), replace(PLAIN, phase=Phase.HOLD), 5.0, 7.0)
    assert short_of_time is not None
    assert short_of_time.dwell == 7.0
    # CherryPy with ten threads was given a hold of -1.2 s, which the swarm refused, so a healthy service ended the run.
    none_left = next_hold(trial([], observations=[slow]), replace(PLAIN, phase=Phase.HOLD), 5.0, -1.2)
    assert none_left is not None
    assert none_left.dwell == 5.0  # it does not fit, so the plan leaves it out
    assert next_hold(trial([], observations=[slow] * 5), replace(PLAIN, phase=Phase.HOLD), 5.0) is None


@pytest.mark.parametrize("stalled", [0, CLIENTS])
def test_a_later_hold_with_too_few_readings_excludes_nothing(stalled: int) -> None:
    """An asyncio service kept 10 kB of each event. Its first hold showed that, the two after it had one and three
    readings that count, because the machine was busy, and it passed."""
    plain, level = replace(PLAIN, phase=Phase.HOLD), freed(30 * MIB, lambda t: 10_000 * EVENTS * t)
    step = next_hold(trial([], observations=[]), plain, 5.0)
    assert step
    first = held(step, HEAP, level, 0.0)
    later = held(replace(step, stalled=stalled), HEAP, level, 10.0)
    other = held(replace(step, stalled=CLIENTS - stalled), HEAP, level, 20.0)
    few = [replace(one, connected=one.connected[::3]) for one in (later, other)]
    again = next_hold(trial([], observations=[first, few[0]]), plain, 5.0)
    assert again is not None
    assert (again.dwell, again.stalled) == (10.0, stalled), "the same clients again, for longer"
    assert undecided(trial([], observations=[first, *few])), "what the first hold showed is still open"


def test_growth_that_few_readings_cannot_tell_from_a_full_buffer_is_held_again() -> None:
    """A Go had 630 kB more for each client after 5 s, in steps; four readings counted, and it passed."""
    step = next_hold(trial([], observations=[]), replace(PLAIN, phase=Phase.HOLD), 5.0)
    assert step
    one = held(step, ANONYMOUS, freed(9 * MIB, lambda t: 300_000 * (t > 2.0) + 100_000 * (t > 3.0)), 0.0)
    busy = replace(one, connected=one.connected[2:9:2])
    again = next_hold(trial([], observations=[busy]), replace(PLAIN, phase=Phase.HOLD), 5.0)
    assert again is not None
    assert (again.dwell, again.stalled) == (10.0, CLIENTS // 2)
    flat = replace(busy, connected=held(step, ANONYMOUS, freed(9 * MIB, lambda t: 0.0), 0.0).connected[2:9:2])
    assert next_hold(trial([], observations=[flat]), replace(PLAIN, phase=Phase.HOLD), 5.0) is None


def test_a_bound_adds_up_the_hours_and_the_rises_of_all_holds_and_no_fall() -> None:
    """0.5 hours with 50 clients each: 2 rises of one descriptor, and the rule of three."""
    step = replace(PLAIN, phase=Phase.HOLD, connections=CLIENTS, dwell=37.0)
    rising, falling = (
        held(step, FDS, lambda t, r, s, way=way: 100.0 + way * (t > 20) * (r + s > 0), 0.0) for way in (1, -7)
    )
    seconds = rising.connected[-1].at - 5.0  # the first 5 s settle
    hours = 3 * CLIENTS * seconds / 3600
    (one,) = bounds(trial([], observations=[rising, falling, rising]))
    assert one.at_most == pytest.approx((2 + 3) / hours, rel=1e-5)
    assert (one.metric, one.kind, one.status, one.unit) == ("fds", "", "observed", "fds/connected-hour")
    assert (one.confidence, one.scope) == (0.95, "while-connected")
    assert f"{60 * hours:.2g} minutes" in one.explanation
    assert bounds(trial([], observations=[replace(rising, connected=rising.connected[:3])])) == []


def queued(pace: float, most: float = float("inf")) -> Level:
    """Bytes a second behind each stalled reader, up to a limit."""
    return freed(30 * MIB, lambda t: min(most, pace * t), readers=False)


@pytest.mark.parametrize(
    ("base", "readers", "open_growth"),
    [(2.0, 0.0, True), (2.0, 3_000.0, False), (40.0, 0.0, False)],
    ids=["beyond garbage", "readers too", "could be garbage"],
)
def test_a_queue_whose_memory_the_allocator_keeps_is_no_pass(
    base: float, readers: float, open_growth: bool
) -> None:
    """A Rust service had 83 MB of queues behind 50 stalled readers, and 69 MB after they had left."""
    most = [base * MIB]

    def level(t: float, r: int, s: int) -> float:
        most[0] = max(most[0], base * MIB + t * (27_000.0 * s + readers * r))
        return most[0] if not r + s else base * MIB + t * (27_000.0 * s + readers * r)

    spec = replace(PLAIN, phase=Phase.HOLD, connections=CLIENTS, dwell=5.0)
    holds = [held(spec, ANONYMOUS, level, 0.0)]
    holds.append(held(replace(spec, stalled=CLIENTS, dwell=60.0), ANONYMOUS, level, 10.0))
    holds[1] = replace(holds[1], levels={ANONYMOUS: 0.8 * most[0]})
    assert (undecided(trial([], observations=holds)) is not None) is open_growth


def kept_queue(runtime: str, pace: float, most: float = float("inf")) -> Trial:
    """All the hold cycles that the plan wants for a service whose allocator takes arenas of 2 MiB and returns none: so
    many bytes a second behind each stalled reader, up to a limit."""
    now = trial([], observations=[])
    now = replace(now, target=replace(now.target, runtime=runtime))
    highest, seconds = 0.0, 0.0

    def level(t: float, _: int, stalled: int) -> float:
        nonlocal highest
        highest = max(highest, 2 * MIB * (min(most, pace * t) * stalled // (2 * MIB)))
        return 8 * MIB + highest

    while step := next_hold(now, replace(PLAIN, phase=Phase.HOLD), 5.0):
        seen = held(step, ANONYMOUS, level, seconds)
        seen = replace(seen, levels={ANONYMOUS: 8 * MIB + highest})
        now = replace(now, observations=(*now.observations, seen))
        seconds += step.dwell + 1
    return now


def test_an_unbounded_channel_whose_memory_mimalloc_keeps_is_a_leak() -> None:
    """4 kB every 40 ms for each stalled reader, which hyper queued. The only hold had shown nothing to return."""
    seen = kept_queue("rust", 100_000.0)
    assert [o.spec.stalled for o in seen.observations] == [25, 0, 50]
    assert [(one.metric, one.kind, one.status) for one in findings(seen)] == [
        ("memory", "anonymous", "leaking")
    ]


def test_a_bounded_channel_whose_memory_mimalloc_keeps_is_none() -> None:
    seen = kept_queue("rust", 100_000.0, most=1e6)
    assert not findings(seen)
    assert undecided(seen) is None


def test_memory_that_may_wait_for_a_collection_needs_no_further_hold() -> None:
    assert len(kept_queue("ruby", 100_000.0).observations) == 1


def test_a_slow_queue_behind_stalled_readers_is_no_pass() -> None:
    """3 kB a second fill 5 kB per client in the first hold. The verdict names the hold that decides."""
    seen, seconds = watched(HEAP, queued(3_000))
    assert [o.spec.stalled for o in seen.observations] == [25, 0, 50, 50]
    assert [o.spec.dwell for o in seen.observations[:3]] == [5.0, 5.0, 5.0]
    assert seconds <= 5 + 5 + 5 + 60 + 4
    open_ = undecided(seen)
    assert open_ is not None
    assert "--hold" in open_[1]
    hold = float(open_[1].partition("--hold ")[2].partition("s")[0])
    [finding] = findings(watched(HEAP, queued(3_000), hold=hold)[0])
    assert finding.driver == "stalled-second"


@pytest.mark.parametrize("most", [8_000, 16_384, 65_536])
def test_a_slowly_filling_bounded_queue_counts_as_bounded(most: float) -> None:
    """High-water marks of 8 to 64 kB: full within the long hold."""
    seen, _ = watched(HEAP, queued(3_000, most))
    assert undecided(seen) is None
    assert findings(seen) == []


@pytest.mark.parametrize(("pace", "holds"), [(2_700, 1), (2_760, 4)])
def test_growth_of_a_few_kilobytes_per_client_is_followed_by_another_hold(pace: float, holds: int) -> None:
    """Half of the clients stall, and readings of 3 s count: 4 KiB per client at 2,731 B a second."""
    seen, _ = watched(HEAP, queued(pace))
    assert len(seen.observations) == holds


def test_little_growth_in_anonymous_memory_is_noise() -> None:
    assert watched(ANONYMOUS, queued(3_000))[1] == 6.0


def test_noise_of_a_counter_costs_no_long_hold() -> None:
    """A heap counter moves by up to 230 kB from one reading to the next (docs/detector.md)."""
    long = 0
    for seed in range(200):
        rng = random.Random(seed)

        def level(t: float, r: int, s: int, rng: random.Random = rng) -> float:
            return 30 * MIB + rng.uniform(0, 230_000)

        seen, seconds = watched(HEAP, level)
        assert findings(seen) == []
        long += seconds > 3 * 6.0
    assert long <= 4


def quiet_hold(received: float, key: Key = HEAP) -> Trial:
    """A first hold whose readers received so many bytes a second, and in which nothing grew."""
    spec = replace(PLAIN, phase=Phase.HOLD, connections=CLIENTS, concurrency=CLIENTS, dwell=5.0, stalled=25)
    one = held(spec, key, lambda t, r, s: 30 * MIB, 0.0)
    return trial([], observations=[replace(one, ledger=replace(one.ledger, bytes=round(received * 25 * 5)))])


@pytest.mark.parametrize(
    ("received", "seconds"),
    [
        (0, None),
        (3_200, None),
        (3_300, 34.55),
        (5_000, 26.2),
        (16_300, 14.97),
        (17_400, 14.66),
        (17_500, 14.63),
        (32_300, 12.51),  # for 2.5 s of its 5 s their buffers had been full
        (32_500, None),
    ],
)
def test_stalled_readers_are_held_until_the_service_notices_them(
    received: float, seconds: float | None
) -> None:
    """A Node that queued 6 kB a second behind them passed: all of it stayed in the kernel's buffers for 5 s. What is
    queued after that must show, too: 6 KiB in a heap that is counted from inside."""
    step = next_hold(quiet_hold(received), replace(PLAIN, phase=Phase.HOLD), 5.0)
    if seconds is None:
        assert step is None
        return
    assert step is not None
    assert step.stalled == CLIENTS
    assert step.dwell == pytest.approx(seconds, abs=0.1)
    assert next_hold(quiet_hold(received), replace(PLAIN, phase=Phase.HOLD), 5.0, seconds - 1) is None


@pytest.mark.parametrize(
    ("received", "seconds"), [(6_000, 29.9), (17_000, 14.8), (27_000, 13.0), (36_000, None)]
)
def test_memory_without_a_counter_shows_less_of_what_is_queued(
    received: float, seconds: float | None
) -> None:
    """A Rust service that queued 27 kB a second passed: 81 kB of 135 stayed in the kernel's buffers."""
    step = next_hold(quiet_hold(received, ANONYMOUS), replace(PLAIN, phase=Phase.HOLD), 5.0)
    assert (step.dwell if step else None) == (seconds if seconds is None else pytest.approx(seconds, abs=0.1))


def test_later_growth_is_no_pass_and_flat_memory_is_a_pass() -> None:
    now = quiet_hold(5_000)
    step = next_hold(now, replace(PLAIN, phase=Phase.HOLD), 5.0)
    assert step is not None
    for growing in (True, False):
        level = freed(
            30 * MIB, lambda t, growing=growing: growing * 5_000 * max(0.0, t - 14.0), readers=False
        )
        seen = replace(now, observations=(*now.observations, held(step, HEAP, level, 10.0)))
        assert (undecided(seen) is not None) is growing


def taken_at(pace: float, taken: float, most: float = float("inf"), kernel: float = 70_000) -> Level:
    """Bytes a second behind each stalled reader, after what the kernel holds, which takes 25 kB more at a moment."""

    def each(t: float) -> float:
        return min(most, max(0.0, pace * t - kernel - 25_000 * (t >= taken)))

    return freed(30 * MIB, each, readers=False)


@pytest.mark.parametrize(
    ("most", "holds"),
    [
        (float("inf"), [50, 0, 50]),
        (30_000, [50, 0, 50]),  # not full yet when the first hold ends
        (10_000, [50]),
    ],
)
def test_a_queue_that_the_kernel_buffers_took_once_is_held_for_longer(most: float, holds: list[int]) -> None:
    """As a whole, the first hold of stalled readers shows hardly any growth: a Node passed so in three of four runs."""
    now = quiet_hold(5_000)
    plain, stalled = replace(PLAIN, phase=Phase.HOLD), []
    while step := next_hold(now, plain, 5.0):
        stalled.append(step.stalled)
        level = taken_at(5_000, 17.0, most)
        now = replace(now, observations=(*now.observations, held(step, HEAP, level, 10.0)))
    assert stalled == holds
    assert now.observations[-1].spec.dwell == (60.0 if len(holds) == 3 else pytest.approx(26.2))
    assert (undecided(now) is not None) is (most > 1e9)
    assert findings(now) == []


def test_a_busy_service_that_sent_nothing_between_the_last_two_readings_still_grows() -> None:
    """It had queued 800 kB for each client by then, and passed."""
    pause = freed(30 * MIB, lambda t: 160_000 * (t if t < 4.0 or t > 4.9 else 4.0))
    seen, _ = watched(HEAP, pause)
    assert len(seen.observations) > 1
    assert undecided(replace(seen, observations=seen.observations[:1])) is not None


def watched_with_leak(per_event: float, freed: float) -> list[Observation]:
    """The hold cycles of a service that retains a part of each event, of which a share is freed at the disconnect,
    beside 60 objects of each connected client."""
    now = trial([], observations=[])
    rest = 1000.0
    seconds = 0.0
    while step := next_hold(now, replace(PLAIN, phase=Phase.HOLD), 5.0):
        start, pace = rest, per_event * EVENTS * (step.connections - step.stalled)
        rest += (1 - freed) * pace * step.dwell

        def level(
            at: float,
            reading: int,
            stalled: int,
            start: float = start,
            pace: float = pace,
            after: float = rest,
        ) -> float:
            return start + 60.0 * (reading + stalled) + pace * at if reading + stalled else after

        now = replace(now, observations=(*now.observations, held(step, OBJECTS, level, seconds)))
        seconds += step.dwell + 1
    return list(now.observations)


def test_growth_that_stays_after_the_disconnect_needs_no_long_hold() -> None:
    """A leak per event looked like growth while connected, because the clients' own objects fell at the disconnect. A
    minute of holds left no time to see how long it stays (rows go-slice@event and node-buffer@event)."""
    stays = watched_with_leak(0.5, freed=0.0)
    assert [one.spec.dwell for one in stays] == [5.0, 5.0, 5.0]
    goes = watched_with_leak(5.0, freed=1.0)
    assert max(one.spec.dwell for one in goes) > 30.0
    assert [one.key for one in certain(trial([], observations=goes))] == [OBJECTS]
    assert certain(trial([], observations=stays)) == []


def test_growth_while_connected_reaches_its_limit_after_a_time_with_so_many_clients() -> None:
    """20 kB a second and client: connections that end free it, so no number of them fills the memory."""
    seen, _ = watched(HEAP, freed(4e6, lambda seconds: 20_000 * seconds))
    limits = {"V8 heap_size_limit": 504e6, "vm.max_map_count": 9.0}
    (one,) = findings(replace(seen, target=replace(seen.target, limits=limits)))
    assert one.exhausts is not None
    assert (one.exhausts.ceiling, one.exhausts.clients) == ("V8 heap_size_limit", CLIENTS)
    assert one.exhausts.after_connections is None
    assert one.exhausts.after_seconds == pytest.approx(500e6 / (CLIENTS * 20_000), rel=0.05)
    assert findings(replace(seen, target=replace(seen.target, limits={})))[0].exhausts is None


def test_the_explanation_of_a_run_has_what_was_measured_while_clients_stayed_connected() -> None:
    """It had only sections of metrics that are bounded, beside a headline about growth while connected."""
    seen, _ = watched(HEAP, freed(4e6, lambda seconds: 20_000 * seconds))
    lines = list(reasoning(seen))
    assert lines[0] == "memory/heap-bytes while clients stay connected: leaking"
    assert (
        f"with {CLIENTS} clients, some of them stalled in 5.0 s; 3.81 MiB after they disconnected" in lines[1]
    )
    assert any(f"with {CLIENTS} readers in " in line for line in lines)
    rule, change = (
        next(line for line in lines if line.startswith(f"  {label}")) for label in ("rule", "otherwise")
    )
    assert findings(seen)[0].explanation in rule
    assert rule.endswith("a bounded buffer may hold 1.05 MB heap per client")
    assert change.endswith("bounded if it had stopped, or stayed below 1.05 MB heap per client")


def test_the_explanation_has_growth_that_is_open_and_whatever_metric_is_named() -> None:
    slow = short(HEAP, freed(4e6, lambda seconds: 20_000 * seconds))
    lines = list(while_connected(slow))
    assert lines[0] == "memory/heap-bytes while clients stay connected: undecided"
    assert "which a bounded buffer of 1.05 MB heap per client could explain" in lines[-2]
    flat, _ = watched(HEAP, freed(4e6, lambda seconds: 0.0))
    assert list(while_connected(flat)) == []
    assert list(while_connected(flat, "fds")) == []
    named = list(while_connected(flat, "memory"))
    assert named[0] == "memory/heap-bytes while clients stay connected: bounded"
    assert named[-2] == "  rule      did not grow (last hold)"


@pytest.mark.parametrize(("received", "told"), [(1_000, True), (16_000, True), (16_300, False)])
def test_a_pass_tells_that_stalled_readers_were_not_felt(received: float, told: bool) -> None:
    """At 1 kB a second the kernel's buffers take 81 s to fill, and a hold of 5 s shows nothing."""
    texts = [bound.explanation for bound in bounds(quiet_hold(received))]
    assert texts
    assert all(("--hold" in text) is told for text in texts)
    if received == 1_000:
        assert texts[0].endswith("and 1 kB a second arrived: --hold 86s")


@pytest.mark.parametrize(("per_second", "driver"), [(True, "connected-second"), (False, "event")])
def test_growth_between_events_follows_the_seconds(per_second: bool, driver: str) -> None:
    """aiohttp: a sampler for each client, and an event every 1.5 s. It was called growth per event."""
    spec = replace(PLAIN, phase=Phase.HOLD, connections=CLIENTS, concurrency=CLIENTS, dwell=60.0, stalled=0)
    one = held(spec, OBJECTS, lambda t, r, s: 1000.0, 0.0)

    def events(t: float) -> int:
        return int(t / 1.5) * CLIENTS

    def level(t: float) -> float:
        return 9000.0 + CLIENTS * (140.0 * t if per_second else 210.0 * int(t / 1.5))

    connected = tuple(Reading(r.at, {OBJECTS: level(r.at)}, events(r.at)) for r in one.connected)
    seen = replace(one, connected=connected, levels={OBJECTS: 9000.0})
    [finding] = findings(trial([], observations=[seen]))
    assert finding.driver == driver
    assert finding.rate is not None
    assert finding.rate.value == pytest.approx(140.0 if per_second else 210.0, rel=0.05)
