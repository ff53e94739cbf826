"""How growth was released: all at once, as by a sweep, or a stream at a time, as by a timer for each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from harness.core.judge.moment import Moment
from harness.core.stats.distributions import median

SWEEP_SECONDS = 0.75  # seconds within which a sweep releases everything
# Of all that was released: the share that came in as many large falls as there were idle stretches.
MIN_SWEEP_SHARE = 0.8
MIN_GROUP_SHARE = 0.1  # of all that was released, from which on a fall is large


def drops(found: Sequence[Moment], index: int, column: int | None) -> list[tuple[float, float, float]]:
    """Second, units and the end of the last load, for each fall of a hot count within one idle cycle to below its
    lowest value since that load. A descriptor that is opened without clients and closed again, as the harness does to
    read a runtime, is not a release."""
    if column is None:
        return []
    first = next((position for position in range(index, -1, -1) if found[position].peak), 0)
    last = found[first].left if found[first].peak else found[0].at
    lowest = min((row[column] for m in found[first:index] for row in m.idle_counts), default=math.inf)
    falls = []
    for row in found[index].idle_counts:
        if row[column] < lowest and math.isfinite(lowest):
            falls.append((row[0], lowest - row[column], last))
        lowest = min(lowest, row[column])
    return falls


def sweeps(
    found: Sequence[Moment], levels: Sequence[float], falls: Sequence[tuple[float, float, float]]
) -> tuple[bool, float | None]:
    """Whether everything was released at once although the streams had not ended at once, and the interval of such
    sweeps in seconds; None if fewer than two were seen."""
    total = math.fsum(units for _, units, _ in falls)
    groups: list[list[tuple[float, float]]] = []
    for at, units, _ in falls:
        if groups and at - groups[-1][0][0] <= SWEEP_SECONDS:
            groups[-1].append((at, units))
        else:
            groups.append([(at, units)])
    sizes = [(group[0][0], math.fsum(units for _, units in group)) for group in groups]
    large = [(at, units) for at, units in sizes if units >= MIN_GROUP_SHARE * total]
    stretches = len({last for _, _, last in falls})
    together = math.fsum(units for _, units in large) >= MIN_SWEEP_SHARE * total and len(large) <= stretches
    # Units of streams that ended at different times were released together, so no timer of each stream released them.
    if not together or not any(_apart(found, levels, at, units) > 2 * SWEEP_SECONDS for at, units in large):
        return False, None
    gaps = [after - before for (before, _), (after, _) in pairwise(large) if _next(found, before, after)]
    return True, median(gaps) if gaps else None


def _apart(found: Sequence[Moment], levels: Sequence[float], at: float, units: float) -> float:
    """Seconds between the first and the last end of the streams whose units were released at ``at``. These are streams
    of the last loads before: as many as are needed if each added as much as in the steepest load, or, where nothing
    has fallen before, what it was seen to add."""
    loads = [
        (moment, moment.answered_since(before), level - earlier)
        for (before, moment), (earlier, level) in zip(pairwise(found), pairwise(levels), strict=True)
        if moment.peak
    ]
    fell = any(
        after < before
        for moment, (before, after) in zip(found[1:], pairwise(levels), strict=True)
        if moment.at < at
    )
    each = max((grown / streams for _, streams, grown in loads if streams > 0), default=0.0)
    last = first = None
    for moment, streams, grown in reversed(loads):
        added = each * streams if fell else grown
        if moment.left > at or added <= 0:
            continue
        if units <= 0:
            break
        last = moment.left if last is None else last
        # If all streams of a load were open at once, all of them ended when the load did.
        lasted = moment.left - moment.began if streams > moment.peak else 0.0
        first = moment.left - min(1.0, units / added) * lasted
        units -= added / MIN_SWEEP_SHARE
    return last - first if last is not None and first is not None else 0.0


def _next(found: Sequence[Moment], before: float, after: float) -> bool:
    """Whether no sweep can have been missed between two: streams ended in the first half of the time between them."""
    left = [moment.left for moment in found if moment.peak and before < moment.left < after]
    return bool(left) and left[-1] - before <= (after - before) / 2
