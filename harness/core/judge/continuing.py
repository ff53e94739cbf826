"""Whether growth in a hold cycle continued to its end, or stopped because a buffer was full."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from harness.core.cycle import Reading
from harness.core.metric import Judged, Key

HEAP_BYTES, BLOCKS = Key("memory", "heap-bytes"), Key("memory", "blocks")
MIN_READINGS = 4
MIN_PACE_SHARE = 0.5  # share of the pace in the first half that growth must keep in the second
LAST_SHARE = 0.15  # the last share of the time read, in which growth must continue as well
# A count pauses where it rises by less than this share of its usual pace. Such a pause at the end of a hold is a full
# buffer if it lasts for so many readings and is so many times as long as any earlier one.
PAUSE_SHARE = 0.1
MIN_PAUSE_STEPS = 2
MIN_LONGER_PAUSE = 2.0


def continues(read: Sequence[tuple[float, float]], noise: float = 0.0) -> bool:
    """Whether the second half grew at the pace of the first, and the last reading is the highest, apart from noise.
    noise: units by which the growth of the second half may be too small, because an allocator takes whole arenas."""
    middle = (read[0][0] + read[-1][0]) / 2
    at, level = min(read, key=lambda one: abs(one[0] - middle))
    before = (level - read[0][1]) / max(1e-9, at - read[0][0])
    rest = max(1e-9, read[-1][0] - at)
    after = (read[-1][1] - level) / rest
    total = read[-1][1] - read[0][1]
    highest = max(level for _, level in read)
    if not (
        after > 0 and after + noise / rest >= MIN_PACE_SHARE * before and highest - read[-1][1] <= 0.1 * total
    ):
        return False
    # A buffer that became full shortly before the end has not grown since. At least two intervals are compared, because
    # a busy service may send nothing between two readings.
    end = min(read[-1][0] - LAST_SHARE * (read[-1][0] - read[0][0]), read[-3][0])
    before_end = max(level for at, level in read if at <= end)
    return read[-1][1] - before_end >= MIN_PACE_SHARE * LAST_SHARE * total


def continues_with_events(key: Key, settled: Sequence[Reading]) -> bool:
    """Whether growth continued with the events rather than the seconds: a busy service sends events in bursts, and may
    retain something for each."""
    pairs = [(float(r.events), r.levels[key]) for r in settled if r.events is not None and key in r.levels]
    return len(pairs) >= MIN_READINGS and pairs[-1][0] > pairs[0][0] and continues(pairs)


def stopped(key: Key, settled: Sequence[Reading]) -> bool:
    """Whether an exact count no longer rose in the last readings, although events arrived as before.

    A buffer of 1,000 events at 19 a second is full after 53 of 60 seconds, which is too late for ``continues``. What
    rises in steps paused before as well, so the last pause must be much longer than any other; or it is that of the
    blocks of memory, whose larger ones are counted in bytes alone: a deque takes one for 64 entries.
    """
    if key.judged is not Judged.EXACT:
        return False
    steps, last, longest = _pauses(key, settled)
    alone = steps >= MIN_PAUSE_STEPS and last >= MIN_LONGER_PAUSE * longest
    if not alone and key == HEAP_BYTES:
        blocks, since, before = _pauses(BLOCKS, settled)
        alone = MIN_PAUSE_STEPS <= blocks <= steps and since >= MIN_LONGER_PAUSE * before
        steps, last = blocks, since
    if not alone:
        return False
    first, began, end = settled[0], settled[-1 - steps], settled[-1]
    if first.events is None or began.events is None or end.events is None:
        return True
    usual = (end.events - first.events) / (end.at - first.at)
    return end.events - began.events >= MIN_PACE_SHARE * usual * last


def _pauses(key: Key, settled: Sequence[Reading]) -> tuple[int, float, float]:
    """The readings and seconds at the end in which a count hardly rose, and the most seconds of an earlier pause. None
    of a count that did not rise, or that is missing from a reading."""
    if any(key not in r.levels for r in settled):
        return 0, 0.0, 0.0
    pace = (settled[-1].levels[key] - settled[0].levels[key]) / (settled[-1].at - settled[0].at)
    pauses, steps = [0.0], 0
    for before, after in pairwise(settled):
        passed = after.at - before.at
        if after.levels[key] - before.levels[key] < PAUSE_SHARE * pace * passed:
            pauses[-1] += passed
            steps += 1
        else:
            pauses.append(0.0)
            steps = 0
    *earlier, last = pauses
    return (steps, last, max(earlier, default=0.0)) if pace > 0 else (0, 0.0, 0.0)
