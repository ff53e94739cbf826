"""Simulated services: their levels under the cycles of a plan. Every figure is a random draw of
a seeded generator; the shapes are those of real servers (docs/detector.md)."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bench._clock import STEP, Clocked, CycleSums, Load
from harness.core.budget import Budget
from harness.core.cycle import BrokerCount, CycleSpec, Ledger, Observation, Phase, Reading
from harness.core.metric import Key
from harness.core.plan import Goal, Stop, next_step
from harness.core.quiescence import Quiescent, Settling, Tracker
from harness.core.record import TargetInfo, Trial

FDS = Key("fds")
THREADS = Key("threads")
MEMORY = Key("memory", "anonymous")
OBJECTS = Key("memory", "objects")
IDLE_CPU = Key("idle-cpu")
MODES = ("fin", "rst", "rst-early", "half-close", "stall")
SETTLE = 1.0  # seconds without change that make a level, as a guard's default
LAG = 0.05  # seconds that the last close takes
TIMEOUT = 30.0  # seconds after which a guard gives up waiting for a level
PAUSE = 0.6  # seconds from one cycle's level to the next load: the census, runtime counters, a checkpoint
RETENTION = 60.0  # seconds, as a guard's default
LONGER = 300.0  # seconds, as of --max-time 5m
HOLD = 5.0  # seconds of the first hold cycle, as a guard's default
READ_EVERY = 0.5  # seconds between two readings of a hold cycle
PACE = 800.0  # connections a second that a small server answers
TICK = 0.1  # seconds between two events of a stream
MIB = float(1 << 20)
FEW_THREADS, FEW_FDS = 4.0, 12.0


def poisson(rng: random.Random, mean: float) -> int:
    """A Poisson draw (Knuth for small means, the normal limit for large ones)."""
    if mean <= 0:
        return 0
    if mean > 60:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    limit, count, product = math.exp(-mean), 0, rng.random()
    while product > limit:
        count += 1
        product *= rng.random()
    return count


Level = Callable[[CycleSums, random.Random], float]
"""One simulated count that knows no time: called once per cycle, in order, it returns the level then. It may
keep state."""
Make = Callable[[random.Random], Level]
"""Starts a service of one kind afresh."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of series. make: a fresh service. leaks: the driver that the judge must name (None: it is healthy). true:
    a driver that the judge may name although it need not (a slow drift over time). rate: true units per unit of the
    driver; nan where it is not defined. others: drivers that are right as well. held_back: its constants and seeds were
    never used for tuning. longer: two minutes are not always enough for it, so it is run with LONGER seconds as well.
    pace: connections a second that the service answers. runtime: as the harness would recognise it."""

    name: str
    make: Callable[[random.Random], Level | Clocked]
    leaks: str | None = None
    rate: float = math.nan
    key: Key = FDS
    goal: Goal = field(default_factory=lambda: GOAL)
    budget: Budget = field(default_factory=Budget)
    true: str | None = None
    others: tuple[str, ...] = ()
    held_back: bool = False
    longer: bool = False
    pace: float = PACE
    runtime: str = "native"


def known(cls: type, **fields: Any) -> dict[str, Any]:
    """Those of ``fields`` that this version of a record or goal has."""
    return {name: value for name, value in fields.items() if name in cls.__dataclass_fields__}  # type: ignore[attr-defined]


GOAL: Goal = Goal(
    connections=300, concurrency=50, dwell=2.0, paths=("/",), disconnect="mixed", cycles=60, max_seconds=120.0,
    hold=HOLD, **known(Goal, retention=RETENTION),
)  # fmt: skip


@dataclass(slots=True)
class SimulatedService:
    """One simulated service under load: it turns the specification of a cycle into an observation.

    idle_counts: the readings of the hot lane without clients in the last cycle, a row for each change."""

    kind: Kind
    rng: random.Random
    at: float = 0.0
    total: int = 0
    last: Mapping[Key, float] = field(default_factory=dict)  # levels of the last cycle
    idle_counts: tuple[tuple[float, float, float], ...] = ()  # seconds since the run's start, fds, threads
    service: Level | Clocked = field(init=False)

    def __post_init__(self) -> None:
        self.service = self.kind.make(self.rng)

    def initial(self) -> Mapping[Key, float]:
        """The levels before the first client."""
        if isinstance(self.service, Clocked):
            return self._levels(self.service.level(0.0))
        return {}

    def cycle(self, step: CycleSpec) -> Observation:
        """Run one cycle."""
        did, ledger = self._load(step)
        self.total = did.total
        ended = self.at + ledger.seconds
        if isinstance(self.service, Clocked):
            seen = self._clocked(step, did, ledger, self.service)
        else:
            held = self._connected(step, ledger)
            levels = self._levels(self.service(did, self.rng))
            seen = Observation(step, ledger, levels, self.at, ended + LAG + SETTLE, ended, connected=held)
        self.last = seen.levels
        if self.kind.goal.broker:
            count = BrokerCount(5, 5, did.connections, did.connections - did.unanswered, did.unanswered)
            seen = replace(seen, broker=count)
        self.at = seen.ended + PAUSE
        return seen

    def _clocked(self, step: CycleSpec, did: CycleSums, ledger: Ledger, service: Clocked) -> Observation:
        started, left = self.at, self.at + ledger.seconds
        counts: list[tuple[float, float, float]] = []

        def read(at: float) -> dict[str, float]:
            levels = self._levels(service.level(at))
            fds, threads = levels.get(FDS, FEW_FDS), levels.get(THREADS, FEW_THREADS)
            if not counts or counts[-1][1:] != (fds, threads):
                counts.append((at, fds, threads))
            return {"fds": fds, "threads": threads}

        held = self._connected(step, ledger)
        if step.connections:
            service.serve(Load(did, started, left, min(step.concurrency, step.connections)), self.rng)
            now = left
        else:
            now = started
            while now < left - STEP / 2:
                read(now)
                now += STEP
            service.serve(Load(did, started, left, 0), self.rng)
        tracker = Tracker(left, SETTLE, TIMEOUT, accept_falling=True)
        state = tracker.feed(now, read(now))
        while isinstance(state, Settling):
            now += STEP
            state = tracker.feed(now, read(now))
        settled = isinstance(state, Quiescent)
        moving = state.fluctuating if isinstance(state, Quiescent) else state.moving
        lag = state.lag if isinstance(state, Quiescent) else now - left
        levels = self._levels(service.level(now))
        self.idle_counts = tuple(counts)
        more = known(Observation, idle_counts=self.idle_counts)
        return Observation(
            step, ledger, levels, started, now, left, settled=settled, unsettled=moving,
            close_lag=lag if step.connections else 0.0, connected=held, **more,
        )  # fmt: skip

    def _connected(self, step: CycleSpec, ledger: Ledger) -> tuple[Reading, ...]:
        """The readings of a hold cycle. A level that does not depend on time stays constant."""
        if step.phase is not Phase.HOLD:
            return ()
        clients = step.connections
        readings = []
        for index in range(int(ledger.seconds / READ_EVERY)):
            at = self.at + index * READ_EVERY
            levels = dict(self.last)
            if isinstance(self.service, Clocked):
                levels = self._levels(self.service.level(at))
                stalled = min(step.stalled, clients)
                levels[self.kind.key] += self.service.connected(at - self.at, clients - stalled, stalled)
            levels[FDS] = levels.get(FDS, FEW_FDS) + clients
            readings.append(Reading(at, levels))
        return tuple(readings)

    def _levels(self, level: float) -> dict[Key, float]:
        levels = {self.kind.key: level}
        if self.kind.key != FDS:
            levels[FDS] = FEW_FDS
        return levels

    def _load(self, spec: CycleSpec) -> tuple[CycleSums, Ledger]:
        """The ledger that the swarm would return for a cycle."""
        n, rng = spec.connections, self.rng
        if not n:
            seconds = spec.dwell
            idle = Ledger(seconds=seconds, answered=0)
            return CycleSums(spec.index, 0, 0, 0, 0, 0, seconds + LAG + SETTLE + PAUSE, self.total), idle
        modes = MODES if spec.disconnect == "mixed" else (spec.disconnect,)
        by_mode = {mode: n // len(modes) + (i < n % len(modes)) for i, mode in enumerate(modes)}
        stalls, early = by_mode.get("stall", 0), by_mode.get("rst-early", 0)
        each = max(1, int(spec.dwell / TICK))
        wanted = min(spec.events, each) if spec.events else each
        asked = n - early
        answered = asked
        if isinstance(self.service, Clocked):
            answered = self.service.accepts(asked, rng)
        served = answered / asked if asked else 0.0
        events = round(max(0, n - stalls - early - spec.stalled) * served) * wanted
        life = (n - stalls) * (wanted - 1) * TICK + stalls * spec.dwell
        if not spec.events:
            life = n * spec.dwell
        life *= served
        seconds = max(n / self.kind.pace, life / max(1, spec.concurrency)) * rng.uniform(0.95, 1.1)
        if spec.phase is Phase.HOLD:
            seconds = spec.dwell
        aborts = n - by_mode.get("fin", 0)
        ledger = Ledger(
            opened=n, completed=answered + early, events=events, aborts=aborts, seconds=seconds, by_mode=by_mode,
            first_event_p50=0.01, first_event_p99=0.05, stream_seconds=life, answered=answered, reset=early,
            answered_by_mode={
                mode: round(count * served) for mode, count in by_mode.items() if mode != "rst-early"
            },
            peak=min(n, spec.concurrency),
        )  # fmt: skip
        if answered < asked:
            ledger = self._refused(ledger, asked - answered)
        unanswered = n if spec.fault else 0
        did = CycleSums(
            spec.index, n, events, aborts - stalls, stalls, unanswered, seconds + LAG + SETTLE + PAUSE, self.total + n,
            early, stalls + by_mode.get("rst", 0) + early, answered,
        )  # fmt: skip
        return did, ledger

    def _refused(self, ledger: Ledger, refused: int) -> Ledger:
        """The same load with some requests refused: by a rate limit throughout, or from some moment on for good."""
        assert isinstance(self.service, Clocked)
        status = self.service.refusal()
        limited = status in (429, 503)
        cause = f"rate-limited-{status}" if limited else f"status-{status}"
        before = 0 if limited else ledger.opened - refused
        after = (ledger.answered or 0) if limited else 0
        return replace(
            ledger, failed=refused, refused=refused, statuses={status: refused},
            causes={cause: refused}, rate_limited=refused if limited else 0,
            first_failure=cause, opened_before_failure=before, answered_after_failure=after,
        )  # fmt: skip


def run(kind: Kind, seed: int, *, sensitivity: float = 1e-3) -> Trial:
    """Run one simulated service under the plan until the plan stops."""
    world = SimulatedService(kind, random.Random(seed))
    initial = known(Trial, initial=world.initial(), retention=getattr(kind.goal, "retention", 0.0))
    trial = Trial(
        "simulated", TargetInfo(None, "", 1, kind.runtime), kind.budget, sensitivity=sensitivity, **initial
    )
    while True:
        step = next_step(trial, kind.goal)
        if isinstance(step, Stop):
            ended = trial.observations[-1].ended if trial.observations else 0.0
            return replace(trial, ended=ended, notes=(step.reason,))
        trial = replace(trial, observations=(*trial.observations, world.cycle(step)))


def trace(kind: Kind, seed: int, *, cycles: int, connections: int) -> list[float]:
    """The levels of the same service under equal cycles without a plan, as the other rules are used. A broker does not
    answer in every third cycle, as under the plan."""
    world = SimulatedService(kind, random.Random(seed))
    found = []
    for index in range(cycles):
        fault = "silence" if kind.goal.broker and index % 3 == 2 else ""
        spec = CycleSpec(index, connections, 50, 0.3, disconnect="mixed", fault=fault)
        found.append(world.cycle(spec).levels[kind.key])
    return found
