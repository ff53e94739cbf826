"""Counts that depend on time and cohorts: late releases, sweeps, pools that follow the load, and janitors.

Each function makes the start of one part; ``bench._clock.service`` puts parts together.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate

from bench._clock import Clocked, Load, Start, Timeline
from bench._services import MIB

ARENA = 64 * 1024.0  # bytes by which an allocator grows
Hold = Callable[[random.Random], float]
"""Seconds between a client's leave and the release."""


def fixed(seconds: float) -> Hold:
    """A constant time."""
    return lambda rng: seconds


def between(least: float, most: float) -> Hold:
    """A uniformly distributed time between two."""
    return lambda rng: rng.uniform(least, most)


def exponential_hold(mean: float, most: float) -> Hold:
    """An exponentially distributed time, cut off."""
    return lambda rng: min(most, rng.expovariate(1 / mean))


@dataclass(slots=True)
class _Late(Clocked):
    hold: Hold
    share: float
    alike: bool
    line: Timeline = field(default_factory=Timeline)

    def serve(self, load: Load, rng: random.Random) -> None:
        for at, count in load.departures(load.did.answered):
            taken = count if self.share >= 1 else sum(rng.random() < self.share for _ in range(count))
            if not taken:
                continue
            self.line.add(at, taken)
            if self.alike:
                self.line.add(at + self.hold(rng), -taken)
                continue
            for _ in range(taken):
                self.line.add(at + self.hold(rng), -1)

    def level(self, at: float) -> float:
        return self.line.at(at)


def late(hold: Hold, share: float = 1.0, *, alike: bool = False) -> Start:
    """This share of the answered streams retain one unit each for a time. alike: streams that end together are
    released together, which is faster to simulate and the same where the time is fixed."""
    return lambda rng: _Late(hold, share, alike)


def late_fixed(seconds: float, share: float = 1.0) -> Start:
    """One unit for each stream, released a given time after its client disconnected."""
    return late(fixed(seconds), share, alike=True)


@dataclass(slots=True)
class _Swept(Clocked):
    every: float
    age: float
    phase: float
    share: float
    line: Timeline = field(default_factory=Timeline)

    def serve(self, load: Load, rng: random.Random) -> None:
        for at, count in load.departures(load.did.answered):
            taken = count if self.share >= 1 else sum(rng.random() < self.share for _ in range(count))
            if not taken:
                continue
            turns = math.floor((at + self.age - self.phase) / self.every) + 1
            self.line.add(at, taken)
            self.line.add(self.phase + turns * self.every, -taken)

    def level(self, at: float) -> float:
        return self.line.at(at)


def swept(every: float, age: float = 0.0, share: float = 1.0) -> Start:
    """A sweep releases everything whose client disconnected more than ``age`` seconds ago."""
    return lambda rng: _Swept(every, age, rng.random() * every, share)


@dataclass(slots=True)
class _Expired(Clocked):
    age: float
    share: float
    most: float
    chance: float
    held: list[tuple[float, int]] = field(default_factory=list)

    def serve(self, load: Load, rng: random.Random) -> None:
        for at, count in load.departures(load.did.answered):
            if self.chance >= 1 or rng.random() < 1 - (1 - self.chance) ** count:
                self._remove(at - self.age, self.most * count)
            taken = count if self.share >= 1 else sum(rng.random() < self.share for _ in range(count))
            self.held.append((at, taken))

    def _remove(self, before: float, most: float) -> None:
        kept = []
        for since, many in self.held:
            removed = min(many, most) if since <= before else 0
            most -= removed
            if many > removed:
                kept.append((since, int(many - removed)))
        self.held = kept

    def level(self, at: float) -> float:
        return float(sum(many for since, many in self.held if since <= at))


def expired(age: float, share: float = 1.0, most: float = math.inf, chance: float = 1.0) -> Start:
    """A share of the streams retain one unit each, and those older than ``age`` seconds are removed when the next
    stream is served, as in caches that have no timer. most: units that each stream removes. chance: probability that a
    stream removes any."""
    return lambda rng: _Expired(age, share, most, chance)


@dataclass(slots=True)
class _Freed(Clocked):
    size: float
    after: float
    start: float
    held: deque[tuple[float, int]] = field(default_factory=deque)
    streams: int = 0
    most: int = 0

    def serve(self, load: Load, rng: random.Random) -> None:
        for at, count in load.departures(load.did.answered):
            while self.held and self.held[0][0] <= at - self.after:
                self.streams -= self.held.popleft()[1]
            self.held.append((at, count))
            self.streams += count
            self.most = max(self.most, self.streams)

    def level(self, at: float) -> float:
        return 20 * MIB + math.floor((self.start + self.size * self.most) / ARENA) * ARENA


def freed(size: float, after: float) -> Start:
    """Bytes of memory for each stream, freed a time after its client disconnected. The allocator keeps what is freed
    for later streams, so the level follows the most streams that were ever held."""
    return lambda rng: _Freed(size, after, rng.random() * ARENA)


@dataclass(slots=True)
class _Bursts(Clocked):
    """A pool that takes the same number in every burst of clients, whatever its width."""

    gain: float
    cap: float
    chance: float
    idle: float
    least: float
    held: float = 0.0
    since: float = 0.0

    def serve(self, load: Load, rng: random.Random) -> None:
        if load.did.connections:
            self._shrink(load.started)
            if rng.random() < self.chance:
                self.held = min(self.cap, self.held + self.gain)
            self.since = load.ended

    def _shrink(self, at: float) -> None:
        if at - self.since > self.idle:
            self.held = min(self.held, self.least)

    def level(self, at: float) -> float:
        self._shrink(at)
        return self.held


def burst_pool(gain: float, cap: float, chance: float = 1.0) -> Start:
    """Grows by a number of slots with each burst up to the cap, and releases none."""
    return lambda rng: _Bursts(gain, cap, chance, math.inf, 0.0)


def idle_pool(gain: float, cap: float, idle: float = 60.0, least: float = 10.0) -> Start:
    """A pool like Tomcat's: grows by a number of slots with each burst up to the cap, and shrinks to a few after a time
    without clients."""
    return lambda rng: _Bursts(gain, cap, 0.9, idle, least)


@dataclass(slots=True)
class _Peak(Clocked):
    per_stream: float
    every: float
    held: float = 0.0
    since: float = 0.0

    def serve(self, load: Load, rng: random.Random) -> None:
        if load.concurrency:
            self._shrink(load.ended)
            self.held = max(self.held, round(self.per_stream * load.concurrency * rng.uniform(0.85, 1.15)))

    def _shrink(self, at: float) -> None:
        turns = int((at - self.since) / self.every)
        if turns > 0:
            self.held = max(0.0, self.held - turns)
            self.since += turns * self.every

    def level(self, at: float) -> float:
        self._shrink(at)
        return self.held


def peak_pool(per_stream: float, every: float) -> Start:
    """As large as the peak load needs; one slot is closed at a fixed interval."""
    return lambda rng: _Peak(per_stream, every)


@dataclass(slots=True)
class _Tenants(Clocked):
    """State for each tenant that was ever served. A tenant's weight is 1 / rank^skew."""

    weights: list[float]
    seen: set[int] = field(default_factory=set)

    def serve(self, load: Load, rng: random.Random) -> None:
        if len(self.seen) < len(self.weights) and load.did.answered:
            self.seen.update(
                rng.choices(range(len(self.weights)), cum_weights=self.weights, k=load.did.answered)
            )

    def level(self, at: float) -> float:
        return float(len(self.seen))


def tenants(count: int, skew: float = 0.0) -> Start:
    """One unit for each of a finite number of tenants, which connect uniformly (skew 0) or by Zipf's law (skew 1)."""
    weights = list(accumulate(1 / (rank + 1) ** skew for rank in range(count)))
    return lambda rng: _Tenants(weights)


@dataclass(slots=True)
class _Janitor(Clocked):
    every: int
    per_stream: float
    served: int

    def serve(self, load: Load, rng: random.Random) -> None:
        self.served += load.did.answered

    def level(self, at: float) -> float:
        return float(math.floor(self.served % self.every * self.per_stream))


def janitor(every: int, per_stream: float = 1.0) -> Start:
    """After a number of requests, everything that those before retained is freed."""
    return lambda rng: _Janitor(every, per_stream, rng.randrange(every))


@dataclass(slots=True)
class _Rotation(Clocked):
    """A log file per number of requests. The old one stays open until it is compressed, and a few are kept open."""

    requests: int
    seconds: float
    keep: int
    served: int
    files: int = 0
    line: Timeline = field(default_factory=Timeline)

    def serve(self, load: Load, rng: random.Random) -> None:
        for at, count in load.departures(load.did.answered):
            before, self.served = self.served // self.requests, self.served + count
            for _ in range(self.served // self.requests - before):
                self.line.add(at, 1)
                self.line.add(at + self.seconds, -1)
                if self.files < self.keep:
                    self.files += 1
                    self.line.add(at, 1)

    def level(self, at: float) -> float:
        return 1.0 + self.line.at(at)


def rotation(requests: int, seconds: float, keep: int = 5) -> Start:
    """Log rotation."""
    return lambda rng: _Rotation(requests, seconds, keep, rng.randrange(requests))
