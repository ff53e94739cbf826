"""The healthy and the leaking kinds of series on which every rule is measured."""

from __future__ import annotations

import json
import math
import random
from bisect import bisect_left
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

from bench._services import GOAL, IDLE_CPU, MEMORY, MIB, OBJECTS, Did, Kind, Level, poisson
from harness.core.metric import Key

TRACES = Path(__file__).parent / "traces"


def _plus(*parts: Level) -> Level:
    return lambda did, rng: math.fsum(part(did, rng) for part in parts)


def constant(rng: random.Random) -> Level:
    base = float(rng.randint(5, 60))
    return lambda did, rng: base


def jitter(rng: random.Random) -> Level:
    return lambda did, rng: 20.0 + rng.choice((-1, 0, 0, 1))


def remembering(sigma: float, rho: float = 0.7) -> object:
    """Noise that remembers: AR(1), rounded."""

    def make(rng: random.Random) -> Level:
        state = [rng.gauss(0, sigma)]

        def level(did: Did, rng: random.Random) -> float:
            state[0] = rho * state[0] + rng.gauss(0, sigma * math.sqrt(1 - rho * rho))
            return float(round(40 + state[0]))

        return level

    return make


def pool(slots: int, per_cycle: float, chance: float = 1.0) -> object:
    """A pool that takes so many slots in a cycle with clients, with this chance, until it is full."""

    def make(rng: random.Random) -> Level:
        held = [0.0]

        def level(did: Did, rng: random.Random) -> float:
            if did.connections and rng.random() < chance:
                held[0] = min(slots, held[0] + per_cycle)
            return 10 + held[0]

        return level

    return make


def ragged(slots: int, least: int, most: int, chance: float) -> object:
    """The same, but never twice by the same number."""

    def make(rng: random.Random) -> Level:
        held = [0]

        def level(did: Did, rng: random.Random) -> float:
            if did.connections and rng.random() < chance:
                held[0] = min(slots, held[0] + rng.randint(least, most))
            return 10.0 + held[0]

        return level

    return make


def cache(slots: int, base: object = constant) -> object:
    """One entry a connection until it is full."""

    def make(rng: random.Random) -> Level:
        below: Level = base(rng)  # type: ignore[operator]
        return lambda did, rng: below(did, rng) + min(slots, did.total)

    return make


def drift(per_second: float) -> object:
    """Grows by the clock, with or without clients."""

    def make(rng: random.Random) -> Level:
        held = [0]

        def level(did: Did, rng: random.Random) -> float:
            held[0] += poisson(rng, per_second * did.seconds)
            return 10.0 + held[0]

        return level

    return make


def lazy(size: int) -> object:
    """Opened on first use, some time within the first 20 cycles."""

    def make(rng: random.Random) -> Level:
        when = rng.randint(0, 19)
        return lambda did, rng: 10.0 + (size if did.cycle >= when else 0)

    return make


def sawtooth(height: int, period: int) -> object:
    """Collected from time to time."""

    def make(rng: random.Random) -> Level:
        start = rng.randint(0, period - 1)
        return lambda did, rng: 10.0 + height * ((did.cycle + start) % period) / period

    return make


def late_close(rng: random.Random) -> Level:
    """Now and then a few are closed only after the level was read."""
    return lambda did, rng: 12.0 + (rng.randint(1, 5) if rng.random() < 0.15 else 0)


def thread_pool(cap: int) -> object:
    """Grows with the load it meets until its cap."""

    def make(rng: random.Random) -> Level:
        held = [0]

        def level(did: Did, rng: random.Random) -> float:
            if did.connections:
                held[0] = min(cap, held[0] + poisson(rng, (cap - held[0]) * 0.5))
            return 3.0 + held[0]

        return level

    return make


def leak(
    rate: float, factor: str = "connections", *, clockwork: bool = False, base: object = constant
) -> object:
    """``rate`` units per unit of a factor of Did, on top of a healthy service."""

    def make(rng: random.Random) -> Level:
        held = [0.0]
        below: Level = base(rng)  # type: ignore[operator]

        def level(did: Did, rng: random.Random) -> float:
            mean = rate * float(getattr(did, factor))
            held[0] += mean if clockwork else poisson(rng, mean)
            return below(did, rng) + math.floor(held[0])

        return level

    return make


# --- memory, in bytes -------------------------------------------------------------------------------------


def staircase(per_connection: float, until: int, arena: float = MIB) -> object:
    """An allocator takes whole arenas while the service warms up over so many connections, then rests."""

    def make(rng: random.Random) -> Level:
        start = rng.random() * arena
        ends = until * rng.uniform(0.7, 1.1)

        def level(did: Did, rng: random.Random) -> float:
            used = start + per_connection * min(did.total, ends)
            return 20 * MIB + math.floor(used / arena) * arena + rng.choice((0, 0, 0, 1, 2, 5)) * 4096

        return level

    return make


def collected(height: float, period: int) -> object:
    """A garbage-collected heap: rises and falls."""

    def make(rng: random.Random) -> Level:
        start = rng.randint(0, period - 1)
        return lambda did, rng: (
            60 * MIB + height * ((did.cycle + start) % period) / period + rng.uniform(0, 0.1) * MIB
        )

    return make


def compiled(size: float, connections: float) -> object:
    """A JIT runtime: steep at first, less and less."""
    return lambda rng: (
        lambda did, rng: 40 * MIB + size * (1 - math.exp(-did.total / connections)) + rng.gauss(0, 30e3)
    )


def creeping(rng: random.Random) -> Level:
    """Pages that come and go: a few in half of the cycles."""
    held = [0.0]

    def level(did: Did, rng: random.Random) -> float:
        if rng.random() < 0.5:
            held[0] += rng.choice((-8, -4, 4, 4, 8, 20)) * 4096
        return 30 * MIB + held[0]

    return level


def leaked_bytes(per_connection: float, base: object, reuse: float = 0.3) -> object:
    """Bytes kept per connection, of which an allocator finds room for some in what it holds already."""

    def make(rng: random.Random) -> Level:
        below: Level = base(rng)  # type: ignore[operator]
        room = [2 * MIB * rng.random(), 0.0]

        def level(did: Did, rng: random.Random) -> float:
            need = per_connection * did.connections * rng.uniform(0.97, 1.03)
            if rng.random() < 0.2:
                room[0] += reuse * MIB * rng.random()
            found = min(room[0], need)
            room[0] -= found
            room[1] += need - found
            return below(did, rng) + math.floor(room[1] / 4096) * 4096

        return level

    return make


def recorded(name: str, key: Key = MEMORY) -> object:
    """A real server's level as recorded over its connections (bench/traces), begun somewhere in its first
    cycles; past the end its second half again, from a random place."""
    rows = json.loads((TRACES / f"{name}.json").read_text())
    levels = rows["levels"][str(key)]
    done = [float(n) for n in accumulate(rows["connections"])]

    def at(total: float) -> float:
        index = max(1, min(bisect_left(done, total), len(done) - 1))
        share = min(1.0, max(0.0, (total - done[index - 1]) / (done[index] - done[index - 1])))
        return float(levels[index - 1] + share * (levels[index] - levels[index - 1]))

    def make(rng: random.Random) -> Level:
        place, held = [done[0] + rng.random() * 900], [float(levels[0])]

        def level(did: Did, rng: random.Random) -> float:
            left = float(did.connections)
            while left > 0:
                if place[0] >= done[-1]:
                    place[0] = rng.uniform(done[-1] / 2, done[-1] * 0.95)
                step = min(left, done[-1] - place[0])
                held[0] += at(place[0] + step) - at(place[0])
                place[0] += step
                left -= step
            return float(round(held[0]))

        return level

    return make


# --- runtime counters and CPU at rest ---------------------------------------------------------------------


def counter(noise: float, per_reading: float) -> object:
    """Live objects after a collection: the reading adds its own, and a little noise."""

    def make(rng: random.Random) -> Level:
        reading = [0]

        def level(did: Did, rng: random.Random) -> float:
            reading[0] += 1
            return 50_000.0 + per_reading * reading[0] + round(rng.gauss(0, noise))

        return level

    return make


def resting(noise: float) -> object:
    """CPU used without clients, in cores."""
    return lambda rng: lambda did, rng: max(0.0, 0.004 + abs(rng.gauss(0, noise)))


def busy(per_connection: float, noise: float) -> object:
    """A watcher left behind by each connection costs CPU for ever."""
    return lambda rng: (
        lambda did, rng: max(0.0, 0.004 + per_connection * did.total + abs(rng.gauss(0, noise)))
    )


RECORDED = sorted(path.stem for path in TRACES.glob("*.json"))
LONG = replace(GOAL, max_seconds=180.0)
BROKER = replace(GOAL, broker=True)
THREADS = Key("threads")

HEALTHY_COUNTS = (
    Kind("constant", constant),
    Kind("jitter ±1", jitter),
    Kind("AR(0.7), σ 1", remembering(1.0)),
    Kind("AR(0.7), σ 2", remembering(2.0)),
    Kind("pool of 64, filled in 4 cycles", pool(64, 16)),
    Kind("pool of 32, one a cycle", pool(32, 1)),
    Kind("pool of 32, one in two cycles", pool(32, 1, 0.5)),
    Kind("pool of 60, in chunks of 10", pool(60, 10, 0.3)),
    Kind("pool of 60, in chunks of 5 to 15", ragged(60, 5, 15, 0.3)),
    Kind("cache of 1,000", cache(1000)),
    Kind("thread pool of 40", thread_pool(40), key=THREADS),
    Kind("drift by the clock, 0.1/s", drift(0.1), true="time"),
    Kind("opened on first use", lazy(5)),
    Kind("late closes", late_close),
    Kind("sawtooth of 12", sawtooth(12, 8)),
)
LEAKING_COUNTS = (
    Kind("2 per connection", leak(2.0, clockwork=True), "connection", 2.0),
    Kind("1 per 2 connections", leak(0.5), "connection", 0.5),
    Kind("1 per 10", leak(0.1), "connection", 0.1),
    Kind("1 per 100", leak(0.01), "connection", 0.01),
    Kind("1 per 500", leak(0.002), "connection", 0.002),
    Kind("1 per 1,000", leak(0.001), "connection", 0.001),
    Kind("1 per 500 + jitter ±1", leak(0.002, base=jitter), "connection", 0.002),
    Kind("1 per 1,000 + jitter ±1", leak(0.001, base=jitter), "connection", 0.001),
    Kind("1 per 100 + AR(0.7), σ 2", leak(0.01, base=remembering(2.0)), "connection", 0.01),
    Kind("1 per aborted stream", leak(1.0, "aborts", clockwork=True), "abort", 1.0),
    Kind("1 per 10 aborts", leak(0.1, "aborts"), "abort", 0.1),
    Kind("1 per request reset early", leak(1.0, "early", clockwork=True), "abort", 1.0),
    Kind("1 per stream that was reset", leak(1.0, "resets", clockwork=True), "abort", 1.0),
    Kind("1 per event", leak(1.0, "events", clockwork=True), "event", 1.0),
    Kind("1 per 10 events", leak(0.1, "events"), "event", 0.1),
    Kind("1 per stalled reader", leak(1.0, "stalls", clockwork=True), "slow-reader", 1.0),
    Kind("1 per broker timeout", leak(1.0, "unanswered", clockwork=True), "broker-timeout", 1.0, goal=BROKER),
    Kind("1 a second", leak(1.0, "seconds"), "time", 1.0),
)
HEALTHY_MEMORY = (
    Kind("staircase, 1 kB/connection to 7,800", staircase(1024, 7800), key=MEMORY, goal=LONG),
    Kind("staircase, 3 kB/connection to 6,000", staircase(3072, 6000, 256 * 1024.0), key=MEMORY, goal=LONG),
    Kind("collected heap", collected(24 * MIB, 7), key=MEMORY, goal=LONG),
    Kind("JIT warm-up", compiled(40 * MIB, 1000), key=MEMORY, goal=LONG),
    Kind("slow JIT warm-up", compiled(40 * MIB, 4000), key=MEMORY, goal=LONG),
    Kind("pages that come and go", creeping, key=MEMORY, goal=LONG),
    *(Kind(f"recorded: {name}", recorded(name), key=MEMORY, goal=LONG) for name in RECORDED),
    Kind("objects: reading's own 4", counter(1.5, 4.0), key=OBJECTS),
    Kind("objects: noise ±60", counter(30.0, 0.0), key=OBJECTS),
    Kind("objects: cache of 2,000", cache(2000, counter(1.5, 4.0)), key=OBJECTS),
    Kind("idle CPU ±0.5 %", resting(0.005), key=IDLE_CPU),
)
LEAKING_MEMORY = (
    Kind("1 kB/connection", leaked_bytes(1024, creeping), "connection", 1024.0, key=MEMORY, goal=LONG),
    Kind("1 kB/connection on a staircase", leaked_bytes(1024, staircase(1024, 7800)), "connection", 1024.0,
         key=MEMORY, goal=LONG),
    Kind("1 kB/connection on recorded asyncio", leaked_bytes(1024, recorded("asyncio")), "connection", 1024.0,
         key=MEMORY, goal=LONG),
    Kind("1 kB/connection on recorded node", leaked_bytes(1024, recorded("node")), "connection", 1024.0,
         key=MEMORY, goal=LONG),
    Kind("4 kB/connection", leaked_bytes(4096, creeping), "connection", 4096.0, key=MEMORY, goal=LONG),
    Kind("50 kB/connection", leaked_bytes(51200, creeping), "connection", 51200.0, key=MEMORY, goal=LONG),
    Kind("1 object per connection", leak(1.0, base=counter(1.5, 4.0), clockwork=True), "connection", 1.0, key=OBJECTS),
    Kind("1 object per 100", leak(0.01, base=counter(1.5, 4.0)), "connection", 0.01, key=OBJECTS),
    Kind("idle CPU 1 % per 1,000", busy(1e-5, 0.005), "connection", 1e-5, key=IDLE_CPU),
)  # fmt: skip
