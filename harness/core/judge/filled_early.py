"""Whether what remains after a late release came with the first streams, as in a full cache or a pool.

After each load the level has two parts: what stays, and what is not released yet. The release shows the second part:
how much a stream leaves, and for how long. If an early level is higher than that, the difference had stayed by then.
After half of the streams a leak has left half of its growth, and a cache of 300 descriptors all of it. Without this
rule such a cache was judged leaking in 12 of 12 simulated runs with streams that were released 6 s late, because its
300 units were divided by all answered streams.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from harness.core.cycle import Phase
from harness.core.judge.moment import Moment
from harness.core.judge.retention import Release
from harness.core.units import counted

MIN_FILLED_SHARE = 0.4  # of what remained must have been there early
MAX_FILLED_SHARE = 1.15  # more than all of it shows that streams leave more than was assumed
MIN_EARLY_FACTOR = 2.0  # times as much as a constant rate would have left by then
UNCERTAINTY = 0.1  # share by which what is released late may be larger than assumed
SLACK_SECONDS = 1.0  # by which a release may take longer than was seen


def filled_early(
    found: Sequence[Moment], levels: Sequence[float], first: int, last: int, release: Release
) -> str:
    """How early the growth that remains between two moments came: ``100 % of it came with the first 320 answered
    streams``. Empty for a leak, and if the early levels do not show it. levels: one per moment."""
    rest = levels[last] - levels[first]
    streams = found[last].answered_since(found[first])
    if rest <= 0 or streams <= 0:
        return ""
    swept = release.at_once or any(
        after < before and moment.peak
        for (before, after), moment in zip(pairwise(levels), found[1:], strict=True)
    )
    for index in range(first + 1, last):
        moment = found[index]
        served = moment.answered_since(found[first])
        each = _released_per_stream(found, levels, (first, index, last), release)
        # The level of a search is that of the next reading, because tracing adds to it.
        if not moment.peak or moment.phase is Phase.SEARCH or served <= 0 or not math.isfinite(each):
            continue
        held = (
            each * _late(found, first, index, release, swept=swept, slack=SLACK_SECONDS) * (1 + UNCERTAINTY)
        )
        share = (levels[index] - levels[first] - held) / rest
        if max(MIN_FILLED_SHARE, MIN_EARLY_FACTOR * served / streams) <= share <= MAX_FILLED_SHARE:
            came = f"{min(100.0, 100 * share):.0f} %"
            return f"{came} of it came with the first {counted(served, 'answered stream', ',.0f')}"
    return ""


def _late(
    found: Sequence[Moment], first: int, index: int, release: Release, *, swept: bool, slack: float = 0.0
) -> float:
    """The streams, at most, of which something may not be released yet at a moment: all connections, because those that
    were reset early may have left something too. Of a sweep it is not known when the one before ran, so these are all
    so far."""
    if swept or release.by_request:
        return _opened(found[first], found[index])
    since = found[index].at - release.after - slack
    total = 0.0
    for before, moment in zip(found[first:index], found[first + 1 : index + 1], strict=True):
        if not moment.peak or moment.left <= since:
            continue
        length = moment.left - moment.began
        share = 1.0 if moment.began >= since or length <= 0 else (moment.left - since) / length
        total += share * _opened(before, moment)
    return total


def _opened(before: Moment, after: Moment) -> float:
    return max(0.0, after.done.get("connection", 0.0) - before.done.get("connection", 0.0))


def _released_per_stream(
    found: Sequence[Moment],
    levels: Sequence[float],
    at: tuple[int, int, int],
    release: Release,
) -> float:
    """Units that are released late for each answered stream, from the loads after a moment; infinite if they show none.
    at: the first moment, that one, and the last."""
    first, index, last = at
    loads = [later for later in range(index + 1, last + 1) if found[later].peak]
    if not loads:
        return math.inf
    # A sweep may have fallen into any of the loads, but hardly into all.
    each = [
        (levels[load] - levels[load - 1]) / served
        for load in loads
        if (served := found[load].answered_since(found[load - 1])) > 0
    ]
    for load in range(first + 1, last):
        # Every fall without clients shows what its load had left for a while, also before the early moment.
        if found[load].peak and not found[load + 1].peak:
            held = _late(found, first, load, release, swept=release.at_once)
            after = next((n for n in range(load + 1, last + 1) if found[n].peak), last + 1)
            each.append((levels[load] - min(levels[load:after])) / held if held > 0 else 0.0)
    return max(each) if each and max(each) > 0 else math.inf
