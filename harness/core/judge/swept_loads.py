"""A sweep that takes place during a load, which shows only in how little that load added."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from harness.core.judge.moment import Moment
from harness.core.judge.retention import MIN_TESTED
from harness.core.stats.distributions import median

MIN_LOADS = 4
MAX_DIFFERENCE = 0.02  # share by which loads may differ that added the same per unit
MAX_SWEPT_SHARE = 0.8  # of the usual growth of a load: with less, some was released during the load


def swept_during_load(found: Sequence[Moment], levels: Sequence[float], factor: str) -> float | None:
    """The end of the last load that added much less than the others, in seconds since the run's start; None without
    one. Nothing else shows a sweep that takes place during a load, and everything that remains is younger than it.

    The result is None unless most loads added exactly the same per unit of ``factor``, or per answered stream: by
    chance a load may also add few units.
    """
    best: list[tuple[float, float, float]] = []  # expected, grown, end of the load
    usual, exact = 0.0, 0
    for name in dict.fromkeys(("answered", factor)):
        loads = [
            (after.done.get(name, 0.0) - before.done.get(name, 0.0), high - low, after.left)
            for (before, low), (after, high) in pairwise(zip(found, levels, strict=True))
            if after.done.get(name, 0.0) > before.done.get(name, 0.0)
        ]
        if len(loads) < MIN_LOADS:
            continue
        rate = median([grown / amount for amount, grown, _ in loads])
        loads = [one for one in loads if rate * one[0] >= MIN_TESTED]
        same = sum(
            1 for amount, grown, _ in loads if abs(grown - rate * amount) <= max(1.0, MAX_DIFFERENCE * grown)
        )
        if len(loads) >= MIN_LOADS and same > exact:
            best, usual, exact = loads, rate, same
    if 2 * exact <= len(best):
        return None
    # A sweep needs something that an earlier load has left, so a first load that adds little is none.
    held, last = False, None
    for amount, grown, end in best:
        if grown > MAX_SWEPT_SHARE * usual * amount:
            held = True
        elif held:
            last = end
    return last
