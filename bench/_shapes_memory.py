"""Anonymous memory of simulated services, in bytes: healthy allocators, recorded servers, and leaks added to one."""

from __future__ import annotations

import json
import math
import random
from bisect import bisect_left
from itertools import accumulate
from pathlib import Path

from bench._clock import CycleSums
from bench._services import MEMORY, MIB, Level, Make
from harness.core.metric import Key

TRACES = Path(__file__).parent / "traces"
TRACES_HELD_BACK = Path(__file__).parent / "traces_held_back"
BLOCK = 2048  # connections
CHANCE = 0.2  # that an allocator finds room while it serves them


def staircase(per_connection: float, until: int, arena: float = MIB) -> Make:
    """An allocator takes whole arenas while the service warms up over a number of connections, then takes no more."""

    def make(rng: random.Random) -> Level:
        start = rng.random() * arena
        ends = until * rng.uniform(0.7, 1.1)

        def level(did: CycleSums, rng: random.Random) -> float:
            used = start + per_connection * min(did.total, ends)
            return 20 * MIB + math.floor(used / arena) * arena + rng.choice((0, 0, 0, 1, 2, 5)) * 4096

        return level

    return make


def collected(height: float, period: int) -> Make:
    """A garbage-collected heap: rises and falls."""

    def make(rng: random.Random) -> Level:
        start = rng.randint(0, period - 1)
        return lambda did, rng: (
            60 * MIB + height * ((did.cycle + start) % period) / period + rng.uniform(0, 0.1) * MIB
        )

    return make


def compiled(size: float, connections: float) -> Make:
    """A JIT runtime: growth that is steep at first and becomes slower."""
    return lambda rng: (
        lambda did, rng: 40 * MIB + size * (1 - math.exp(-did.total / connections)) + rng.gauss(0, 30e3)
    )


def creeping(rng: random.Random) -> Level:
    """Pages that come and go: a few in half of the cycles."""
    held = [0.0]

    def level(did: CycleSums, rng: random.Random) -> float:
        if rng.random() < 0.5:
            held[0] += rng.choice((-8, -4, 4, 4, 8, 20)) * 4096
        return 30 * MIB + held[0]

    return level


def leaked_bytes(per_connection: float, base: Make, reuse: float = 0.3) -> Make:
    """Anonymous memory that grows by a number of bytes per connection on average. The service retains a little more,
    because the allocator has some free memory already: ``reuse``/2 MiB in every fifth block of 2,048 connections, and 2
    MiB or less at the start."""
    found_each = CHANCE * reuse / 2 * MIB / BLOCK

    def make(rng: random.Random) -> Level:
        below: Level = base(rng)
        room = [2 * MIB * rng.random(), 0.0]

        def level(did: CycleSums, rng: random.Random) -> float:
            need = (per_connection + found_each) * did.connections * rng.uniform(0.97, 1.03)
            if rng.random() < CHANCE * did.connections / BLOCK:
                room[0] += reuse * MIB * rng.random()
            found = min(room[0], need)
            room[0] -= found
            room[1] += need - found
            return below(did, rng) + math.floor(room[1] / 4096) * 4096

        return level

    return make


def recorded(name: str, key: Key = MEMORY, traces: Path = TRACES) -> Make:
    """The level of a real server as recorded over its connections (``traces``), from a random start in its first
    cycles. After the last recorded level, the second half is walked backwards and forwards, so the level stays among
    those that were read. Steps from a random place to the end had added up to 848 B per connection for ever in
    ``node-garbage``, whose last level happens to be above the others: a leak that the server does not have."""
    rows = json.loads((traces / f"{name}.json").read_text())
    levels = rows["levels"][str(key)]
    done = [float(n) for n in accumulate(rows["connections"])]
    span = done[-1] / 2

    def at(total: float) -> float:
        index = max(1, min(bisect_left(done, total), len(done) - 1))
        share = min(1.0, max(0.0, (total - done[index - 1]) / (done[index] - done[index - 1])))
        return float(levels[index - 1] + share * (levels[index] - levels[index - 1]))

    def make(rng: random.Random) -> Level:
        walked = [done[0] + rng.random() * 900]

        def level(did: CycleSums, rng: random.Random) -> float:
            walked[0] += did.connections
            past = max(0.0, walked[0] - done[-1]) % (2 * span)
            place = min(walked[0], done[-1]) - (past if past <= span else 2 * span - past)
            return float(round(at(place)))

        return level

    return make
