"""Irregular leaks: late, in batches, uneven, only above a load, limited, of a service that refuses requests, or for the
life of a stream."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from bench import _shapes as shapes
from bench._clock import Clocked, Load, Start
from bench._services import Level, Make, poisson

Draw = Callable[[random.Random, float], float]
"""What is retained where ``mean`` units are expected."""


def steadily(rng: random.Random, mean: float) -> float:
    """Exactly the mean, fractions carried over."""
    return mean


def singly(rng: random.Random, mean: float) -> float:
    """One by one, independently: Poisson."""
    return poisson(rng, mean)


def in_bursts(size: int) -> Draw:
    """A number of units at a time."""
    return lambda rng, mean: size * poisson(rng, mean / size)


def varying(shape: float) -> Draw:
    """A rate that differs from cycle to cycle: gamma-distributed with this shape around its mean."""
    return lambda rng, mean: poisson(rng, rng.gammavariate(shape, mean / shape)) if mean > 0 else 0


@dataclass(slots=True)
class _Leak(Clocked):
    rate: float
    factor: str
    draw: Draw
    after: float
    above: int
    cap: float
    status: int
    held: float = 0.0
    last: float = 0.0

    def serve(self, load: Load, rng: random.Random) -> None:
        before, self.last = self.last, load.ended
        if load.concurrency < self.above or load.ended < self.after:
            return
        amount = load.ended - before if self.factor == "seconds" else getattr(load.did, self.factor)
        self.held = min(self.cap, self.held + self.draw(rng, self.rate * float(amount)))

    def accepts(self, asked: int, rng: random.Random) -> int:
        if math.isinf(self.cap):
            return asked
        return min(asked, max(0, round((self.cap - self.held) / self.rate)))

    def refusal(self) -> int:
        return self.status

    def level(self, at: float) -> float:
        return float(math.floor(self.held))


def leak(
    rate: float,
    factor: str = "connections",
    draw: Draw = singly,
    *,
    after: float = 0.0,
    above: int = 0,
    cap: float = math.inf,
    status: int = 500,
) -> Start:
    """``rate`` units per unit of a factor of CycleSums, for good.

    after: seconds of the run before the first. above: the number of streams that must be open at once. cap: units from
    which on the service answers every request with ``status``.
    """
    return lambda rng: _Leak(rate, factor, draw, after, above, cap, status)


@dataclass(slots=True)
class _Limit(Clocked):
    share: float
    status: int

    def accepts(self, asked: int, rng: random.Random) -> int:
        return asked - min(asked, poisson(rng, self.share * asked))

    def refusal(self) -> int:
        return self.status


def refusing(share: float, status: int = 429) -> Start:
    """About this share of the requests is refused."""
    return lambda rng: _Limit(share, status)


@dataclass(slots=True)
class _Paced(Clocked):
    each: float
    pace: float

    def accepts(self, asked: int, rng: random.Random) -> int:
        # The capacity that the second before left unused is used at once.
        seconds = asked / self.pace + rng.uniform(0.8, 1.2)
        return min(asked, max(1, round(self.each * seconds)))


def rate_limited(each: float, pace: float) -> Start:
    """A limited number of answers a second; the service refuses the rest with 429. pace: connections a second that
    arrive."""
    return lambda rng: _Paced(each, pace)


@dataclass(slots=True)
class _Buffer(Clocked):
    reading: float
    stalled: float
    cap: float

    def connected(self, seconds: float, reading: int, stalled: int) -> float:
        return reading * min(self.cap, self.reading * seconds) + stalled * min(
            self.cap, self.stalled * seconds
        )


def buffered(reading: float, stalled: float, cap: float = math.inf) -> Start:
    """Units a second that each reading and each stalled client retains until it disconnects, up to a limit."""
    return lambda rng: _Buffer(reading, stalled, cap)


@dataclass(slots=True)
class _Garbage(Clocked):
    live: float
    each: float
    most: float

    def level(self, at: float) -> float:
        return self.live + min(self.each * at, self.most * self.live - self.live)


def garbage(live: float, each: float, most: float = 2.0) -> Start:
    """A heap of ``live`` bytes whose timers leave ``each`` bytes of garbage a second. It is collected at ``most`` times
    its live part, and its pages are used again."""
    return lambda rng: _Garbage(live, each, most)


@dataclass(slots=True)
class _Stepwise(Clocked):
    below: Level
    now: float = 0.0

    def serve(self, load: Load, rng: random.Random) -> None:
        self.now = self.below(load.did, rng)

    def level(self, at: float) -> float:
        return self.now


def untimed(make: Make) -> Start:
    """A count that does not depend on time, as a part beside others."""
    return lambda rng: _Stepwise(make(rng))


def full_cache(slots: int) -> Start:
    """One entry a connection until it is full, beside something that is released late."""
    return untimed(shapes.cache(slots, shapes.nothing))
