"""The sequential plan: warm up, one idle control, load until it is certain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core import design, distinguish, plan
from harness.core.budget import Budget
from harness.core.certified import EXPECTED_LEAKS_CERTIFIED
from harness.core.cycle import BrokerCount, CycleSpec, Observation, Phase
from harness.core.distinguish import cache_or_pool, connections_beyond_cache, more_of_driver
from harness.core.judge.assessed import Allowed, Assessed
from harness.core.judge.moments import Series
from harness.core.judge.one_count import MAX_CACHE_ENTRIES, assess_one
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.outline import outline
from harness.core.plan import Goal, Search, Stop, next_step, warm_up
from harness.core.record import TargetInfo, Trial
from harness.core.verdict import Outcome
from harness.core.warm_up import MAX_WARMUP
from harness.experiment.options import request_of
from harness.experiment.soak import soak_steps
from tests.core.series import FDS, OBJECTS, CycleSums, observation, play, trial

GOAL = Goal(connections=300, concurrency=50, dwell=1.0, paths=("/",), max_seconds=120.0)
ANONYMOUS = Key("memory", "anonymous")


def phases(seen: Trial) -> list[Phase]:
    return [o.spec.phase for o in seen.observations]


def test_a_steady_service_is_certified_and_no_cycle_more() -> None:
    seen, reason = play(lambda did: {FDS: 10.0}, GOAL)
    assert phases(seen)[:4] == [Phase.WARMUP] * 3 + [Phase.IDLE]
    assert "no count grew" in reason
    loads = [o.ledger.opened for o in seen.observations if o.spec.phase is Phase.LOAD]
    # A leak of 1/1000 would have shown 6.5 times.
    assert sum(loads[:-1]) < EXPECTED_LEAKS_CERTIFIED * 1000 <= sum(loads)


def test_a_leak_ends_the_plan_after_two_load_cycles() -> None:
    seen, reason = play(lambda did: {FDS: 10.0 + did.connections}, GOAL)
    assert phases(seen).count(Phase.LOAD) == 2
    assert "leak is certain: fds" in reason
    assert len(seen.observations) <= 6


def test_a_filling_pool_is_warmed_up_longer_and_passes() -> None:
    seen, reason = play(lambda did: {FDS: float(min(10 + 8 * did.cycle**2, 110))}, GOAL)
    assert 3 < phases(seen).count(Phase.WARMUP) <= MAX_WARMUP
    assert "no count grew" in reason


def test_a_pool_that_takes_one_a_cycle_is_never_a_leak() -> None:
    seen, _ = play(lambda did: {FDS: 10.0 + min(32, did.loads)}, GOAL)
    assert judge(seen).outcome is not Outcome.LEAKING


@pytest.mark.parametrize(
    ("driver", "amount"),
    [
        ("connection", lambda did: did.connections),
        ("event", lambda did: did.events),
        ("abort", lambda did: did.aborts),
        ("slow-reader", lambda did: did.stalls),
        ("broker-timeout", lambda did: did.unanswered),
        ("time", lambda did: int(did.seconds)),
    ],
)
def test_each_driver_is_found_with_its_rate(driver: str, amount: Callable[[CycleSums], float]) -> None:
    goal = replace(GOAL, disconnect="mixed", broker=driver == "broker-timeout")
    seen, reason = play(lambda did: {FDS: 10.0 + 2.0 * amount(did)}, goal)
    verdict = judge(seen)
    assert verdict.outcome is Outcome.LEAKING, reason
    (finding,) = verdict.findings
    assert finding.driver == driver
    assert finding.rate is not None
    true = 2.0 * 3600 if driver == "time" else 2.0
    assert finding.rate.value == pytest.approx(true, rel=0.1)
    assert finding.rate.low <= true <= finding.rate.high


def test_one_leak_in_a_thousand_connections_is_found_in_time() -> None:
    seen, _ = play(lambda did: {FDS: 10.0 + did.connections // 1000}, GOAL)
    verdict = judge(seen)
    assert verdict.outcome is Outcome.LEAKING
    assert verdict.findings[0].driver == "connection"


def test_memory_without_counters_is_decided_within_three_minutes() -> None:
    goal = replace(GOAL, max_seconds=180.0)
    rested, reason = play(
        lambda did: {FDS: 10.0, ANONYMOUS: 20e6 + min(did.connections, 7800) * 1024.0}, goal
    )
    assert judge(rested).outcome is Outcome.BOUNDED
    assert "no count grew" in reason
    leaky, reason = play(lambda did: {FDS: 10.0, ANONYMOUS: 20e6 + did.connections * 1024.0}, goal)
    verdict = judge(leaky)
    assert verdict.outcome is Outcome.LEAKING, reason
    assert verdict.findings[0].rate is not None
    assert verdict.findings[0].rate.value == pytest.approx(1024, rel=0.02)


def test_a_heap_that_is_collected_is_no_leak() -> None:
    goal = replace(GOAL, max_seconds=180.0)
    seen, _ = play(lambda did: {FDS: 10.0, ANONYMOUS: 60e6 + 4e6 * (did.cycle % 7)}, goal)
    assert judge(seen).outcome is not Outcome.LEAKING


def test_the_time_is_kept() -> None:
    seen, reason = play(lambda did: {FDS: 10.0 + did.cycle % 2 * did.cycle}, replace(GOAL, max_seconds=20.0))
    assert seen.ended <= 20.0
    assert "would not fit into 20 s" in reason or "no count grew" in reason


def test_a_cycle_cut_short_ends_the_plan() -> None:
    cut = replace(trial([10]), observations=(observation(0, {FDS: 1.0}, complete=False),))
    assert isinstance(next_step(cut, GOAL), Stop)


BLOCKS = Key("memory", "blocks")


@pytest.mark.parametrize("what", ["connections", "events"])
@pytest.mark.parametrize("entries", [500, 1000, 2000, 2800, 3600, 4096])
def test_a_cache_that_fills_is_waited_for_and_passes(what: str, entries: int) -> None:
    def level(did: CycleSums) -> dict[Key, float]:
        held = min(entries, getattr(did, what))
        return {FDS: 10.0, OBJECTS: 1000.0 + held, BLOCKS: 5000.0 + 4 * held}

    seen, _ = play(level, replace(GOAL, disconnect="mixed"))
    verdict = judge(seen)
    assert verdict.outcome is Outcome.BOUNDED, verdict.explanation


@pytest.mark.parametrize("driver", ["connection", "event", "abort"])
def test_objects_are_a_leak_once_no_cache_could_hold_them(driver: str) -> None:
    def level(did: CycleSums) -> dict[Key, float]:
        return {FDS: 10.0, OBJECTS: 1000.0 + getattr(did, f"{driver}s")}

    seen, _ = play(level, replace(GOAL, disconnect="mixed"))
    verdict = judge(seen)
    assert verdict.outcome is Outcome.LEAKING, verdict.explanation
    assert verdict.findings[0].driver == driver
    assert verdict.findings[0].rate
    assert verdict.findings[0].rate.value == pytest.approx(1.0, rel=0.02)
    assert (seen.ended or 99.0) < 20.0


def test_objects_beside_descriptors_need_no_cache_to_be_ruled_out() -> None:
    seen, _ = play(lambda d: {FDS: 10.0 + d.connections, OBJECTS: 1000.0 + 3 * d.connections}, GOAL)
    found = {(f.metric, f.kind) for f in judge(seen).findings}
    assert found == {("fds", ""), ("memory", "objects")}
    assert sum(o.ledger.opened for o in seen.observations) < MAX_CACHE_ENTRIES


def test_a_cache_that_filled_in_the_last_cycle_is_not_attributed_to_the_seconds_of_streams() -> None:
    done = [(300.0, 240.0, 20.3), (300.0, 900.0, 15.8), (4096.0, 4096.0, 50.1)]  # recorded: 2,000 entries
    spans = tuple({"connection": c, "event": e, "stream-second": s, "cycle": 1.0} for c, e, s in done)
    one = Series(BLOCKS, (50000.0, 51282.0, 52521.0, 55710.0), spans, peak=50)
    assert assess_one(one, 1e-3, Allowed()).status != "leaking"


def test_a_load_of_stalled_readers_keeps_its_dwell() -> None:
    """A stalled reader needs time to fill its buffers. Among other ways to disconnect it must not delay the others."""
    for way, dwell in (("stall", GOAL.dwell), ("mixed", design.MIN_DWELL)):
        played, _ = play(lambda did: {FDS: 20.0}, replace(GOAL, disconnect=way))
        dwells = [o.spec.dwell for o in played.observations[1:] if o.spec.phase is Phase.WARMUP]
        assert dwells
        assert set(dwells) == {dwell}


def test_a_wait_that_has_begun_continues_while_something_grows() -> None:
    """One noisy reading hides that the growth was suspected; a load would restart the wait."""
    seen = [
        observation(i, {FDS: 10.0 + 3 * i}, phase=Phase.WARMUP if i < 2 else Phase.LOAD) for i in range(4)
    ]
    seen.append(observation(4, {FDS: 19.0}, phase=Phase.RETENTION, opened=0, ledger={"opened": 0}))
    now = trial([], observations=seen, retention=60.0, initial={FDS: 10.0})
    goal = replace(GOAL, retention=60.0, idle_cycles=0)
    spent = seen[-1].ended - seen[0].started
    step = next_step(now, replace(goal, max_seconds=spent + 40.0))
    assert getattr(step, "phase", None) is Phase.RETENTION
    step = next_step(now, goal)  # another load and a whole wait fit in, and a wait adds no growth
    assert getattr(step, "phase", None) is Phase.LOAD


def test_a_cause_that_paused_gets_its_driver_although_memory_still_grows() -> None:
    """A busy service had so few silences of the broker in two minutes that its leak was suspected after 107 s."""
    levels = [(10, 0), (10, 0), (10, 0), (310, 300), (310, 0)]
    seen = []
    for index, (level, unanswered) in enumerate(levels):
        phase = Phase.WARMUP if index < 2 else Phase.LOAD
        one = observation(index, {FDS: float(level), OBJECTS: 5000.0 + 90.0 * index}, phase=phase)
        count = BrokerCount(5, 5, 300, 300 - unanswered, unanswered)
        fault = "silence" if unanswered else ""
        seen.append(replace(one, broker=count, spec=replace(one.spec, fault=fault)))
    now = trial([], observations=seen, retention=60.0, initial={FDS: 10.0, OBJECTS: 5000.0})
    step = next_step(now, replace(GOAL, broker=True, retention=60.0, idle_cycles=0))
    assert getattr(step, "fault", None) == "silence"


def test_the_control_within_a_wait_does_not_restart_the_wait() -> None:
    """Node with an interval per client, on a busy machine: 22 s of the wait were over when the control without clients
    came, and three more loads followed it, because a whole wait no longer fitted into the two minutes."""
    goal = replace(GOAL, disconnect="mixed", retention=60.0, search=False)
    seen, level, at = [], 10.0, 0.0
    cycles = [
        (Phase.WARMUP, 100),
        (Phase.WARMUP, 300),
        (Phase.LOAD, 300),
        (Phase.LOAD, 150),
        (Phase.LOAD, 300),
    ]
    cycles += [(Phase.RETENTION, 0), (Phase.RETENTION, 0), (Phase.IDLE, 0)]
    for index, (phase, opened) in enumerate(cycles):
        level += opened
        one = observation(index, {FDS: level}, phase=phase, opened=opened)
        seen.append(replace(one, started=at, load_ended=at + (4.0 if opened else 1.0), ended=at + 8.0))
        at += 8.0
    now = trial([], observations=seen, retention=60.0, initial={FDS: 10.0})
    before = next_step(replace(now, observations=now.observations[:-1]), goal)
    assert getattr(before, "phase", None) is Phase.IDLE
    after = next_step(now, goal)
    assert getattr(after, "phase", None) is Phase.RETENTION


def test_the_retention_time_is_that_of_the_growing_kind_and_not_the_longest() -> None:
    goal = replace(GOAL, disconnect="mixed", retention=60.0)
    budget = Budget(retain={"*": 60.0, "fds": 5.0})
    now = Trial("played", TargetInfo(("service",), "http://127.0.0.1:1/", 1), budget, retention=60.0)
    now = replace(now, observations=with_a_leak(12.0))
    step = next_step(now, goal)
    assert getattr(step, "connections", 0), "the wait ends with requests"
    asked = observation(
        20, {FDS: now.observations[-1].levels[FDS] + 300.0}, phase=Phase.RETENTION, opened=300
    )
    asked = replace(asked, spec=replace(asked.spec, connections=300))
    now = replace(now, observations=(*now.observations, asked))
    step = next_step(now, goal)
    assert isinstance(step, CycleSpec)
    assert (step.phase, step.connections) == (Phase.RETENTION, 600), (
        "as many more as it served in its last load"
    )
    assert step.disconnect == "fin", (
        "like the load that is as large: what each early reset leaves was not known"
    )
    more = observation(21, {FDS: asked.levels[FDS] + 600.0}, phase=Phase.RETENTION, opened=600)
    step = next_step(replace(now, observations=(*now.observations, replace(more, spec=step))), goal)
    assert isinstance(step, Stop)
    assert "certain" in step.reason
    now = replace(now, observations=now.observations[:-1])
    slower = replace(now, budget=Budget(retain={"*": 60.0}))
    step = next_step(slower, goal)
    assert not isinstance(step, Stop)
    assert step.phase is Phase.RETENTION


def with_a_leak(idle: float) -> tuple[Observation, ...]:
    """One descriptor per stream over loads that end at second 12, and readings without clients afterwards."""
    sizes, level, found = (100, 300, 300, 0, 300, 150, 600, 1200), 10.0, []
    for index, size in enumerate(sizes):
        level += size
        phase = Phase.IDLE if not size else Phase.WARMUP if index < 3 else Phase.LOAD
        one = observation(
            index,
            {FDS: level},
            phase=phase,
            opened=size,
            ledger={"answered": size, "events": size * (1 + index % 3)},
        )
        found.append(replace(one, spec=replace(one.spec, disconnect="fin")))
    last = found[-1].ended
    for step in range(1, int(idle) + 1):
        one = observation(len(sizes) + step, {FDS: level}, phase=Phase.RETENTION, opened=0)
        spec = replace(one.spec, connections=0)
        found.append(
            replace(one, spec=spec, started=last + step - 1, load_ended=last + step, ended=last + step)
        )
    return tuple(found)


def test_a_soak_holds_clients_once_and_continues_loading() -> None:
    seen, _ = play(lambda did: {FDS: 10.0}, replace(GOAL, endless=True, hold=5.0, max_seconds=None), limit=20)
    assert phases(seen).count(Phase.HOLD) == 1
    assert phases(seen)[-1] is Phase.LOAD


def test_a_soak_that_is_too_short_for_it_holds_no_clients() -> None:
    now = [0.0]
    request = request_of(url="http://127.0.0.1:1/", pid=1, out=Path("unused"), soak=True)
    for duration, held in ((12.0, False), (600.0, True)):
        steps = soak_steps(request, duration, clock=lambda: now[0])
        seen = [observation(i, {FDS: 10.0}, phase=Phase.WARMUP if i < 3 else Phase.LOAD) for i in range(7)]
        seen.insert(3, observation(3, {FDS: 10.0}, phase=Phase.IDLE))
        step = steps(trial([], observations=seen))
        assert not isinstance(step, (Stop, Search))
        assert (step.phase is Phase.HOLD) is held


@pytest.mark.parametrize(("cores", "searches"), [(0.02, True), (0.3, False)])
def test_a_service_that_works_hard_while_idle_is_searched_and_loaded_no_further(
    cores: float, searches: bool
) -> None:
    """Nine hundred threads that poll: to trace them took a minute, and the next load was not served."""
    goal = replace(GOAL, disconnect="mixed", retention=60.0, search=True)
    seen = with_a_leak(0.0)
    work = [
        replace(o, levels={**o.levels, Key("idle-cpu"): 0.01 + cores * (index + 1) / len(seen)})
        for index, o in enumerate(seen)
    ]
    now = Trial("played", TargetInfo(("service",), "http://127.0.0.1:1/", 1), Budget(), retention=60.0)
    step = next_step(replace(now, observations=tuple(work)), goal)
    assert isinstance(step, Search) is searches
    if not searches:
        assert not isinstance(step, (Stop, Search))
        assert step.phase is Phase.RETENTION


@pytest.mark.parametrize(("each", "reads"), [(38.0, True), (0.0, False)])
def test_memory_that_grows_is_read_after_a_search_and_before_the_next_load(each: float, reads: bool) -> None:
    """A Node whose listeners keep 38 objects per stream, beside timers that were certain: its objects stayed undecided,
    because the load after the search had no level to start from."""
    goal = replace(GOAL, disconnect="mixed", retention=60.0, search=True)
    handles, objects, streams, seen = Key("tasks", "handle"), Key("memory", "objects"), 0, []
    for index, opened in enumerate((100, 300, 300, 150, 490, 200)):
        streams += opened
        levels = {FDS: 10.0, handles: 2 + streams / 2, objects: 8_000.0 + each * streams}
        phase = Phase.WARMUP if index < 2 else Phase.LOAD if index < 5 else Phase.SEARCH
        seen.append(observation(index, levels, phase=phase, opened=opened))
    now = Trial("played", TargetInfo(("service",), "http://127.0.0.1:1/", 1), Budget(), retention=60.0)
    step = next_step(replace(now, observations=tuple(seen)), goal)
    assert not isinstance(step, (Stop, Search))
    assert (step.connections == 0) is reads, step
    assert step.phase is (Phase.IDLE if reads else step.phase), (
        "no part of a wait, before which a large load is due"
    )


@pytest.mark.parametrize(
    ("cause", "effect", "ends"),
    [("suspected", "leaking", False), ("bounded", "leaking", True), ("leaking", "suspected", True)],
)
def test_a_certain_consequence_waits_for_the_suspected_cause(
    monkeypatch: pytest.MonkeyPatch, cause: str, effect: str, ends: bool
) -> None:
    goal = replace(GOAL, retention=60.0)
    played, _ = play(lambda did: {FDS: 10.0 + did.connections}, GOAL)
    last = played.observations[-1]
    quiet = [
        replace(
            observation(last.spec.index + n, last.levels, phase=phase, opened=0),
            started=last.ended + 2.0 * n,
            ended=last.ended + 2.0 * (n + 1),
        )
        for n, phase in enumerate((Phase.IDLE, Phase.RETENTION))
    ]
    now = replace(played, observations=(*played.observations, *quiet))

    def assessed(*_: object) -> dict[Key, Assessed]:
        def one(status: str) -> Assessed:
            return Assessed(status, 1.0, "", 300.0, 300.0, rate=1.0, growing=status == "suspected")

        return {FDS: one(cause), Key("memory", "heap-bytes"): one(effect)}

    monkeypatch.setattr("harness.core.plan.assess_counts", assessed)
    step = next_step(now, goal)
    assert getattr(step, "phase", None) is Phase.RETENTION
    assert bool(getattr(step, "connections", 0)) is ends, "requests, or the wait goes on"
    asked = observation(last.spec.index + 3, last.levels, phase=Phase.RETENTION, opened=300)
    further = replace(asked, spec=replace(asked.spec, index=asked.spec.index + 1))
    then = next_step(replace(now, observations=(*now.observations, asked, further)), goal)
    assert not ends or isinstance(then, Stop)


@pytest.mark.parametrize(
    ("retention", "unsettled", "settled", "waits"),
    [
        (1.0, "fds", True, True), (0.5, "fds", True, True), (0.0, "fds", True, False), (60.0, "", True, False),
        (60.0, "fds", False, False),
    ],
)  # fmt: skip
def test_a_late_release_ends_the_warm_up(
    retention: float, unsettled: str, settled: bool, waits: bool
) -> None:
    """More of the same would not settle it, and the wait without clients will."""
    seen = [observation(n, {FDS: level}, phase=Phase.WARMUP) for n, level in enumerate((10.0, 90.0, 20.0))]
    seen[-1] = replace(seen[-1], unsettled=unsettled, settled=settled)
    now = trial([], observations=seen, retention=retention)
    assert (warm_up(now, replace(GOAL, retention=retention)) is None) is waits
    assert warm_up(now, replace(GOAL, retention=retention, vary=False)) is not None


@pytest.mark.parametrize(
    ("levels", "steady"),
    [
        ((10, 10, 10), True), ((10, 11, 10), True), ((10, 9, 8), True), ((10, 12, 12), False), ((10, 10, 12), False),
        ((10, 14, 18), True), ((10, 14, 19), True), ((10, 14, 20), False), ((10, 14, 17), True), ((10, 14, 16), False),
        ((10, 12, 13), False), ((18, 14, 10), False),
    ],
)  # fmt: skip
def test_counts_are_steady_while_flat_or_on_an_even_slope(levels: tuple[float, ...], steady: bool) -> None:
    seen = [observation(n, {FDS: float(level)}, phase=Phase.WARMUP) for n, level in enumerate(levels)]
    now = trial([], observations=seen)
    assert (warm_up(now, GOAL) is None) is steady
    assert warm_up(replace(now, observations=now.observations[1:]), GOAL) is not None, (
        "two cycles tell no slope"
    )


@pytest.mark.parametrize(
    ("key", "by", "steep"),
    [
        (FDS, 150, True), (FDS, 149, False), (OBJECTS, 150, True), (Key("memory", "blocks"), 900, False),
        (Key("memory", "heap-bytes"), 9e6, False), (Key("mappings"), 900, False), (ANONYMOUS, 9e6, False),
    ],
)  # fmt: skip
def test_growth_by_half_a_unit_per_connection_ends_the_warm_up_and_needs_no_control(
    key: Key, by: float, steep: bool
) -> None:
    seen = [observation(n, {key: 100.0 + n * by}, phase=Phase.WARMUP) for n in range(2)]
    now = trial([], observations=seen)
    assert (warm_up(now, GOAL) is None) is steep
    assert warm_up(now, replace(GOAL, vary=False)) is not None
    step = next_step(now, GOAL)
    assert getattr(step, "phase", None) is (Phase.LOAD if steep else Phase.WARMUP)


def test_the_first_cycle_is_a_third_as_large_and_no_smaller_than_it_is_wide() -> None:
    empty = trial([], observations=[])
    sizes = {}
    for connections, concurrency in ((300, 50), (300, 200), (90, 200)):
        step = warm_up(empty, replace(GOAL, connections=connections, concurrency=concurrency))
        assert step
        sizes[connections, concurrency] = step.connections
    assert sizes == {(300, 50): 100, (300, 200): 200, (90, 200): 90}
    whole = warm_up(empty, replace(GOAL, vary=False))
    assert whole
    assert whole.connections == 300


def test_the_warm_up_ends_after_ten_cycles_whatever_moves() -> None:
    seen = [observation(n, {FDS: 10.0 + 5 * (n % 2)}, phase=Phase.WARMUP) for n in range(MAX_WARMUP)]
    assert warm_up(trial([], observations=seen), GOAL) is None
    assert warm_up(trial([], observations=seen[:-1]), GOAL) is not None


@pytest.mark.parametrize(
    ("cause", "certain"),
    [
        (Assessed("undecided", 1.0, "", growing=True), False), (Assessed("suspected", 1.0, "", growing=True), False),
        (Assessed("bounded", 1.0, "", growing=True), True), (Assessed("undecided", 1.0, ""), True),
    ],
)  # fmt: skip
def test_a_consequence_that_is_certain_waits_for_a_cause_that_still_grows(
    cause: Assessed, certain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mappings of threads are certain before the threads are."""
    leaking = Assessed("leaking", 1.0, "", 900.0, 900.0, rate=1.0, low=1.0, high=1.0)
    results = {Key("threads"): cause, Key("mappings"): leaking}
    monkeypatch.setattr(plan, "assess_counts", lambda *_: results)
    now = trial([10.0] * 5)
    step = next_step(now, replace(GOAL, vary=False, idle_cycles=0))
    assert isinstance(step, Stop) is certain
    if isinstance(step, Stop):
        assert "mappings" in step.reason


def test_growth_that_invalid_requests_may_explain_is_tested_without_them() -> None:
    one = Assessed("leaking", 1.0, "", 900.0, 900.0, "connection", ("invalid",), 1.0, 1.0, 1.0)
    now, goal = trial([10.0] * 5), replace(GOAL, invalid=0.25, disconnect="rst")
    step = distinguish.distinguish_drivers(now, goal, [one])
    assert step is not None
    assert (step.invalid, step.disconnect, step.phase, step.connections) == (
        0.0,
        "fin",
        Phase.ATTRIBUTION,
        300,
    )
    assert distinguish.distinguish_drivers(now, replace(goal, invalid=0.0), [one]) is None
    done = replace(now, observations=(*now.observations, replace(now.observations[-1], spec=step)))
    assert distinguish.distinguish_drivers(done, goal, [one]) is None, "once is enough"


def test_growth_with_another_driver_has_its_turn_between_two_controls_with_more_events() -> None:
    """Three threads of Go's runtime, which had come with some events, led to seven such controls in a row."""
    goal = replace(GOAL, disconnect="mixed")
    with_events = Assessed("undecided", 1.0, "", 3.0, 300.0, "event", growing=True, paused=True)
    with_resets = replace(with_events, factor="abort", total=169.0)
    loads = [observation(i, {FDS: 10.0}, opened=300) for i in range(4)]
    now = trial([], observations=loads)
    control = more_of_driver(now, goal, [with_events, with_resets])
    assert control is not None
    assert control.events > 1
    after = replace(observation(4, {FDS: 10.0}, opened=control.connections), spec=control)
    now = replace(now, observations=(*now.observations, after))
    turn = more_of_driver(now, goal, [with_events, with_resets])
    assert turn is not None
    assert (turn.events, turn.disconnect, turn.phase) == (1, "mixed", Phase.LOAD)
    again = more_of_driver(now, goal, [with_events])
    assert again is not None
    assert again.events == control.events, "nothing else waits"


@pytest.mark.parametrize(
    ("retention", "named"),
    [(60.0, ""), (90.0, ""), (100.0, "--max-time 3m"), (300.0, "--max-time 6m"), (0.0, "")],
)
def test_a_time_that_has_no_room_for_the_wait_is_named_before_the_run(retention: float, named: str) -> None:
    """--retention 5m within the default two minutes ended as inconclusive, after two minutes."""
    time = outline(replace(GOAL, vary=True, max_seconds=120.0, retention=retention), 1e-3)[-1]
    assert time.startswith("time: at most 120 s")
    assert ("outlives the retention time" in time) == bool(named)
    assert time.endswith(named)


def test_a_hold_does_not_show_how_many_connections_a_service_serves() -> None:
    """300 in a load of a second, and 50 in a hold of 5 s: 60 more connections were asked for to outgrow a cache."""
    load = observation(0, {FDS: 5.0}, opened=300, ledger={"seconds": 1.0})
    hold = observation(1, {FDS: 5.0}, phase=Phase.HOLD, opened=50, ledger={"seconds": 5.0})
    seen = [replace(one, spec=replace(one.spec, disconnect="fin")) for one in (load, hold)]
    assert connections_beyond_cache(trial([], observations=seen), replace(GOAL, connections=100)) == 1800


def test_entries_of_a_cache_beside_a_pool_that_fills_need_more_streams() -> None:
    """77 threads of Tomcat came with the objects of 1,153 streams, and 30 seconds went by with controls."""
    entries = Assessed("undecided", 1.0, "grew", 2e5, 1000.0, factor="answered", growing=True, cache="grew")
    threads = Assessed("undecided", 1.0, "grew", 77.0, 1000.0, growing=True)
    assert cache_or_pool([entries])
    assert cache_or_pool([entries, threads])
    assert not cache_or_pool([entries, replace(threads, total=257.0)])
    assert not cache_or_pool([threads])
    assert not cache_or_pool([replace(entries, factor="event")])
    assert not cache_or_pool([])
