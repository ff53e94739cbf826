"""The kinds of cycles: their sizes, and the designs that distinguish one driver from another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from harness.core.cycle import CycleSpec, Observation, Phase
from harness.core.judge.forecast import CEILINGS
from harness.core.judge.moments import answered
from harness.core.judge.unserved import withstood
from harness.core.metric import Key
from harness.core.record import Trial

# The dwell of a shortened cycle: this many times the slowest first event, and at least MIN_DWELL seconds.
FIRST_EVENTS = 5.0
MIN_DWELL = 0.3
MAX_CONNECTIONS = 20_000  # connections in one cycle: below the 28,000 ephemeral ports of one address
MAX_LOAD = 6.0  # seconds of load in a cycle, so that an interruption loses little
POOL_LOAD = 12.0  # the same for the load that distinguishes a pool from growth per stream
MAX_CONTROL = 10.0
GROWTH = 2.0  # times the size of the last load cycle that the next one may have
MORE_EVENTS = 3
MIN_WAIT = 1.0  # seconds between two readings of an idle service
MAX_WAIT = 4.0
WAIT_SHARE = 0.06  # of the time since the last client
ROOM_SHARE = 0.25  # of the room below the ceilings, so that the harness does not crash the service
MIN_SHARE = 0.1  # of the streams that are answered, for a load to be enlarged by what is refused
EARLY = 0.2  # share of the streams of a mixed load that are reset before their answer
CPU_ROOM = 0.25  # cores that a leaking service may use more after one load
MEMORY_ROOM = float(256 << 20)  # bytes that a leaking service may retain after one load
MORE_REQUESTS = 700  # connections: 0.99 to the power of 700 is 1 in 1,100
LAST_SECONDS = 4.0  # that they may take
NARROW = 2  # load cycles before the one with half the width


@dataclass(frozen=True, slots=True)
class Goal:
    """The load asked for. connections: streams of an ordinary cycle. cycles: load cycles at most.

    max_seconds: of the whole trial, from its first cycle; None: the caller watches the time.
    vary: cycles may be enlarged, shortened and differ by design; False: all as asked.
    broker: there is a fake broker, which can be silenced. endless: never stop for certainty (a soak).
    memory: continue while anonymous memory grows and is undecided. retention: seconds for which growth may stay
    before it is a leak. search: the service can be asked for the place where it grows.
    hold: seconds of the first hold cycle, in which clients stay connected; 0: none. invalid: share of invalid
    requests.
    """

    connections: int
    concurrency: int
    dwell: float
    paths: tuple[str, ...]
    events: int = 1
    disconnect: str = "fin"
    mode: str = "stream"
    cycles: int = 40
    min_cycles: int = 3
    idle_cycles: int = 1
    max_seconds: float | None = None
    vary: bool = True
    broker: bool = False
    endless: bool = False
    memory: bool = True
    hold: float = 0.0
    invalid: float = 0.0
    retention: float = 0.0
    search: bool = False


@dataclass(frozen=True, slots=True)
class Search:
    """Search now for the place in the source where the service grows: the plan has to wait anyway."""


@dataclass(frozen=True, slots=True)
class Stop:
    """No further cycle, and why."""

    reason: str


Step = CycleSpec | Search | Stop


def ordinary_cycle(trial: Trial, goal: Goal, phase: Phase) -> CycleSpec:
    """An ordinary cycle, exactly as the user asked for it."""
    return CycleSpec(
        index=len(trial.observations),
        connections=goal.connections,
        concurrency=goal.concurrency,
        dwell=goal.dwell,
        events=goal.events,
        disconnect=goal.disconnect,
        paths=goal.paths,
        phase=phase,
        mode=goal.mode,
        invalid=goal.invalid,
    )


def short_dwell_cycle(trial: Trial, goal: Goal, phase: Phase) -> CycleSpec:
    """An ordinary cycle with a dwell that follows the time to the first event, so that stalled readers do not prolong
    it. If all clients stall, the dwell is as asked: they need the time to fill the service's buffers."""
    step = ordinary_cycle(trial, goal, phase)
    if not goal.vary or goal.disconnect == "stall":
        return step
    slowest = [
        o.ledger.first_event_p99 for o in untraced_cycles(trial) if o.ledger.first_event_p99 is not None
    ]
    if not slowest:
        return replace(step, dwell=min(goal.dwell, 1.0)) if not trial.observations else step
    return replace(step, dwell=min(goal.dwell, max(MIN_DWELL, FIRST_EVENTS * max(slowest))))


def count_at_once(trial: Trial, goal: Goal) -> CycleSpec:
    """A cycle that counts the clients that the service serves at once: all of them stay as long as they can, whatever
    they receive."""
    size = max(1, min(goal.concurrency, goal.connections))
    step = ordinary_cycle(trial, goal, Phase.WARMUP)
    return replace(step, connections=size, concurrency=size, events=0, disconnect="fin")


def with_fewer_at_once(goal: Goal, clients: int) -> Goal:
    """The same load with fewer clients at once. The cycles have as many bursts as before, and last about as long."""
    bursts = goal.connections / max(1, goal.concurrency)
    return replace(goal, concurrency=clients, connections=max(clients, round(bursts * clients)))


def idle_control(trial: Trial, goal: Goal) -> CycleSpec:
    """A control without clients, as long as a load."""
    step = ordinary_cycle(trial, goal, Phase.IDLE)
    return replace(step, connections=0, dwell=load_seconds(trial))


def idle_reading(trial: Trial, goal: Goal) -> CycleSpec:
    """A reading of the service without clients. The intervals are short at first, so that the time of an early
    release is known to a tenth."""
    step = ordinary_cycle(trial, goal, Phase.RETENTION)
    return replace(step, connections=0, dwell=min(MAX_WAIT, max(MIN_WAIT, WAIT_SHARE * idle_seconds(trial))))


def requests_during_wait(trial: Trial, goal: Goal) -> CycleSpec:
    """Requests during a wait, as many as in an ordinary load, because some services clean up at one request in a
    hundred. They do not end the wait: what they leave behind is known from the loads before."""
    return short_dwell_cycle(trial, goal, Phase.RETENTION)


def further_requests(trial: Trial, goal: Goal) -> CycleSpec | None:
    """So many requests that a cleanup at one request in a hundred misses all of them once in a thousand runs. None if
    the service does not answer more than an ordinary load within a few seconds."""
    step = requests_during_wait(trial, goal)
    # What they leave behind themselves is known from a load that was as large, and that one was closed in order.
    step = replace(step, disconnect="fin" if goal.disconnect == "mixed" else goal.disconnect)
    fast = LAST_SECONDS * connections_per_second(trial, step.disconnect)
    size = int(min(float(MORE_REQUESTS), fast, most_connections(trial, goal)))
    return replace(step, connections=size) if size > step.connections else None


def is_load(observation: Observation) -> bool:
    """Whether clients connected, other than for a few requests during a wait."""
    return observation.ledger.opened > 0 and observation.spec.phase is not Phase.RETENTION


def idle_seconds(trial: Trial) -> float:
    """Seconds since the last client of a load disconnected."""
    left = max((o.load_ended or o.ended for o in trial.observations if is_load(o)), default=0.0)
    return trial.observations[-1].ended - left


def burst_load(trial: Trial, goal: Goal) -> CycleSpec:
    """The shortest load: one burst of clients that disconnect at once. A pool that grows with every burst is soon
    full."""
    step = short_dwell_cycle(trial, goal, Phase.LOAD)
    size = max(1, min(goal.concurrency, goal.connections))
    way = "fin" if goal.disconnect == "mixed" else goal.disconnect
    return replace(step, connections=size, concurrency=size, disconnect=way)


def longest_burst(trial: Trial, goal: Goal) -> CycleSpec:
    """The longest load: one burst of as many clients as can connect within POOL_LOAD seconds."""
    step = large_load(trial, goal, "fin" if goal.disconnect == "mixed" else None)
    size = min(
        float(MAX_CONNECTIONS),
        POOL_LOAD * connections_per_second(trial, step.disconnect),
        most_connections(trial, goal),
    )
    return replace(step, connections=max(goal.connections, int(size)), concurrency=goal.concurrency)


def half_load(trial: Trial, goal: Goal) -> CycleSpec:
    """A load half as large as an ordinary one: growth per burst of clients is the same, per stream it is half."""
    step = short_dwell_cycle(trial, goal, Phase.LOAD)
    return replace(
        step,
        connections=max(1, goal.connections // 2),
        disconnect="fin" if goal.disconnect == "mixed" else goal.disconnect,
    )


def certifying_load(trial: Trial, goal: Goal, streams: float) -> CycleSpec | None:
    """One large load that brings the answered streams to ``streams``, as far as the service's ceilings leave
    room for what it retains; None when there are enough, or no room is left for an ordinary load."""
    unjudged = (Phase.WARMUP, Phase.SEARCH)
    served = math.fsum(answered(o.ledger) for o in trial.observations if o.spec.phase not in unjudged)
    opened = math.fsum(o.ledger.opened for o in trial.observations)
    share = math.fsum(answered(o.ledger) for o in trial.observations) / opened if opened else 1.0
    room = min((_room(trial, key) for key in (Key("fds"), Key("threads"))), default=math.inf)
    room = min(ROOM_SHARE * room, _memory_room(trial), _cpu_room(trial))
    # A service that answers few streams a second gets an ordinary load, however long that takes.
    short = max(float(goal.connections), MAX_LOAD * connections_per_second(trial, "fin"))
    size = min(float(MAX_CONNECTIONS), short, room, most_connections(trial, goal))
    wanted = (streams - served) / max(MIN_SHARE, min(1.0, share + EARLY))
    if wanted <= 0 or size < goal.connections:
        return None
    step = short_dwell_cycle(trial, goal, Phase.LOAD)
    way = "fin" if goal.disconnect == "mixed" else goal.disconnect
    return replace(step, connections=int(min(size, max(wanted, goal.connections))), disconnect=way)


def most_connections(trial: Trial, goal: Goal) -> float:
    """Connections of a load that the service withstands, and at least an ordinary load."""
    return max(float(goal.connections), withstood(trial))


def _room(trial: Trial, key: Key) -> float:
    """Connections until the nearest ceiling of this metric, at the largest growth seen in a cycle."""
    ceiling = min(
        (trial.target.limits.get(name, math.inf) for name in CEILINGS.get(str(key), ())), default=math.inf
    )
    growth, level = _growth(trial, key)
    return (ceiling - level) / growth if growth > 0 and math.isfinite(ceiling) else math.inf


def _memory_room(trial: Trial) -> float:
    """Connections until the service has taken MEMORY_ROOM more bytes, at the largest growth seen in a cycle."""
    growth, _ = _growth(trial, Key("memory", "anonymous"))
    return MEMORY_ROOM / growth if growth > 0 else math.inf


def _cpu_room(trial: Trial) -> float:
    """Connections until the idle service uses CPU_ROOM cores more."""
    opened = math.fsum(o.ledger.opened for o in trial.observations[1:])
    grown = idle_work(trial)
    return max(0.0, CPU_ROOM - grown) * opened / grown if grown > 0 and opened else math.inf


def idle_work(trial: Trial) -> float:
    """Cores by which the CPU use of the idle service has grown over all cycles: one reading on a busy machine is
    noise."""
    levels = [o.levels[Key("idle-cpu")] for o in trial.observations if Key("idle-cpu") in o.levels]
    return max(0.0, levels[-1] - levels[0]) if len(levels) > 1 else 0.0


def _growth(trial: Trial, key: Key) -> tuple[float, float]:
    """The largest growth per connection of a cycle, and the last level."""
    known = [(o.levels[key], o.ledger.opened) for o in trial.observations if key in o.levels]
    rates = [(now - before) / opened for (before, _), (now, opened) in pairwise(known) if opened]
    return max([0.0, *rates]), known[-1][0] if known else 0.0


def few_streams_control(trial: Trial, goal: Goal) -> CycleSpec:
    """A control with as many streams at once, as long and with as many events as a load, but with few connections.
    Growth per cycle, per second or per event shows here too; growth per connection hardly does."""
    size = max(1, min(goal.concurrency, goal.connections))
    step = ordinary_cycle(trial, goal, Phase.ATTRIBUTION)
    return replace(step, connections=size, concurrency=size, dwell=load_seconds(trial), events=0)


def large_load(trial: Trial, goal: Goal, disconnect: str | None = None) -> CycleSpec:
    """A load cycle twice as large as the largest before, as far as it stays short."""
    step = short_dwell_cycle(trial, goal, Phase.LOAD)
    way = disconnect or goal.disconnect
    if not goal.vary:
        return step
    largest = max((o.spec.connections for o in trial.observations), default=0)
    size = min(
        MAX_CONNECTIONS,
        GROWTH * largest,
        MAX_LOAD * connections_per_second(trial, way),
        most_connections(trial, goal),
    )
    return replace(
        step,
        connections=max(goal.connections, int(size)),
        concurrency=streams_at_once(trial, goal),
        disconnect=way,
    )


def streams_at_once(trial: Trial, goal: Goal) -> int:
    """Streams open at once in the next load cycle: half as many in the third one, whatever its length. This
    distinguishes a pool that is sized by the width of a burst from growth per connection."""
    loads = sum(1 for o in trial.observations if o.spec.phase is Phase.LOAD)
    return max(1, goal.concurrency // 2) if loads == NARROW else goal.concurrency


def one_disconnect_control(trial: Trial, goal: Goal, disconnect: str) -> CycleSpec:
    """All clients disconnect in one way. Stalled readers stay for their dwell, so there are few of them."""
    step = replace(short_dwell_cycle(trial, goal, Phase.ATTRIBUTION), disconnect=disconnect)
    return replace(step, connections=max(1, goal.connections // 3)) if disconnect == "stall" else step


def more_events_control(trial: Trial, goal: Goal) -> CycleSpec:
    """Fewer connections with more events each, closed in order."""
    step = replace(ordinary_cycle(trial, goal, Phase.ATTRIBUTION), disconnect="fin")
    size = max(1, goal.connections // 2)
    return replace(step, connections=size, events=MORE_EVENTS * max(1, goal.events))


def silent_broker_control(trial: Trial, goal: Goal) -> CycleSpec:
    """A cycle in which the broker does not answer."""
    return replace(ordinary_cycle(trial, goal, Phase.ATTRIBUTION), fault="silence")


def untraced_cycles(trial: Trial) -> list[Observation]:
    """The cycles in which no allocations were traced, which slows a service."""
    return [o for o in trial.observations if o.spec.phase is not Phase.SEARCH]


def connections_per_second(trial: Trial, disconnect: str) -> float:
    """Connections per second under load, of the cycles with this way to disconnect, else of all."""
    loads = [o for o in untraced_cycles(trial) if is_load(o) and o.ledger.seconds > 0 and o.spec.events]
    fewest = min((o.spec.events for o in loads), default=0)
    loads = [o for o in loads if o.spec.events == fewest]
    alike = [o for o in loads if o.spec.disconnect == disconnect] or loads
    rates = [o.ledger.opened / o.ledger.seconds for o in alike[-3:]]
    return min(rates) if rates else math.inf


def load_seconds(trial: Trial) -> float:
    """Seconds that the last two loads took on average: a control is as long, within reason."""
    lengths = [
        _seconds(o)
        for o in trial.observations
        if o.spec.connections and o.spec.phase not in (Phase.ATTRIBUTION, Phase.HOLD)
    ]
    last = lengths[-2:]
    return min(MAX_CONTROL, max(0.5, math.fsum(last) / len(last))) if last else 1.0


def _seconds(observation: Observation) -> float:
    ended = observation.load_ended if observation.load_ended is not None else observation.ended
    return ended - observation.started


def elapsed_seconds(trial: Trial) -> float:
    """Seconds from the first cycle's start to the last one's end."""
    seen = trial.observations
    return seen[-1].ended - seen[0].started if seen else 0.0


def spent_seconds(trial: Trial) -> float:
    """Seconds from the trial's start to the last cycle's end. --max-time covers the start of the service too."""
    seen = trial.observations
    return seen[-1].ended - min(trial.started, seen[0].started) if seen else 0.0


def expected_seconds(seen: Sequence[Observation], step: CycleSpec) -> float:
    """Seconds that a cycle will take: as long as the longest of the last cycles, or its dwell where it waits for
    that."""
    seen = [o for o in seen if o.spec.phase is not Phase.SEARCH] or seen
    # A hold lasts as long as its own dwell, which says nothing of the length of a load or of another hold.
    held = [o for o in seen if o.spec.phase is Phase.HOLD]
    if held and step.phase is Phase.HOLD:
        return step.dwell + max(0.0, *(o.ended - o.started - o.spec.dwell for o in held))
    seen = [o for o in seen if o.spec.phase is not Phase.HOLD] or seen
    rests = [o.ended - o.load_ended for o in seen[-4:] if o.load_ended is not None]
    waits = step.dwell + max(rests, default=0.0) if step.connections == 0 or step.events == 0 else 0.0
    return max(longest_cycle_seconds(seen), waits)


def longest_cycle_seconds(seen: Sequence[Observation]) -> float:
    """Seconds of the longest of the last cycles, settling included."""
    return max((o.ended - o.started for o in seen[-4:]), default=0.0)
