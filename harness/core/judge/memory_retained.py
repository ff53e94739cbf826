"""How long anonymous memory outlives its streams, where no counter of the runtime shows what is held.

Freed memory stays with the allocator, so a late release never shows as a fall. It shows as growth that ends: memory
that is freed ``t`` seconds after a stream ended serves a later stream, so the level stays at what the most streams that
ever ended within ``t`` seconds hold together. A leak exceeds that for every ``t``, if the load lasts longer than the
retention time.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from harness.core.judge.memory import ARENA, MEMORY, MIN_ARENAS, WARM_UP_CONNECTIONS
from harness.core.judge.moment import Moment
from harness.core.judge.moments import split_warmup

# Share of the growth that must exceed what late release explains: as much as the rate per stream is uncertain, between
# these two.
MIN_EXCESS_SHARE = 0.1
MAX_EXCESS_SHARE = 0.25
STEP = 1.0  # seconds between two release times that are tried
POINTS = 4  # moments of a load at which the streams that are held are counted


def outlived_seconds(found: Sequence[Moment], low: float, high: float, longest: float) -> float:
    """The longest release time, up to ``longest`` seconds, such that neither it nor any shorter one explains how far
    anonymous memory has risen. low, high: the interval of its growth in bytes per connection."""
    share = min(MAX_EXCESS_SHARE, max(MIN_EXCESS_SHARE, (high - low) / high if high > 0 else 1.0))
    rest = [moment for moment in split_warmup(found)[1] if MEMORY in moment.levels]
    # A healthy service climbs over its first connections, and those are not judged.
    later = [moment for moment in rest if moment.done.get("connection", 0.0) >= WARM_UP_CONNECTIONS]
    rest = later if len(later) > 1 else rest
    if len(rest) < 2:
        return 0.0
    first, last = rest[0], rest[-1]
    growth = last.levels[MEMORY] - first.levels[MEMORY]
    ended = _ends(found)
    outlived = 0.0
    for index in range(1, math.ceil(longest / STEP) + 1):
        after = min(longest, index * STEP)
        held = _most(ended, after, last.at) - _most(ended, after, first.at)
        if growth - high * held < max(MIN_ARENAS * ARENA, share * growth):
            break
        outlived = after
    return outlived


def _ends(found: Sequence[Moment]) -> tuple[list[float], list[float]]:
    """Times, and the connections that had ended by each: those of a load end evenly while it lasts."""
    times, counts, done = [0.0], [0.0], 0.0
    for moment in found:
        streams = moment.done.get("connection", 0.0) - done
        if moment.peak and streams > 0:
            length = moment.left - moment.began
            times.extend(moment.began + length * part / POINTS for part in range(1, POINTS + 1))
            counts.extend(accumulate([streams / POINTS] * POINTS, initial=counts[-1]))
            del counts[-POINTS - 1]
            done += streams
    return times, counts


def _most(ended: tuple[list[float], list[float]], after: float, until: float) -> float:
    """The most connections that ended within any ``after`` seconds before ``until``."""
    times, counts = ended
    most = 0.0
    for index in range(bisect_right(times, until)):
        most = max(most, counts[index] - counts[max(0, bisect_right(times, times[index] - after) - 1)])
    return most
