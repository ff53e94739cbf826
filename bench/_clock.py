"""Counts that depend on simulated time: parts of a service that release something late, or never.

A part gets each load after it has ended, and is then read at moments that never go back. What a stream takes appears
when its client disconnects; levels are read without clients, so no reading can show that it came earlier.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

STEP = 0.1  # seconds: as often as the probe's hot lane reads


@dataclass(frozen=True, slots=True)
class CycleSums:
    """What one cycle did. cycle: its number; seconds: idle time included."""

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
    answered: int = 0  # streams whose response began


@dataclass(frozen=True, slots=True)
class Load:
    """One load that has ended. started, ended: seconds since the run's start. concurrency: streams open at once."""

    did: CycleSums
    started: float
    ended: float
    concurrency: int

    def departures(self, count: int) -> Iterator[tuple[float, int]]:
        """When ``count`` streams ended: pairs of a time and a number, in order. The first ``concurrency`` streams
        end after a stream's life, and the others at an even pace until the end of the load."""
        waves = max(1.0, self.did.connections / max(1, self.concurrency))
        first = self.started + (self.ended - self.started) / waves
        slots = max(1, round((self.ended - first) / STEP))
        done = 0
        for slot in range(1, slots + 1):
            upto = count * slot // slots
            if upto > done:
                yield first + (self.ended - first) * slot / slots, upto - done
            done = upto


class Clocked:
    """A count that depends on time. Subclasses override what differs."""

    def serve(self, load: Load, rng: random.Random) -> None:
        """A load, or a control without clients, has ended."""

    def level(self, at: float) -> float:
        """The count at a moment, in seconds since the run's start. Moments never go back."""
        return 0.0

    def connected(self, seconds: float, reading: int, stalled: int) -> float:
        """Units that connected clients hold until they disconnect."""
        return 0.0

    def accepts(self, asked: int, rng: random.Random) -> int:
        """The number of the next ``asked`` requests that are answered; the others are refused."""
        return asked

    def refusal(self) -> int:
        """Status of a request that is not accepted."""
        return 429


@dataclass(slots=True)
class Timeline:
    """Changes of a count, in steps of 0.1 s."""

    held: float = 0.0
    _changes: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    _step: int = 0

    def add(self, at: float, amount: float) -> None:
        """The count changes at a moment; a moment that was read already takes effect at the next one."""
        self._changes[max(round(at / STEP), self._step + 1)] += amount

    def at(self, at: float) -> float:
        """The count at a moment that is not an earlier than the last."""
        now = round(at / STEP)
        if self._changes:
            for step in range(self._step + 1, now + 1):
                self.held += self._changes.pop(step, 0.0)
        self._step = max(self._step, now)
        return self.held


@dataclass(slots=True)
class Parts(Clocked):
    """A service made of several parts."""

    base: float
    parts: Sequence[Clocked]
    status: int = 429  # of the last part that refused

    def serve(self, load: Load, rng: random.Random) -> None:
        for part in self.parts:
            part.serve(load, rng)

    def level(self, at: float) -> float:
        return self.base + math.fsum(part.level(at) for part in self.parts)

    def connected(self, seconds: float, reading: int, stalled: int) -> float:
        return math.fsum(part.connected(seconds, reading, stalled) for part in self.parts)

    def accepts(self, asked: int, rng: random.Random) -> int:
        for part in self.parts:
            if (accepted := part.accepts(asked, rng)) < asked:
                self.status = part.refusal()
                asked = accepted
        return asked

    def refusal(self) -> int:
        return self.status


Start = Callable[[random.Random], Clocked]
"""Starts a clocked service of one kind afresh."""


def service(*parts: Start) -> Start:
    """A service of a few descriptors of its own and these parts."""
    return lambda rng: Parts(float(rng.randint(5, 60)), [part(rng) for part in parts])
