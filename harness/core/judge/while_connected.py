"""Growth while clients stay connected. It is freed when they disconnect, so no level after a cycle shows it.

Streams may stay open for days. A hold cycle keeps a constant number of clients connected, half of them not reading,
and reads levels during that time. What grows and is freed at the disconnect is retained for the life of a stream: a
history per stream, or an unbounded queue for a stalled reader.

Healthy services grow too: connections are set up, per-client queues and replay buffers fill up and stop, a heap
waits for its next collection. So growth is a finding only when

- it continues to the end of the hold at the pace at which it began,
- at least half of it is freed at the disconnect, which a heap that waits for a collection does not do; where a
  collector frees it only later and never lets a heap outgrow its live part by much, as Go's, by the end of the run, and
- it exceeds, per client, what a bounded buffer holds: LIMITS.

The first hold is short and only looks for growth. Further ones, with clients of one sort, are as long as the limit
needs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

from harness.core.budget import line_for
from harness.core.cycle import Observation, Phase, Reading
from harness.core.judge.continuing import (
    MIN_PAUSE_STEPS,
    MIN_READINGS,
    continues,
    continues_with_events,
    stopped,
)
from harness.core.judge.heap_in_use import (
    DOUBLING_RUNTIMES,
    MIN_FREED_SHARE,
    beyond_garbage,
    freed_later,
    in_use,
    usual_pace,
    was_collected,
)
from harness.core.judge.hold_readings import holds, readable, settled_readings
from harness.core.judge.memory import MEMORY
from harness.core.metric import Judged, Key
from harness.core.record import Trial

EXTERNAL = Key("memory", "external-bytes")
# What a bounded buffer may hold per client. Bytes: high-water marks are 16 to 64 KiB (Node, asyncio, uvicorn), and
# a queue of 1,000 events of 1 kB is 1 MiB. Entries: 4,096, as for caches. The rest: one pool slot a client.
LIMITS = {"B": float(1 << 20), "objects": 4096.0, "blocks": 4096.0}
LIMIT = 16.0  # units of any other metric
# Events that a replay buffer or a queue customarily holds. An event may be several objects, or blocks of memory: a dict
# of a few fields is six blocks, so 1,000 of them are 6,000. What is more than MAX_PER_EVENT of each event is no event
# that is kept, but something else for which LIMITS must do.
BUFFERED_EVENTS = 1000.0
MAX_PER_EVENT = 16.0
STALLED_LIMIT = 4.0  # times as much behind a stalled reader: queues are sized for it
# Growth per client from which on the first hold cycle is followed by a longer one.
SCREEN = {"B": float(64 << 10), "objects": 64.0, "blocks": 64.0}
SCREEN_LIMIT = 1.0  # units of any other metric
# The same for counters inside the service, which have hardly any noise: in a first hold a producer of 3 kB a second
# queues only this much for a stalled reader. Two short holds check such small growth before a long one.
COUNTER_SCREEN = {"B": float(4 << 10), "objects": 8.0, "blocks": 8.0}
# Bytes that the kernel holds for a stalled reader before the service notices: the buffers of both sockets, with the
# segment size of Ethernet (measured: 81 kB). A hold that fills less has shown nothing about stalled readers.
KERNEL_BUFFER_BYTES = 81_000.0
HOLD_MARGIN = 1.5  # times the time in which the growth reaches its limit
NOISE = {"B": 1.0 * (1 << 20)}  # an allocator's arena
# Times the pace with readers, and times what they hold: up to that, growth behind stalled readers is the same buffer.
MAX_SAME_PACE = 1.25
MAX_SAME_SIZE = 1.05
# Share of the growth that events must leave unexplained, and times as much as seconds do, for it to follow the seconds.
MIN_UNEXPLAINED_BY_EVENTS = 0.2
MIN_TIMED_FACTOR = 2.0


@dataclass(frozen=True, slots=True)
class Grown:
    """Growth of one key in one hold cycle, over ``seconds`` after the clients had settled.

    clients: connected all that time; stalled: of them. events: that they received. lasting: it continued to the end of
    the hold, and was freed at the disconnect. cut: the hold ended before the clients had disconnected, so it is unknown
    whether it was freed. hidden: more growth that may have reused pages which a collection had freed. received: events
    of each reader until two readings before the end; a buffer that holds no more of them was seen to be full. kept: it
    was in use, although the end of the run shows no collection of it. timed: it went on at its pace between readings in
    which hardly any event arrived, so it follows the seconds and not the events.
    """

    key: Key
    total: float
    seconds: float
    clients: int
    stalled: int
    events: float
    lasting: bool
    cut: bool = False
    hidden: float = 0.0
    received: float = 0.0
    kept: bool = False
    timed: bool = False

    @property
    def per_client(self) -> float:
        """Growth per client."""
        return self.total / self.clients

    @property
    def per_affected(self) -> float:
        """Growth per client if all of it is of the smaller group: of those who read, or of the stalled ones."""
        return self.total / (min(self.stalled, self.clients - self.stalled) or self.clients)

    @property
    def limit(self) -> float:
        """Growth per client beyond any bounded buffer."""
        least = LIMITS.get(self.key.unit, LIMIT) * (STALLED_LIMIT if self.stalled == self.clients else 1.0)
        return max(least, self._buffered())

    def _buffered(self) -> float:
        """What a customary buffer of events would hold per client, if growth is a few objects or blocks per event and
        fewer events have arrived than fill it."""
        readers = self.clients - self.stalled
        if self.key.unit not in ("objects", "blocks") or readers <= 0 or self.events <= 0:
            return 0.0
        per_event = self.per_client / (self.events / readers)
        return (
            BUFFERED_EVENTS * per_event
            if per_event <= MAX_PER_EVENT and self.received < BUFFERED_EVENTS
            else 0.0
        )

    @property
    def pure(self) -> bool:
        """Whether all clients were of one kind: all read, or all stalled."""
        return self.stalled in (0, self.clients)


def all_grown(trial: Trial, seen: Observation) -> Iterator[Grown]:
    """The growth in one hold cycle of a trial, by key."""
    index = trial.observations.index(seen)
    # The first hold is a warm-up for streams of its length, so memory that remains after it proves nothing.
    first = not any(o.spec.phase is Phase.HOLD for o in trial.observations[:index])
    before = {} if first else trial.observations[index - 1].levels
    after = trial.observations[index + 1 :]
    doubling = trial.target.runtime in DOUBLING_RUNTIMES
    return grown(
        seen,
        doubling=doubling,
        before=before,
        after=after,
        queued=beyond_garbage(trial, seen),
        collects=was_collected(trial.observations[:index]),
    )


def grown(
    seen: Observation,
    *,
    doubling: bool = False,
    before: Mapping[Key, float] = MappingProxyType({}),
    after: Sequence[Observation] = (),
    queued: bool = False,
    collects: bool = False,
) -> Iterator[Grown]:
    """The growth in one hold cycle, by key. Resident bytes are left out where the heap is counted from inside.

    doubling: the collector of the service lets a heap grow to twice its live part. before: the levels without clients
    before the hold, where they can be compared. after: the cycles that followed. queued: anonymous memory was certainly
    in use, whether or not the allocator returned it. collects: its collector has been seen at work.
    """
    settled = settled_readings(seen)
    clients = seen.spec.connections - seen.ledger.failed
    if len(settled) < MIN_READINGS or clients <= 0:
        return
    heap = any(key.kind == "heap-bytes" for reading in settled for key in reading.levels)
    for key in sorted({key for reading in settled for key in reading.levels}):
        if not _is_judged(key) or (heap and key == MEMORY):
            continue
        read = [(reading.at, reading.levels[key]) for reading in settled if key in reading.levels]
        if len(read) < MIN_READINGS:
            continue
        stalled = min(seen.spec.stalled, clients)
        if stalled == clients and key.judged is Judged.EXACT:
            read = _since_taken(read, COUNTER_SCREEN.get(key.unit, SCREEN_LIMIT) * clients)
        (first, low), (last, high) = read[0], read[-1]
        total, seconds = high - low, last - first
        if seconds <= 0:
            continue
        freed = high - seen.levels[key] if key in seen.levels else 0.0
        # A heap that waits for its next collection grows too. Only exact counts need no confirmation by the disconnect.
        released = freed >= MIN_FREED_SHARE * total if seen.complete else key.judged is Judged.EXACT
        released = released or (queued and key == MEMORY)
        if key in before and key in seen.levels and key.judged is Judged.EXACT:
            # The fall at the disconnect may be what each client had from its start. Growth that remains after the
            # disconnect is not growth while connected: the ordinary cycles judge it.
            released = released and seen.levels[key] - before[key] < total
        noise = NOISE["B"] if key == MEMORY else 0.0
        hidden, kept = 0.0, False
        if doubling and key == MEMORY:
            hidden = max(0.0, usual_pace(read) * seconds - total)
            if seen.complete and not released:
                released = freed_later(seen, total, high, after)
                buffers = LIMITS["B"] * (STALLED_LIMIT if stalled == clients else 1.0) * clients
                kept = collects and not released and in_use(seen, high, buffers)
                released = released or kept
        yield Grown(
            key, total, seconds, clients, stalled, _events(seen, settled),
            total > 0 and released and not stopped(key, settled)
            and (continues(read, noise) or continues_with_events(key, settled)),
            not seen.complete, hidden, _received(seen, settled) / max(1, clients - stalled), kept, _timed(key, settled),
        )  # fmt: skip


def _since_taken(read: list[tuple[float, float]], least: float) -> list[tuple[float, float]]:
    """The readings of a hold of stalled readers since the kernel last took some of what was queued for them.

    The kernel enlarges its buffer when a probe of the closed window is answered, some 15 s later (tcp_new_space in
    net/ipv4/tcp_input.c). The memory of a Node service that had queued 28 kB for each reader then fell by two thirds,
    and grew again. Over the whole hold such a service shows hardly any growth. least: a smaller fall is noise. All
    readings are returned when too few would remain.
    """
    start, highest = 0, 0
    for index in range(1, len(read)):
        if read[index][1] >= read[highest][1]:
            highest = index
        if read[highest][1] - read[index][1] >= least:
            start = highest = index
    return read[start:] if len(read) - start >= MIN_READINGS else read


def _events(seen: Observation, read: Sequence[Reading]) -> float:
    """Events between the first and the last of some readings."""
    first, last = read[0], read[-1]
    if first.events is not None and last.events is not None:
        return float(last.events - first.events)
    return seen.ledger.events * min(1.0, (last.at - first.at) / max(1e-9, seen.ledger.seconds))


def _timed(key: Key, read: Sequence[Reading]) -> bool:
    """Whether seconds explain the growth between the readings much better than events. At a constant pace of events
    both explain it alike. A sampler that added an object every 20 ms was called growth per event, although it went on
    between events that came every 1.5 s."""
    known = [
        (one.at, float(one.events), one.levels[key])
        for one in read
        if key in one.levels and one.events is not None
    ]
    steps = [
        (at - since, many - then, level - low) for (since, then, low), (at, many, level) in pairwise(known)
    ]
    seconds, events, total = (
        (math.fsum(column) for column in zip(*steps, strict=True)) if steps else (0.0, 0.0, 0.0)
    )
    if seconds <= 0 or events <= 0 or total <= 0:
        return False
    by_time = math.fsum(abs(rise - total * time / seconds) for time, _, rise in steps)
    by_event = math.fsum(abs(rise - total * many / events) for _, many, rise in steps)
    return by_event >= MIN_UNEXPLAINED_BY_EVENTS * total and by_time * MIN_TIMED_FACTOR <= by_event


def _received(seen: Observation, read: Sequence[Reading]) -> float:
    """Events from the start of a hold until so many readings before its last one as show that a buffer is full."""
    last = read[-1 - MIN_PAUSE_STEPS]
    if last.events is not None:
        return float(last.events)
    return seen.ledger.events * min(1.0, (last.at - seen.started) / max(1e-9, seen.ledger.seconds))


def _is_judged(key: Key) -> bool:
    """Whether a key is judged. Totals and runtime counters are. Mappings and CPU time are not, because they follow the
    activity of the clients. Buffers outside the heap of a Node service are: they are counted exactly, and the size of
    the heap does not include them."""
    if key.metric in ("mappings", "idle-cpu", "broker-peers"):
        return False
    if key.metric == "memory":
        return key in (MEMORY, EXTERNAL) or key.judged is Judged.EXACT
    return not key.kind


def screened(trial: Trial) -> list[Grown]:
    """Growth in the first hold cycles that a longer hold must distinguish from a buffer."""
    return [one for seen in holds(trial) for one in all_grown(trial, seen) if needs_longer_hold(one)]


def certain(trial: Trial) -> list[Grown]:
    """Growth beyond any bounded buffer in a hold with clients of one kind: the largest of each key. Growth that
    occurs with readers is not repeated for stalled readers."""
    found: dict[Key, Grown] = {}
    for one in screened(trial):
        if not one.pure or one.per_client < one.limit or is_granted(trial, one):
            continue
        known = found.get(one.key)
        if known is None or (known.stalled and not one.stalled):
            found[one.key] = one
    return [found[key] for key in sorted(found)]


def is_granted(trial: Trial, one: Grown) -> bool:
    """Whether a budget allows this growth per connected hour."""
    granted = line_for(trial.budget.per_connected_hour, one.key) or 0.0
    return one.total <= granted * one.clients * one.seconds / 3600


def needs_longer_hold(one: Grown) -> bool:
    """Whether growth continued, and exceeds first buffers."""
    least = COUNTER_SCREEN.get(one.key.unit) if one.key.judged is Judged.EXACT else None
    return exceeds_first_buffers(one) if least is None else one.lasting and one.per_client >= least


def exceeds_first_buffers(one: Grown) -> bool:
    """Whether growth continued, and exceeds first buffers however it was measured."""
    # Memory of C, Rust or PHP is a queue behind the stalled half more often than a little of every client.
    grown = one.per_affected if one.key == MEMORY else one.per_client
    return one.lasting and grown >= SCREEN.get(one.key.unit, SCREEN_LIMIT)


def open_growth(trial: Trial) -> list[Grown]:
    """Growth that is neither a finding nor allowed. Objects and their bytes are the same growth: once either is
    certain, the other one needs no further hold. If readers and stalled readers were held separately, only growth
    that occurred again in the last hold of either kind is still open."""
    # A hold with too few readings, on a busy machine, shows nothing: what an earlier one showed is still open.
    done = list(filter(readable, holds(trial)))
    readers = [o for o in done if o.spec.stalled == 0]
    stalled_holds = [o for o in done if o.spec.stalled == o.spec.connections]
    seen = [readers[-1], stalled_holds[-1]] if readers and stalled_holds else done
    known = {one.key.metric for one in certain(trial)}
    full = _full_buffers(trial, readers)
    return [
        one
        for o in seen
        for one in all_grown(trial, o)
        if needs_longer_hold(one)
        and one.key.metric not in known
        and not is_granted(trial, one)
        and not _fits(o, one, full.get(one.key))
    ]


@dataclass(frozen=True, slots=True)
class _FullBuffer:
    """What each reader's buffer holds once it is full, and the units per second at which it filled."""

    size: float
    pace: float


def _full_buffers(trial: Trial, readers: Sequence[Observation]) -> dict[Key, _FullBuffer]:
    """The buffers that grew with readers in a first hold and had stopped growing by the end of the last one."""
    if len(readers) < 2:
        return {}
    grew = {one.key: one for seen in readers[:-1] for one in all_grown(trial, seen) if one.lasting}
    return {
        one.key: _FullBuffer(_held(readers[-1], one), grew[one.key].per_client / grew[one.key].seconds)
        for one in all_grown(trial, readers[-1])
        if not one.lasting and not one.cut and one.key in grew and one.seconds > grew[one.key].seconds
    }


def _held(seen: Observation, one: Grown) -> float:
    """What was held per client at most, since it connected: what the first seconds of a hold added counts as well."""
    return (
        max(r.levels.get(one.key, 0.0) for r in seen.connected) - seen.levels.get(one.key, 0.0)
    ) / one.clients


def _fits(seen: Observation, one: Grown, full: _FullBuffer | None) -> bool:
    """Whether growth in a hold is the buffer that was seen full with readers, behind stalled readers too.

    A service writes into the kernel's buffers for a stalled reader as well, so its replay buffer fills at the same
    pace. A queue for what they do not read would add to that.
    """
    if full is None:
        return False
    pace = full.pace * (1 + (MAX_SAME_PACE - 1) * one.stalled / one.clients)
    held = _held(seen, one)
    return held <= MAX_SAME_SIZE * full.size and one.per_client / one.seconds <= pace
