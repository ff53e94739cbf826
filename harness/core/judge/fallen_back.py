"""Counts that are released all at once, after a number of requests: how much of them can have leaked.

What has leaked by some moment is at most the level then, above the level before the first client. So one low reading
after many streams bounds the leak, however high the level was before and is again: a janitor that closes what is left
after every 1,000 requests leaves levels between 0 and 1,000, whose scatter would take hours to average out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from harness.core.judge.assessed import Assessed
from harness.core.judge.moment import Moment
from harness.core.judge.moments import level_of
from harness.core.judge.one_count import smallest_leak, unit_of
from harness.core.metric import Key
from harness.core.stats.distributions import poisson_interval
from harness.core.units import counted

# Levels from the low one on that may rise throughout by chance. More of them are growth that began late.
MAX_RISING_LEVELS = 3
# Times the highest level before the low reading, up to which later ones are no new growth.
NEW_GROWTH_FACTOR = 1.25


def fallen_back(found: Sequence[Moment], key: Key, one: Assessed, sensitivity: float) -> Assessed:
    """The result, ``bounded`` where a low reading excludes the smallest leak that must be found (95 %).

    found: the moments of one process, from before its first client on.
    """
    # The bound compares with the level before the first client, so that level must have been read.
    if one.status != "undecided" or not found or found[0].peak or found[0].done.get("connection"):
        return one
    read = [
        (moment, level + moment.unsure.get(key, 0.0))
        for moment in found
        if (level := level_of(moment, key)) is not None
    ]
    if len(read) < 2 or read[0][0] is not found[0]:
        return one
    # The latest readings come first: the more streams were answered, the stronger is the bound of a low level.
    start, unit = read[0][1], unit_of(key)
    for index in range(len(read) - 1, 0, -1):
        moment, level = read[index]
        exposure = moment.done.get("answered", 0.0)
        if exposure <= 0:
            break
        high = unit * poisson_interval(max(0.0, level - start) / unit, exposure)[2]
        highest = max(level for _, level in read[:index]) - start
        later = max((level for _, level in read[index + 1 :]), default=start) - start
        # A leak that began late also starts from a low level. Its levels after later loads only rise.
        served = [(moment.done.get("answered", 0.0), level) for moment, level in read[index:]]
        rest = [level for (before, _), (amount, level) in pairwise(served) if amount > before]
        rest = [read[index][1], *rest]
        climbs = (
            len(rest) > MAX_RISING_LEVELS
            and all(low <= up for low, up in pairwise(rest))
            and rest[-1] > rest[0]
        )
        if high <= smallest_leak(key, sensitivity) and later <= NEW_GROWTH_FACTOR * highest and not climbs:
            streams = counted(exposure, "answered stream", "g")
            why = f"fell back to {level - start:g} above the level before the first client after {streams}"
            return replace(one, status="bounded", at_most=high, why=why, growing=False)
    return one
