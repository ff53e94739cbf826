"""Counts of simulated services: healthy ones, and leaks added to one. Each function makes the level of a service."""

from __future__ import annotations

import math
import random

from bench._clock import CycleSums
from bench._services import Level, Make, poisson


def constant(rng: random.Random) -> Level:
    base = float(rng.randint(5, 60))
    return lambda did, rng: base


def jitter(rng: random.Random) -> Level:
    return lambda did, rng: 20.0 + rng.choice((-1, 0, 0, 1))


def remembering(sigma: float, rho: float = 0.7) -> Make:
    """Autocorrelated noise (AR(1)), rounded."""

    def make(rng: random.Random) -> Level:
        state = [rng.gauss(0, sigma)]

        def level(did: CycleSums, rng: random.Random) -> float:
            state[0] = rho * state[0] + rng.gauss(0, sigma * math.sqrt(1 - rho * rho))
            return float(round(40 + state[0]))

        return level

    return make


def pool(slots: int, per_cycle: float, chance: float = 1.0) -> Make:
    """A pool that takes a number of slots in each cycle with clients, with a given probability, until it is full."""

    def make(rng: random.Random) -> Level:
        held = [0.0]

        def level(did: CycleSums, rng: random.Random) -> float:
            if did.connections and rng.random() < chance:
                held[0] = min(slots, held[0] + per_cycle)
            return 10 + held[0]

        return level

    return make


def pool_of_uneven_bursts(slots: int, least: int, most: int, chance: float) -> Make:
    """The same pool, which never takes the same number twice in a row."""

    def make(rng: random.Random) -> Level:
        held = [0]

        def level(did: CycleSums, rng: random.Random) -> float:
            if did.connections and rng.random() < chance:
                held[0] = min(slots, held[0] + rng.randint(least, most))
            return 10.0 + held[0]

        return level

    return make


def nothing(rng: random.Random) -> Level:
    """No level of its own, for a shape beside others."""
    return lambda did, rng: 0.0


def cache(slots: int, base: Make = constant) -> Make:
    """One entry a connection until it is full."""

    def make(rng: random.Random) -> Level:
        below: Level = base(rng)
        return lambda did, rng: below(did, rng) + min(slots, did.total)

    return make


def drift(per_second: float) -> Make:
    """Growth over time, with or without clients."""

    def make(rng: random.Random) -> Level:
        held = [0]

        def level(did: CycleSums, rng: random.Random) -> float:
            held[0] += poisson(rng, per_second * did.seconds)
            return 10.0 + held[0]

        return level

    return make


def lazy(size: int) -> Make:
    """Opened on first use, some time within the first 20 cycles."""

    def make(rng: random.Random) -> Level:
        when = rng.randint(0, 19)
        return lambda did, rng: 10.0 + (size if did.cycle >= when else 0)

    return make


def sawtooth(height: int, period: int) -> Make:
    """Collected from time to time."""

    def make(rng: random.Random) -> Level:
        start = rng.randint(0, period - 1)
        return lambda did, rng: 10.0 + height * ((did.cycle + start) % period) / period

    return make


def late_close(rng: random.Random) -> Level:
    """Now and then a few are closed only after the level was read."""
    return lambda did, rng: 12.0 + (rng.randint(1, 5) if rng.random() < 0.15 else 0)


def thread_pool(cap: int) -> Make:
    """A pool that grows with the load up to its cap."""

    def make(rng: random.Random) -> Level:
        held = [0]

        def level(did: CycleSums, rng: random.Random) -> float:
            if did.connections:
                held[0] = min(cap, held[0] + poisson(rng, (cap - held[0]) * 0.5))
            return 3.0 + held[0]

        return level

    return make


def leak(rate: float, factor: str = "connections", *, clockwork: bool = False, base: Make = constant) -> Make:
    """``rate`` units per unit of a factor of CycleSums, on top of a healthy service."""

    def make(rng: random.Random) -> Level:
        held = [0.0]
        below: Level = base(rng)

        def level(did: CycleSums, rng: random.Random) -> float:
            mean = rate * float(getattr(did, factor))
            held[0] += mean if clockwork else poisson(rng, mean)
            return below(did, rng) + math.floor(held[0])

        return level

    return make


# --- runtime counters and idle CPU -------------------------------------------------------------------------


def counter(noise: float, per_reading: float) -> Make:
    """Live objects after a collection: the reading adds its own, and a little noise."""

    def make(rng: random.Random) -> Level:
        reading = [0]

        def level(did: CycleSums, rng: random.Random) -> float:
            reading[0] += 1
            return 50_000.0 + per_reading * reading[0] + round(rng.gauss(0, noise))

        return level

    return make


def reused(size: float, streams: float, buffers: float, alone: float = 0.0) -> Make:
    """Live objects of a JVM: its pools and caches fill over a number of streams, and a large load needs buffers that
    are collected when a few streams use them again (Jetty: 3,000 over 3,000 streams, and 120 to 2,300 after loads of
    1,000 to 10,000). alone: the chance that they are collected before the next reading if no client comes."""

    def make(rng: random.Random) -> Level:
        held = [0.0]

        def level(did: CycleSums, rng: random.Random) -> float:
            if did.connections >= 500:
                held[0] = max(held[0], rng.expovariate(1 / buffers))
            elif did.connections or rng.random() < alone:
                held[0] *= rng.uniform(0.0, 0.3)
            return 100_000.0 + round(size * (1 - math.exp(-did.total / streams)) + held[0])

        return level

    return make


def idle_cpu(noise: float) -> Make:
    """CPU used without clients, in cores."""
    return lambda rng: lambda did, rng: max(0.0, 0.004 + abs(rng.gauss(0, noise)))


def busy(per_connection: float, noise: float) -> Make:
    """Each connection leaves a watcher that uses CPU for ever."""
    return lambda rng: (
        lambda did, rng: max(0.0, 0.004 + per_connection * did.total + abs(rng.gauss(0, noise)))
    )
