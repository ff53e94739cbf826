"""Simulated services: what a level does under the cycles a plan asks for. Every figure is a random draw of
a seeded generator; the shapes are those of real servers (docs/detector.md)."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from harness.core.budget import Budget
from harness.core.cycle import BrokerCount, CycleSpec, Ledger, Observation
from harness.core.metric import Key
from harness.core.plan import Goal, Stop, next_step
from harness.core.record import TargetInfo, Trial

FDS = Key("fds")
MEMORY = Key("memory", "anonymous")
OBJECTS = Key("memory", "objects")
IDLE_CPU = Key("idle-cpu")
MODES = ("fin", "rst", "rst-early", "half-close", "stall")
SETTLE = 1.3  # seconds of quiet after each load
PACE = 800.0  # connections a second that a small server answers
TICK = 0.1  # seconds between two events of a stream
MIB = float(1 << 20)


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


@dataclass(frozen=True, slots=True)
class Did:
    """What one cycle did. cycle: its number; seconds: quiet included."""

    cycle: int
    connections: int
    events: int
    aborts: int
    stalls: int
    unanswered: int
    seconds: float
    total: int  # connections so far
    early: int = 0  # requests reset before their answer
    resets: int = 0  # every stream that ended by a reset, stalled readers included


Level = Callable[[Did, random.Random], float]
"""One simulated count: called once per cycle, in order, it returns the level then. It may keep state."""
Make = Callable[[random.Random], Level]
"""Starts a service of one kind afresh."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of series. make: a fresh service. leaks: what must be said of it (None: nothing).
    true: a driver that may be named although nothing need be said (a slow drift by the clock).
    rate: true units per unit of the driver; nan where it is not defined."""

    name: str
    make: Make
    leaks: str | None = None
    rate: float = math.nan
    key: Key = FDS
    goal: Goal = field(default_factory=lambda: GOAL)
    budget: Budget = field(default_factory=Budget)
    true: str | None = None


GOAL: Goal = Goal(
    connections=300, concurrency=50, dwell=2.0, paths=("/",), disconnect="mixed", cycles=60, max_seconds=120.0
)


def did(spec: CycleSpec, total: int, rng: random.Random) -> tuple[Did, Ledger]:
    """What the swarm would count in a cycle."""
    n = spec.connections
    if not n:
        seconds = spec.dwell
        return Did(spec.index, 0, 0, 0, 0, 0, seconds + SETTLE, total), Ledger(seconds=seconds)
    modes = MODES if spec.disconnect == "mixed" else (spec.disconnect,)
    by_mode = {mode: n // len(modes) + (i < n % len(modes)) for i, mode in enumerate(modes)}
    stalls = by_mode.get("stall", 0)
    each = max(1, int(spec.dwell / TICK))
    wanted = min(spec.events, each) if spec.events else each
    events = (n - stalls - by_mode.get("rst-early", 0)) * wanted
    life = (n - stalls) * (wanted - 1) * TICK + stalls * spec.dwell
    if not spec.events:
        life = n * spec.dwell
    seconds = max(n / PACE, life / max(1, spec.concurrency)) * rng.uniform(0.95, 1.1)
    aborts = n - by_mode.get("fin", 0)
    unanswered = n if spec.fault else 0
    ledger = Ledger(
        opened=n, completed=n, events=events, aborts=aborts, seconds=seconds, by_mode=by_mode,
        first_event_p50=0.01, first_event_p99=0.05,
    )  # fmt: skip
    return Did(
        spec.index, n, events, aborts - stalls, stalls, unanswered, seconds + SETTLE, total + n,
        by_mode.get("rst-early", 0), stalls + by_mode.get("rst", 0) + by_mode.get("rst-early", 0),
    ), ledger  # fmt: skip


def run(kind: Kind, seed: int, *, sensitivity: float = 1e-3) -> Trial:
    """Let the plan drive one simulated service to its end."""
    rng = random.Random(seed)
    level = kind.make(rng)
    trial = Trial("simulated", TargetInfo(None, "", 1), kind.budget, sensitivity=sensitivity)
    at, total = 0.0, 0
    while True:
        step = next_step(trial, kind.goal)
        if isinstance(step, Stop):
            return replace(trial, ended=at, notes=(step.reason,))
        done, ledger = did(step, total, rng)
        total = done.total
        levels = {kind.key: level(done, rng)}
        if kind.key != FDS:
            levels[FDS] = 12.0
        seen = Observation(
            step, ledger, levels, at, at + done.seconds, at + ledger.seconds,
            broker=BrokerCount(5, 5, done.connections, done.connections - done.unanswered, done.unanswered)
            if kind.goal.broker
            else None,
        )  # fmt: skip
        at += done.seconds
        trial = replace(trial, observations=(*trial.observations, seen))


def trace(kind: Kind, seed: int, *, cycles: int, connections: int) -> list[float]:
    """The same service under equal cycles without a plan, as the other rules are used: levels per cycle. Where
    there is a broker it falls silent in every third cycle, as under the plan."""
    rng = random.Random(seed)
    level = kind.make(rng)
    total, found = 0, []
    for index in range(cycles):
        fault = "silence" if kind.goal.broker and index % 3 == 2 else ""
        spec = CycleSpec(index, connections, 50, 0.3, disconnect="mixed", fault=fault)
        done, _ = did(spec, total, rng)
        total = done.total
        found.append(level(done, rng))
    return found
