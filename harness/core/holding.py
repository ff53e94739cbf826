"""Which hold cycle comes next: the first looks for growth, further ones fill whatever bounded buffer there could be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from harness.core.cycle import CycleSpec, Observation, Phase
from harness.core.judge.continuing import MIN_READINGS
from harness.core.judge.heap_in_use import DOUBLING_RUNTIMES, MIN_FREED_SHARE
from harness.core.judge.hold_readings import SETTLE_SHARE, readable, settled_readings
from harness.core.judge.memory import MEMORY
from harness.core.judge.while_connected import (
    COUNTER_SCREEN,
    HOLD_MARGIN,
    KERNEL_BUFFER_BYTES,
    LIMIT,
    LIMITS,
    NOISE,
    SCREEN,
    SCREEN_LIMIT,
    STALLED_LIMIT,
    Grown,
    all_grown,
    certain,
    exceeds_first_buffers,
    is_granted,
    needs_longer_hold,
    open_growth,
)
from harness.core.record import Trial

ENOUGH_READINGS = 6  # a hold of 5 s has seven if the service answers at once
LONGER_FACTOR = 2.0  # times the length of the hold before, if a busy service gave too few readings
# Events: 1,000 are customary for a replay buffer or a queue, and a fifth more are needed to see it stop.
MIN_EVENTS = 1200.0
MAX_HOLD = 60.0  # seconds, unless --hold asks for more
# The same for MIN_EVENTS. A service that sends 20 events a second when nothing else runs sent 18 on a busy machine.
MAX_EVENTS_HOLD = 75.0
MAX_FILL_SECONDS = 35.0  # longest such hold
# Times the growth that leads to a longer hold that must be queued after that: the first and last readings of a hold do
# not count.
UNREAD_FACTOR = 1.5
# Share of the first hold for which the buffers must have been full: its last readings alone show no growth. A Node
# service that queued 20 kB a second for each stalled reader passed, because its queues began after 4 of 5 seconds.
MIN_FELT_SHARE = 0.5
MAX_HOLDS = 5  # hold cycles of a trial
MAX_COLLECTING_LOADS = 3  # loads after which such a service counts as having collected what a hold left


def _uncollected(trial: Trial, last: Observation) -> bool:
    """Whether memory of the last hold is not collected yet: growth of the next hold would reuse its pages
    undetected."""
    if trial.target.runtime not in DOUBLING_RUNTIMES or MEMORY not in last.levels:
        return False
    after = [o for o in trial.observations[trial.observations.index(last) + 1 :] if o.ledger.opened]
    before = min((r.levels[MEMORY] for r in last.connected if MEMORY in r.levels), default=math.inf)
    now = min((o.levels[MEMORY] for o in (last, *after) if MEMORY in o.levels), default=0.0)
    held = last.levels[MEMORY] - before
    return len(after) < MAX_COLLECTING_LOADS and held >= NOISE["B"] and now > before + MIN_FREED_SHARE * held


def next_hold(trial: Trial, plain: CycleSpec, hold: float, left: float = math.inf) -> CycleSpec | None:
    """The next hold cycle, or None when there is nothing more to learn.

    plain: an ordinary cycle. hold: seconds of the first one; 0: none at all. left: seconds that a hold may take.
    """
    done = [o for o in trial.observations if o.spec.phase is Phase.HOLD]
    if hold <= 0 or plain.mode != "stream" or len(done) >= MAX_HOLDS or (done and not done[-1].complete):
        return None
    clients = max(1, min(plain.concurrency, plain.connections))
    step = replace(
        plain, phase=Phase.HOLD, connections=clients, concurrency=clients, dwell=hold, events=0,
        disconnect="fin", fault="",
    )  # fmt: skip
    if not done:
        return replace(step, stalled=clients // 2)
    # Each reading of a busy service takes long, so its hold may have ended with too few of them.
    if done[-1].connected and not readable(done[-1]):
        longer = max(hold, min(left, LONGER_FACTOR * done[-1].spec.dwell))
        return replace(step, stalled=min(clients, done[-1].spec.stalled), dwell=longer)
    done = list(filter(readable, done))
    if not done:
        return None
    open_ = open_growth(trial)
    if not open_ and len(done) == 1 and _sparse(trial, done[0]):
        return replace(
            step, stalled=clients // 2, dwell=max(hold, min(left, LONGER_FACTOR * done[0].spec.dwell))
        )
    if (
        not open_
        and not any(o.spec.stalled == clients for o in done)
        and (seconds := _seconds_to_fill(done[0], hold)) <= min(left, MAX_FILL_SECONDS)
    ):
        return replace(step, stalled=clients, dwell=seconds)
    if not open_ or _uncollected(trial, done[-1]):
        return None
    readers = [o for o in done if o.spec.stalled == 0]
    stalled_holds = [o for o in done if o.spec.stalled == clients]
    # As short as the first hold: only growth that occurs with readers as well needs a longer one.
    if not readers:
        return step
    if len(readers) == 1 and _lasts(trial, readers[0]):
        return replace(step, dwell=max(hold, min(left, _needed(open_, 1.0, hold))))
    if clients == 1 or len(stalled_holds) > 1:
        return None
    if not stalled_holds and not any(map(exceeds_first_buffers, open_)):
        return replace(step, stalled=clients)
    longer = max(hold, min(left, _needed(open_, STALLED_LIMIT, hold)))
    # Once readers were held until the kernel's buffers were full, only a much longer hold shows more.
    if not stalled_holds or (
        (stalled_holds[0].spec.dwell <= hold or longer >= LONGER_FACTOR * stalled_holds[0].spec.dwell)
        and _lasts(trial, stalled_holds[0])
    ):
        return replace(step, stalled=clients, dwell=longer)
    return None


def _sparse(trial: Trial, seen: Observation) -> bool:
    """Whether a hold had too few readings, on a busy machine, to tell whether its growth continued or stopped."""
    few = MIN_READINGS <= len(settled_readings(seen)) < ENOUGH_READINGS
    return few and any(
        one.per_client >= SCREEN.get(one.key.unit, SCREEN_LIMIT) and not is_granted(trial, one)
        for one in all_grown(trial, seen)
    )


def _seconds_to_fill(seen: Observation, hold: float) -> float:
    """Seconds of a hold whose stalled readers fill the kernel's buffers and then show growth, at least twice ``hold``
    after that: the kernel enlarges them once shortly before. Infinite for a hold that did so already, and where no
    reader received anything."""
    readers = seen.spec.connections - seen.spec.stalled
    if seen.ledger.seconds <= 0 or readers <= 0 or seen.ledger.bytes <= 0:
        return math.inf
    counted = any(key.kind == "heap-bytes" for reading in seen.connected for key in reading.levels)
    shown = UNREAD_FACTOR * (COUNTER_SCREEN if counted else SCREEN)["B"]
    pace = seen.ledger.bytes / readers / seen.ledger.seconds
    full = KERNEL_BUFFER_BYTES / pace
    if seen.spec.dwell >= full + max(MIN_FELT_SHARE * hold, shown / pace):
        return math.inf
    return full + max(2 * hold, shown / pace)


def _lasts(trial: Trial, seen: Observation) -> bool:
    """Whether something grew until the end of this hold, beyond first buffers, and is not a finding yet."""
    known = {one.key.metric for one in certain(trial)}
    return any(
        needs_longer_hold(one) and one.key.metric not in known and not is_granted(trial, one)
        for one in all_grown(trial, seen)
    )


def _needed(found: Sequence[Grown], times: float, hold: float) -> float:
    """Seconds after which growth at this pace exceeds the limit, and more events arrive than a replay buffer holds; at
    most MAX_HOLD, or MAX_EVENTS_HOLD where those events arrive until then."""
    limits = max(HOLD_MARGIN * times * _until_limit(one) for one in found)
    events = max(_until_full(one) for one in found)
    return max(hold, min(MAX_HOLD, max(limits, events)), events if events <= MAX_EVENTS_HOLD else 0.0)


def _until_limit(one: Grown) -> float:
    return LIMITS.get(one.key.unit, LIMIT) / (one.per_client / one.seconds) / (1 - SETTLE_SHARE)


def _until_full(one: Grown) -> float:
    readers = max(1, one.clients - one.stalled)
    return MIN_EVENTS / max(1e-9, one.events / readers / one.seconds)
