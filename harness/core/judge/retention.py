"""Tests how long growth is retained. Growth that outlives the retention time is a leak; growth released before is not.

Services release late for good reasons: sessions expire, pools close idle connections, a sweep runs every 30 seconds.
While clients connect, late release looks exactly like a leak. Without clients the two differ: the level of a late
release falls as one cohort of streams after the other expires, and the level of a leak stays. So growth counts as
retained only when the level did not fall during an idle stretch, although every release within the retention time
predicts a fall.

If a service releases ``t`` seconds after a stream has ended, the streams that expire during an idle stretch determine
how far the level should fall. The smallest such fall, over all ``t`` up to the retention time, is what the stretch has
``tested``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.core.judge.moment import Moment
from harness.core.judge.sweeps import drops, sweeps
from harness.core.metric import Key
from harness.core.stats.distributions import median

MARGIN = 1.0  # seconds beyond the retention time: timers fire late, and a sweep takes its time
RELEASE_TIMES = 60  # release times tried between zero and the retention time
MIN_TESTED = 7.0  # expected units that all fail to appear with a probability of e⁻⁷, one in 1,000 (Poisson)
MIN_RELEASED_SHARE = 0.1  # of the growth, from which on a fall without clients is a release
MAX_NOISE_SHARE = 0.3  # of the predicted fall, up to which a fall may be noise
# Share of growth in memory below which what is left after a release is a warm-up of its own.
MAX_WARM_UP_SHARE = 0.05
MIN_FALL_SHARE = 0.01  # of a release, which each of its falls has at least
NEXT_RELEASE_FACTOR = 1.5  # times the release seen before, after which the next one is over
# Times the usual difference of two readings that the CPU use of an idle service must fall for a release.
SCATTER_FACTOR = 3.0
STILL_READINGS = 3  # readings in a row without a fall, after which a level has stopped falling


@dataclass(frozen=True, slots=True)
class Release:
    """Growth that was released. amount: units. after: seconds from the end of the last stream to the last
    fall. at_once: everything was released at the same moment, as by a sweep. exact: the moment of the falls is known
    to a tenth of a second, else to the distance of two readings. every: seconds between two sweeps; None unless
    two were seen. over: everything that could be released has been. by_request: nothing was released until the next
    request came."""

    amount: float
    after: float
    at_once: bool = False
    exact: bool = False
    every: float | None = None
    over: bool = False
    by_request: bool = False

    def text(self) -> str:
        """``released 10 s after the client disconnected``, ``swept every 30 s``."""
        if not self.over:
            return "some of it is released late"
        if self.by_request:
            return f"released by the first request after {_seconds(self.after)} without clients"
        if self.every is not None:
            return f"swept every {_seconds(self.every)}"
        if self.at_once:
            return f"released together, {_seconds(self.after)} after the last client disconnected: a sweep"
        return (
            f"released {'' if self.exact else 'within '}{_seconds(self.after)} after the client disconnected"
        )


@dataclass(frozen=True, slots=True)
class IdleEvidence:
    """The evidence about growth from readings without clients.

    age: seconds for which growth from the oldest streams has been retained. fallen: units released. tested: units that
    any release within the retention time would have released at least. idle: longest time without a client at any of
    ``drained``, in seconds. swept: the largest fall while clients were connected. release: the release, if it exceeds
    the noise. drained: indices of the moments at which everything that is ever released had been released.
    """

    age: float
    fallen: float
    tested: float
    idle: float
    swept: float = 0.0
    release: Release | None = None
    drained: tuple[int, ...] = ()


def idle_evidence(
    found: Sequence[Moment],
    key: Key,
    levels: Sequence[float],
    retention: float,
    noise: float,
    least: float,
    close: float = 0.0,
    *,
    moved: bool = False,
) -> IdleEvidence:
    """Look for releases of one key. levels: one per moment of ``found``. noise: how far a reading scatters.
    least: units from which on a fall counts as a release. close: as in ``_complete``. moved: a few streams release what
    others used, as in a JVM, so that a small fall with them is none."""
    grown = max(levels) - min(levels)
    first = next((moment.left for moment in found if moment.peak), found[-1].at)
    tested, now = _tested(found, levels, retention)
    falls = _falls(found, levels, noise, least)
    swept = _swept(found, levels, least)
    fallen = math.fsum(amount for _, amount, _ in falls) + math.fsum(swept)
    smallest = max(least, MIN_RELEASED_SHARE * grown) if moved else least
    complete = _complete(found, levels, retention, noise, close, smallest)
    release = None
    # Jitter falls too, but what falls just when the first client comes again was released by it, however little.
    asked = math.fsum(amount for index, amount, _ in falls if found[index].asked)
    if asked >= smallest or (fallen >= max(MIN_RELEASED_SHARE * grown, least) and (falls or not complete)):
        release = _release(found, key, levels, falls, complete)
    return IdleEvidence(
        age=max(0.0, now - first),
        fallen=fallen,
        tested=tested,
        swept=max(swept, default=0.0),
        idle=max((_idle(found, end - 1) for _, end in complete), default=_idle(found, len(found) - 1)),
        release=release,
        drained=(*([0] if not found[0].peak else []), *(end - 1 for _, end in complete)),
    )


def _complete(
    found: Sequence[Moment],
    levels: Sequence[float],
    retention: float,
    noise: float,
    close: float,
    least: float,
) -> list[tuple[int, int]]:
    """Idle stretches at whose end nothing was left to release: they were longer than the retention time, or the level
    had returned to that before the first client, or to that at the end of an earlier such stretch.

    close: share of the growth that may remain where a level has a warm-up of its own; it must then have stopped
    falling.
    """
    made: list[tuple[int, int]] = []
    expires = any(
        moment.asked and levels[index - 1] - levels[index] >= least for index, moment in enumerate(found)
    )
    for start, end in _stretches(found):
        over = found[end - 1].at - found[start - 1].left >= retention + MARGIN
        if over and expires:
            over = _asked_in_vain(found, levels, (start, end), retention, least)
        if not over and (made or not found[0].peak):
            # The level after a complete release includes the warm-up, so later levels are compared with it.
            base = max(levels[0], levels[made[-1][1] - 1]) if made else levels[0]
            slack = close * (max(levels[made[-1][1] if made else 0 : end]) - base)
            still = end - start >= STILL_READINGS and levels[end - STILL_READINGS] - levels[end - 1] <= noise
            near = base + max(noise, slack if still else 0.0)
            over = levels[end - 1] <= near
        if not over and made:
            over = _as_before(found, levels, made, (start, end), retention, noise)
        if over:
            made.append((start, end))
    return made


def _asked_in_vain(
    found: Sequence[Moment], levels: Sequence[float], stretch: tuple[int, int], retention: float, least: float
) -> bool:
    """Whether the last request of a stretch came after the retention time and released nothing: what expires only with
    a request may take several of them."""
    start, end = stretch
    asked = [index for index in range(start, end) if found[index].asked]
    if not asked:
        return False
    last = asked[-1]
    late = found[last].at - found[start - 1].left >= retention + MARGIN
    return late and levels[last - 1] - levels[last] < least


def _as_before(
    found: Sequence[Moment],
    levels: Sequence[float],
    made: Sequence[tuple[int, int]],
    stretch: tuple[int, int],
    retention: float,
    noise: float,
) -> bool:
    """Whether the level has stopped falling, and the stretch is longer than the slowest release of an earlier stretch
    that was longer than the retention time: such a stretch shows every kind of release. Something must have fallen in
    this one as well. A sweep 4 s after the last client of one load may come 19 s after that of the next, and what it
    would have released, 3,475 of 3,480 units, had been called a leak."""
    start, end = stretch
    if end - start < STILL_READINGS or levels[end - STILL_READINGS] - levels[end - 1] > noise:
        return False
    if not any(before - after > noise for before, after in pairwise(levels[start - 1 : end])):
        return False
    whole = [one for one in made if _lasted(found, one) >= retention + MARGIN]
    last = [
        found[index].at - found[first - 1].left
        for first, stop in whole
        for index in range(first, stop)
        if levels[index - 1] - levels[index] > noise
    ]
    return bool(last) and _lasted(found, stretch) >= NEXT_RELEASE_FACTOR * max(last) + MARGIN


def _lasted(found: Sequence[Moment], stretch: tuple[int, int]) -> float:
    """Seconds without a client at the end of a stretch."""
    start, end = stretch
    return found[end - 1].at - found[start - 1].left


def _falls(
    found: Sequence[Moment], levels: Sequence[float], noise: float, least: float
) -> list[tuple[int, float, float]]:
    """Index of the moment, units, and the last load's end, for each fall between two readings without clients. Only
    stretches whose level has fallen on the whole count, because jitter rises as often as it falls."""
    falls: list[tuple[int, float, float]] = []
    for start, end in _stretches(found):
        tail = median(levels[max(start, end - 3) : end]) if end - start > 3 else levels[end - 1]
        if levels[start - 1] - tail <= noise and levels[start - 1] - levels[end - 1] < least:
            continue
        last = found[start - 1].left
        fell = [
            (index, fall)
            for index in range(start, end)
            if (fall := levels[index - 1] - levels[index]) > noise
        ]
        # CPU time varies at every reading, so single falls are noise: only the fall over the whole stretch is a
        # release.
        scatters = noise < 1
        net = max(levels[start - 1] - tail, 0.0)
        if scatters:
            head = median(levels[start - 1 : min(end, start + 2)])
            if head - tail < SCATTER_FACTOR * _scatter(levels[start - 1 : end]):
                continue
        share = min(1.0, net / math.fsum(fall for _, fall in fell)) if scatters and fell else 1.0
        falls.extend((index, share * fall, last) for index, fall in fell)
    return falls


def _scatter(levels: Sequence[float]) -> float:
    """The usual difference of two readings one after the other; infinite where there are too few to know it."""
    steps = [abs(after - before) for before, after in pairwise(levels)]
    return median(steps) if len(steps) >= STILL_READINGS else math.inf


def _swept(found: Sequence[Moment], levels: Sequence[float], least: float) -> list[float]:
    """Units that were released while clients connected: by a sweep, or by a cleanup that runs after a number of
    requests. A time without clients that is longer than the retention time shows which of the two it is."""
    falls = [levels[index - 1] - levels[index] for index, moment in enumerate(found) if index and moment.peak]
    return [fall for fall in falls if fall >= least]


def _stretches(found: Sequence[Moment]) -> list[tuple[int, int]]:
    """First index, and the index after the last, of each run of idle moments that follows a load."""
    runs, start = [], 0
    for index, moment in enumerate(found):
        if moment.peak:
            if 0 < start < index and found[start - 1].peak:
                runs.append((start, index))
            start = index + 1
    if 0 < start < len(found):
        runs.append((start, len(found)))
    return runs


def _tested(found: Sequence[Moment], levels: Sequence[float], retention: float) -> tuple[float, float]:
    """The smallest fall that a release within the retention time would have shown in an idle stretch, and the second at
    which that stretch ended. Of several stretches the one with the largest such fall counts.

    With a release after ``t`` seconds, what was retained when the stretch began came from the streams that had ended
    in the ``t`` seconds before; those of them that are older than ``t`` when the stretch ends have been released.
    """
    most = (0.0, found[-1].at)
    for start, stop in _stretches(found):
        begin, end = found[start - 1].at, found[stop - 1].at
        grown = levels[stop - 1] - min(levels[:stop])
        streams = _ended(found, begin)
        best = math.inf
        for step in range(1, RELEASE_TIMES + 1):
            after = (retention + MARGIN) * step / RELEASE_TIMES
            earlier = _ended(found, begin - after)
            held = streams - earlier
            # Without streams in that time, nothing could have been retained when the stretch began.
            if held > 0:
                until = end - after
                released = (_ended(found, until) if until < begin else streams) - earlier
                best = min(best, grown * released / held)
        if math.isfinite(best) and best >= most[0]:
            most = (best, end)
    return most


def _idle(found: Sequence[Moment], index: int) -> float:
    """Seconds since the last client disconnected, at a moment."""
    left = max((moment.left for moment in found[: index + 1] if moment.peak), default=found[index].at)
    return max(0.0, found[index].at - left)


def _ended(found: Sequence[Moment], at: float) -> float:
    """Answered streams that had ended by a moment; those of a cycle end evenly while it lasts."""
    total = 0.0
    for before, moment in pairwise(found):
        if moment.peak and at > moment.began:
            streams = moment.done.get("answered", 0.0) - before.done.get("answered", 0.0)
            length = moment.left - moment.began
            total += streams * (1.0 if at >= moment.left or length <= 0 else (at - moment.began) / length)
    return total


def _release(
    found: Sequence[Moment],
    key: Key,
    levels: Sequence[float],
    falls: Sequence[tuple[int, float, float]],
    complete: Sequence[tuple[int, int]],
) -> Release:
    """The release that these falls show. Only stretches in which everything was released give its time, because a fall
    in a shorter stretch may belong to any of the loads before it."""
    amount = math.fsum(fall for _, fall, _ in falls)
    if not falls:
        return Release(amount, 0.0)
    inside = [one for one in falls if any(start <= one[0] < end for start, end in complete)]
    if not inside:
        after = max(found[index].at - last for index, _, last in falls)
        return Release(amount, after, by_request=all(found[index].asked for index, _, _ in falls))
    by_request = all(found[index].asked for index, _, _ in inside)
    column = {"fds": 1, "threads": 2}.get(key.metric)
    exact = [drop for index, _, _ in inside for drop in drops(found, index, column)]
    if exact and not by_request:
        at_once, every = sweeps(found, levels, exact)
        return Release(amount, max(at - last for at, _, last in exact), at_once, True, every, over=True)
    # Noise also falls by a little later, so only the larger falls show how long the release took.
    parts = [one for one in inside if one[1] >= MIN_FALL_SHARE * amount] or inside
    after = max(found[index].at - last for index, _, last in parts)
    return Release(amount, after, over=True, by_request=by_request)


def _seconds(value: float) -> str:
    return f"{value:.0f} s" if value >= 9.5 else f"{value:.2g} s"
