"""Whether memory that grew in a hold cycle was in use, although it was returned to the kernel late or never."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from harness.core.cycle import Observation
from harness.core.judge.continuing import MIN_READINGS
from harness.core.judge.hold_readings import holds, settled_readings
from harness.core.judge.memory import MEMORY
from harness.core.judge.memory_over_time import GARBAGE, UNKNOWN_GARBAGE
from harness.core.record import Trial
from harness.core.stats.distributions import median

MIN_FREED_SHARE = 0.5  # share of the growth that must be freed when the clients disconnect
# Go collects a heap once it has doubled (GOGC=100), so a heap beyond HEAP_GROWTH times its earlier size is in use and
# not garbage. Memory of closed streams is returned to the kernel only after the next collection: a Go server of 58 MB
# had 58 MB one second after its clients had disconnected, and 9 MB after the next load.
DOUBLING_RUNTIMES = ("go",)
HEAP_GROWTH = 2.0
# The same for a heap of which no collection was seen afterwards: a service may have set GOGC to as much as 300.
MAX_HEAP_GROWTH = 4.0
WITHOUT_COLLECTOR = ("rust",)
MAX_READERS_SHARE = 0.1  # share of the pace of growth behind stalled readers that readers may show


def was_collected(earlier: Sequence[Observation]) -> bool:
    """Whether memory has fallen to less than half of what it was: a collector is at work long before a limit."""
    highest = 0.0
    for seen in earlier:
        levels = [r.levels[MEMORY] for r in seen.connected if MEMORY in r.levels]
        highest, after = max([highest, *levels]), seen.levels.get(MEMORY, math.inf)
        if after <= highest / HEAP_GROWTH:
            return True
        highest = max(highest, after) if math.isfinite(after) else highest
    return False


def beyond_garbage(trial: Trial, seen: Observation) -> bool:
    """Whether anonymous memory grew in a hold of stalled readers beyond what a collector leaves uncollected, and hardly
    in one of readers, who cause at least as much garbage.

    An allocator may keep what it held for them: a Rust service had 83 MB of queues behind stalled readers, 69 MB after
    their disconnect, and none of it behind readers. Where nothing is collected, growth in the first hold is enough for
    further ones: mimalloc kept the 15 MB of an unbounded channel, so the only hold showed no growth, and a leak passed.
    """
    pace, lowest, highest = _memory_pace(seen)
    collected = trial.target.runtime not in WITHOUT_COLLECTOR
    readers = [_memory_pace(o)[0] for o in holds(trial) if o.spec.stalled == 0]
    alone = any(one <= MAX_READERS_SHARE * pace for one in readers)
    if seen.spec.stalled < seen.spec.connections:
        return seen.spec.stalled > 0 and pace > 0 and not collected and (alone or not readers)
    garbage = GARBAGE.get(trial.target.runtime, UNKNOWN_GARBAGE) if collected else 1.0
    return pace > 0 and alone and highest >= garbage * lowest


def _memory_pace(seen: Observation) -> tuple[float, float, float]:
    """Bytes per second by which anonymous memory grew in a hold, its lowest and its highest level; 0 without."""
    read = [
        (reading.at, reading.levels[MEMORY]) for reading in settled_readings(seen) if MEMORY in reading.levels
    ]
    levels = [level for _, level in read]
    if len(read) < MIN_READINGS or read[-1][0] <= read[0][0]:
        return 0.0, 0.0, 0.0
    return (levels[-1] - levels[0]) / (read[-1][0] - read[0][0]), min(levels), max(levels)


def freed_later(seen: Observation, total: float, high: float, after: Sequence[Observation]) -> bool:
    """Whether the heap outgrew what its collector may leave uncollected, and a later level shows that it was freed.
    Directly after the hold there is no later level yet; then True, so that a longer hold follows."""
    before = min(reading.levels[MEMORY] for reading in seen.connected if MEMORY in reading.levels)
    later = [o.levels[MEMORY] for o in after if MEMORY in o.levels]
    return high >= HEAP_GROWTH * before and (not later or high - min(later) >= MIN_FREED_SHARE * total)


def in_use(seen: Observation, high: float, buffers: float) -> bool:
    """Whether a heap grew beyond what its collector may leave uncollected and what bounded buffers hold: much of it was
    in use then. A Go server that kept 10 kB of each event rose from 24 to 655 MB in a hold of 65 s, and its next
    collection was due at 1,300 MB."""
    before = min(reading.levels[MEMORY] for reading in seen.connected if MEMORY in reading.levels)
    return high / MAX_HEAP_GROWTH - before >= buffers


def usual_pace(read: Sequence[tuple[float, float]]) -> float:
    """The median of the units per second between two readings."""
    return median([(high - low) / (after - at) for (at, low), (after, high) in pairwise(read) if after > at])
