"""Each limit of growth while clients stay connected, with a hold just inside it and one just outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.core.budget import Budget
from harness.core.cycle import Phase, Reading
from harness.core.holding import next_hold
from harness.core.judge import connected_findings, continuing, while_connected
from harness.core.judge.connected_findings import bounds
from harness.core.judge.while_connected import Grown, certain, grown, screened
from harness.core.metric import Key
from harness.core.record import Trial
from tests.core import test_while_connected as holds
from tests.core.series import trial
from tests.core.test_while_connected import (
    CLIENTS,
    EVENTS,
    FDS,
    HEAP,
    MIB,
    OBJECTS,
    PLAIN,
    TASKS,
    freed,
    held,
)

BLOCKS, THREADS = Key("memory", "blocks"), Key("threads")
WATCHED = 54.5  # seconds of a hold of 60 s that are judged: from the first reading after 5 s to the last one
SCREENED = 3.0  # the same of a hold of 5 s


def one_hold(key: Key, each: Callable[[float], float], *, seconds: float = 60.0, stalled: int = 0) -> Trial:
    """A hold in which each client adds ``each(seconds)``, all of which is freed when the clients disconnect."""
    spec = replace(PLAIN, phase=Phase.HOLD, connections=CLIENTS, dwell=seconds, stalled=stalled)
    return trial([], observations=[held(spec, key, freed(100.0, each), 0.0)])


@pytest.mark.parametrize(
    ("key", "limit"),
    [(HEAP, MIB), (OBJECTS, 4096.0), (BLOCKS, 4096.0), (FDS, 16.0), (TASKS, 16.0), (THREADS, 16.0)],
)
@pytest.mark.parametrize(("stalled", "times"), [(0, 1.0), (CLIENTS, 4.0)])
@pytest.mark.parametrize(("share", "found"), [(0.99, 0), (1.01, 1)])
def test_a_bounded_buffer_holds_so_much_for_each_client(
    key: Key, limit: float, stalled: int, times: float, share: float, found: int
) -> None:
    pace = share * limit * times / WATCHED
    assert len(certain(one_hold(key, lambda t: pace * t, stalled=stalled))) == found


@pytest.mark.parametrize(
    ("each", "seconds", "found"),
    [
        (6, 45.0, 0),
        (6, 50.0, 0),
        (6, 52.0, 1),  # two more readings would have shown that 1,000 events fill it
        (15.9, 50.0, 0),
        (16.1, 50.0, 1),
        (3, 60.0, 0),
        (4.2, 60.0, 1),
    ],
)
def test_a_buffer_of_a_thousand_events_may_be_several_blocks_for_each(
    each: float, seconds: float, found: int
) -> None:
    """A dict of a few fields is six blocks. A service with such a history of 1,000 events, at 20 a second, was called
    leaking after 45 seconds, in which it had gained more than 4,096 blocks for each client."""
    assert len(certain(one_hold(BLOCKS, lambda t: each * EVENTS * t, seconds=seconds))) == found


@pytest.mark.parametrize(
    ("key", "least"),
    [(HEAP, 4096.0), (OBJECTS, 8.0), (BLOCKS, 8.0), (holds.ANONYMOUS, 32.0 * 1024), (FDS, 1.0), (TASKS, 1.0)],
)
@pytest.mark.parametrize(("share", "found"), [(0.99, 0), (1.01, 1)])
def test_growth_in_the_first_hold_is_followed_by_a_longer_hold(
    key: Key, least: float, share: float, found: int
) -> None:
    """Half of the clients stall. Memory without a counter may be a queue behind these alone, of 64 KiB for each."""
    pace = share * least / SCREENED
    assert len(screened(one_hold(key, lambda t: pace * t, seconds=5.0, stalled=CLIENTS // 2))) == found


@pytest.mark.parametrize(
    ("quarter", "seconds"), [(60.0, WATCHED), (5.0, SCREENED), (20.0, 14.5), (24.0, 18.5), (16.0, 11.5)]
)
def test_the_first_quarter_of_a_hold_is_left_out_but_no_more_than_five_seconds(
    quarter: float, seconds: float
) -> None:
    (one,) = grown(one_hold(HEAP, lambda t: 1e5 * t, seconds=quarter).observations[0])
    assert one.seconds == pytest.approx(seconds)
    assert one.total == pytest.approx(1e5 * seconds * CLIENTS)


@pytest.mark.parametrize(("later", "continues"), [(0.48, False), (0.52, True)])
def test_growth_keeps_half_its_pace(later: float, continues: bool) -> None:
    read = [(float(t), t if t <= 10 else 10 + later * (t - 10)) for t in range(21)]
    assert continuing.continues(read) is continues


@pytest.mark.parametrize(("peak", "continues"), [(21.9, True), (22.1, False)])
def test_the_last_reading_is_the_highest_but_for_a_tenth(peak: float, continues: bool) -> None:
    read = [(float(t), float(t)) for t in range(21)]
    read[19] = (19.0, peak)
    assert continuing.continues(read) is continues


@pytest.mark.parametrize(("full", "continues"), [(18.2, False), (18.6, True), (20.0, True)])
def test_a_buffer_that_became_full_shortly_before_the_end_is_a_buffer(full: float, continues: bool) -> None:
    """The last 15 % of the time must bring half of their share of the growth."""
    read = [(float(t), min(float(t), full)) for t in range(21)]
    assert continuing.continues(read) is continues


@pytest.mark.parametrize(("share", "lasting"), [(0.49, False), (0.51, True)])
def test_half_of_the_growth_is_freed_at_the_disconnect(share: float, lasting: bool) -> None:
    seen = one_hold(HEAP, lambda t: 1e5 * t).observations[0]
    (one,) = grown(seen)
    high = seen.connected[-1].levels[HEAP]
    (one,) = grown(replace(seen, levels={HEAP: high - share * one.total}))
    assert one.lasting is lasting


@pytest.mark.parametrize(("readings", "found"), [(3, 0), (4, 1)])
def test_a_hold_takes_four_readings(readings: int, found: int) -> None:
    seen = one_hold(HEAP, lambda t: 1e5 * t).observations[0]
    few = replace(seen, connected=seen.connected[60 : 60 + readings])
    assert len(list(grown(few))) == found


def second_hold(monkeypatch: pytest.MonkeyPatch, pace: float, events: float, hold: float = 5.0) -> float:
    """Seconds of the hold that follows two short ones."""
    monkeypatch.setattr(holds, "EVENTS", events)
    now = trial([], observations=[])
    for start in (0.0, 10.0):
        step = next_hold(now, replace(PLAIN, phase=Phase.HOLD), hold)
        assert step is not None
        assert step.dwell == hold
        now = replace(
            now, observations=(*now.observations, held(step, HEAP, freed(1e6, lambda t: pace * t), start))
        )
    step = next_hold(now, replace(PLAIN, phase=Phase.HOLD), hold)
    assert step is not None
    assert step.stalled == 0
    return step.dwell


def test_the_next_hold_is_as_long_as_the_limit_takes_and_half_as_long_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert second_hold(monkeypatch, 50_000.0, 500.0) == pytest.approx(1.5 * MIB / 50_000.0 / 0.75, rel=0.01)


def test_in_the_next_hold_each_reader_gets_1200_events(monkeypatch: pytest.MonkeyPatch) -> None:
    assert second_hold(monkeypatch, 300_000.0, 40.0) == pytest.approx(1200 / 40.0, rel=0.1)


def test_the_next_hold_takes_a_minute_at_most_or_as_long_as_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert second_hold(monkeypatch, 22_000.0, 1.0) == 60.0
    assert second_hold(monkeypatch, 15_000.0, 1.0, hold=70.0) == 70.0


@pytest.mark.parametrize(("key", "dwell"), [(HEAP, 5.0), (OBJECTS, 5.0)])
@pytest.mark.parametrize("share", [0.99, 1.01])
def test_little_growth_is_first_tested_by_a_short_hold_of_stalled_readers(
    key: Key, dwell: float, share: float
) -> None:
    """Beyond first buffers the long hold comes at once."""
    least = 64.0 * 1024 if key == HEAP else 64.0
    leak = freed(1e6, lambda t: share * least / SCREENED * t)
    spec = replace(PLAIN, phase=Phase.HOLD, connections=CLIENTS, dwell=5.0, stalled=CLIENTS // 2)
    seen = [held(spec, key, leak, 0.0), held(replace(spec, stalled=0), key, lambda t, r, s: 1e6, 10.0)]
    step = next_hold(trial([], observations=seen), replace(PLAIN, phase=Phase.HOLD), 5.0)
    assert step is not None
    assert step.stalled == CLIENTS
    assert (step.dwell == dwell) is (share < 1)


@pytest.mark.parametrize(("done", "more"), [(4, True), (5, False)])
def test_a_trial_has_five_holds(done: int, more: bool) -> None:
    """Two mixed holds and one of readers do not show what stalled readers cost."""
    leak = freed(1e6, lambda t: 30_000.0 * t)
    spec = replace(PLAIN, phase=Phase.HOLD, connections=CLIENTS, dwell=5.0, stalled=CLIENTS // 2)
    seen = [held(spec, HEAP, leak, 10.0 * n) for n in range(done - 1)]
    seen.append(held(replace(spec, stalled=0), HEAP, leak, 10.0 * done))
    step = next_hold(trial([], observations=seen), replace(PLAIN, phase=Phase.HOLD), 5.0)
    assert (step is not None) is more


@pytest.mark.parametrize(("events", "driver"), [(2.99, "connected-second"), (3.0, "event")])
def test_growth_is_counted_by_event_from_three_events_a_client(events: float, driver: str) -> None:
    one = Grown(HEAP, 9e9, 40.0, CLIENTS, 0, events * CLIENTS, lasting=True)
    assert connected_findings._finding(one).driver == driver
    (by_stall,) = certain(one_hold(HEAP, lambda t: 1e6 * t, stalled=CLIENTS))
    assert connected_findings._finding(by_stall).driver == "stalled-second"


def test_an_interval_holds_an_arena_and_a_fifth_of_a_second() -> None:
    rate = connected_findings._finding(Grown(HEAP, 4e9, 40.0, CLIENTS, 0, 1000.0, lasting=True)).rate
    assert rate is not None
    half = MIB / 1000.0 if HEAP.unit == "B" else 1.0
    assert rate.value == 4e6
    assert rate.high - rate.value == pytest.approx(half + 4e6 * 0.2 / 40.0, rel=1e-3)
    assert rate.value - rate.low == pytest.approx(half + 4e6 * 0.2 / 40.0, rel=1e-3)
    of_fds = connected_findings._finding(Grown(FDS, 4000.0, 40.0, CLIENTS, 0, 1000.0, lasting=True)).rate
    assert of_fds is not None
    assert of_fds.high == pytest.approx(4.0 + 1 / 1000.0 + 4.0 * 0.2 / 40.0, rel=1e-3)


@pytest.mark.parametrize(("times", "lasting"), [(1.99, False), (2.01, True)])
def test_a_heap_that_outgrew_twice_its_size_is_in_use(times: float, lasting: bool) -> None:
    """Go: a later collection frees the memory of a hold."""
    base = 40 * MIB
    pace = base * (times - 1) / CLIENTS / 59.0
    spec = replace(PLAIN, phase=Phase.HOLD, connections=CLIENTS, dwell=60.0)
    # The lowest reading is the first, after half a second.
    seen = held(spec, holds.ANONYMOUS, lambda t, r, s: base + pace * (t - 0.5) * CLIENTS, 0.0)
    kept = replace(seen, levels={holds.ANONYMOUS: seen.connected[-1].levels[holds.ANONYMOUS]})
    (one,) = grown(kept, doubling=True)
    assert one.lasting is lasting


def test_a_hold_without_growth_bounds_it_by_what_three_units_would_have_shown() -> None:
    (one,) = bounds(one_hold(FDS, lambda t: 0.0))
    assert one.at_most == pytest.approx(3.0 / (CLIENTS * WATCHED / 3600), rel=1e-5)
    (falling,) = bounds(one_hold(FDS, lambda t: -0.01 * t))
    assert falling.at_most == one.at_most


@pytest.mark.parametrize(("per_client", "certain_"), [(4095.0, False), (4096.0, True), (4097.0, True)])
def test_the_limit_itself_is_more_than_a_buffer_holds(
    per_client: float, certain_: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = while_connected.Grown(Key("memory", "objects"), per_client * 8, 60.0, 8, 0, 1e6, True)
    monkeypatch.setattr(while_connected, "screened", lambda _: [one])
    now = trial([], observations=[])
    assert certain(now) == ([one] if certain_ else [])
    granted = replace(now, budget=Budget(per_connected_hour={"memory/objects": per_client * 60}))
    assert certain(granted) == [], "a budget that grants exactly this"
    less = replace(now, budget=Budget(per_connected_hour={"memory/objects": per_client * 60 - 1e-6}))
    assert certain(less) == ([one] if certain_ else [])


def test_growth_of_readers_is_reported_before_that_of_stalled_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    mute, read = (while_connected.Grown(Key("fds"), 900.0, 60.0, 8, stalled, 1e6, True) for stalled in (8, 0))
    mixed = replace(read, stalled=4)
    for found in ([mute, read], [read, mute], [mixed, mute, read]):
        monkeypatch.setattr(while_connected, "screened", lambda _, found=found: found)
        assert certain(trial([], observations=[])) == [read]


@pytest.mark.parametrize(
    ("full", "steps", "events", "stopped"),
    [
        (53.0, 1.5, EVENTS, True),
        (56.0, 1.5, EVENTS, False),  # fewer than three readings show it
        (60.0, 1.5, EVENTS, False),
        (53.0, 12.0, EVENTS, False),  # what rises every 12 seconds has paused before
        (53.0, 1.5, 0.0, False),  # no events came either
        (53.0, 1.5, None, True),
    ],
)
def test_a_buffer_that_is_full_shortly_before_the_end_of_a_hold_has_stopped(
    full: float, steps: float, events: float | None, stopped: bool
) -> None:
    read = []
    for number in range(1, 40):
        at = 1.5 * number
        sent = (
            None
            if events is None
            else int(CLIENTS * EVENTS * min(at, full) + CLIENTS * events * max(0, at - full))
        )
        level = 1e5 + CLIENTS * 120 * min(steps * (at // steps), full)
        read.append(Reading(at, {BLOCKS: level}, sent))
    assert continuing.stopped(BLOCKS, read) is stopped


@pytest.mark.parametrize(("events", "seconds"), [(20.0, 60.0), (17.0, 70.6), (16.1, 74.5), (15.9, 60.0)])
def test_a_hold_is_a_little_longer_than_a_minute_if_a_customary_buffer_fills_in_that_time(
    monkeypatch: pytest.MonkeyPatch, events: float, seconds: float
) -> None:
    """A service that sends 20 events a second sent 18 on a busy machine, and its leak was not decided."""
    monkeypatch.setattr("tests.core.test_while_connected.EVENTS", events)
    assert second_hold(monkeypatch, 22_000.0, events) == pytest.approx(seconds, abs=0.1)


@pytest.mark.parametrize(("full", "stops"), [(54.5, True), (70.0, False)])
def test_bytes_that_come_in_steps_stop_with_the_blocks(full: float, stops: bool) -> None:
    """A deque takes a block of 528 bytes for 64 entries, every three seconds, and such a block is counted in bytes
    alone. A full buffer was left undecided because its last pause was not twice as long as those."""
    read = []
    for number in range(1, 40):
        at = 1.5 * number
        events = 20 * min(at, full)
        levels = {BLOCKS: 6 * events * CLIENTS, HEAP: 528.0 * (events // 64) * CLIENTS}
        read.append(Reading(at, levels, int(20 * at * CLIENTS)))
    assert continuing.stopped(HEAP, read) is stops


@pytest.mark.parametrize(("size", "stalled"), [(30, None), (1_000, CLIENTS)])
def test_stalled_readers_are_held_after_a_full_history_only_where_their_buffers_fill(
    size: int, stalled: int | None
) -> None:
    """Readers were seen to fill their history. Behind stalled ones it fills as fast, and a hold shows more only once
    the kernel's buffers are full: with events of 30 bytes, a healthy service was left undecided for want of it."""
    now, _ = holds.watched(BLOCKS, freed(68_000, lambda t: min(6_000.0, 120 * t)))
    sized = [replace(o, ledger=replace(o.ledger, bytes=size * o.ledger.events)) for o in now.observations]
    now = replace(now, observations=tuple(sized))
    assert [o.spec.stalled for o in now.observations] == [CLIENTS // 2, 0, 0]
    step = next_hold(now, replace(PLAIN, phase=Phase.HOLD), 5.0)
    assert (step and step.stalled) == stalled


def test_a_hold_that_was_cut_short_has_not_shown_a_full_buffer() -> None:
    """Without the levels after the disconnect it is unknown what was held. Growth of the first holds is open."""
    now, _ = holds.watched(BLOCKS, freed(68_000, lambda t: min(6_000.0, 120 * t)))
    assert connected_findings.undecided(now) is None
    *earlier, last = now.observations
    cut = replace(last, levels={}, complete=False)
    assert connected_findings.undecided(replace(now, observations=(*earlier, cut))) is not None
