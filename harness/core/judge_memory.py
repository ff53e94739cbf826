"""Anonymous memory: a series with noise of its own, judged by signs.

Healthy servers of six kinds climb by up to 3.4 kB per connection for up to 6,000 connections and then stop
(measured, docs/detector.md), so growth alone proves nothing. After a warm-up of nine cycles every increment
is compared with what allocators do without a leak; a leak rises in nearly every one of 20 or 24, and does
not slow down. With fewer increments only growth far above any allocator's steps is called a leak.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.core.diagnose import driver
from harness.core.growth import Allowed, Assessed
from harness.core.metric import EXACT_MEMORY_KINDS, Key
from harness.core.moments import Moment, Series, judged, series
from harness.core.stats import mean_interval, median

MEMORY = Key("memory", "anonymous")
TOLERANCE = 16.0 * 1024  # bytes per increment: a few pages come and go
FINEST = 128.0  # bytes per connection below which an allocator's own creeping is not told from a leak
GROSS = 16.0 * 1024  # bytes per connection: above any staircase or warm-up met after its third cycle
GROSS_LEAST = 8.0 * (1 << 20)  # bytes in all
WARMUP_CYCLES = 9
SIGNS = ((24, 20), (20, 18))  # of so many increments so many must rise: 8e-4 and 2e-4 by chance
SLOWING = 0.6  # a climb whose second half is below this share of its first is settling


def increments(found: Sequence[Moment], key: Key) -> tuple[Series | None, int]:
    """The series of full-sized cycles (a control with few clients is added to its neighbour), and how many
    of its spans belong to the warm-up."""
    warm, _ = judged(found)
    one = series(found, key)
    if one is None:
        return None, 0
    largest = max(one.column("connection"), default=0.0)
    levels: list[float] = [one.levels[0]]
    spans: list[dict[str, float]] = []
    waiting: dict[str, float] = {}
    for level, span in zip(one.levels[1:], one.spans, strict=True):
        waiting = {name: waiting.get(name, 0.0) + amount for name, amount in span.items()}
        if largest and waiting.get("connection", 0.0) >= largest / 2:
            levels.append(level)
            spans.append(waiting)
            waiting = {}
    warmed = sum(1 for moment in warm if moment.peak)
    skip = max(0, WARMUP_CYCLES - warmed)
    return Series(key, tuple(levels), tuple(spans), one.peak, one.before), skip


def assess_memory(found: Sequence[Moment], key: Key, granted: Allowed) -> Assessed | None:
    """Judge one memory series; None with fewer than three increments under load.

    at_most is the upper end of the 95 % interval of the mean, which is the smallest leak that this run
    would have told from noise.
    """
    whole, skip = increments(found, key)
    if whole is None or len(whole.spans) < 3:
        return None
    grown = [
        value - granted.of(dict(span)) for value, span in zip(whole.increments, whole.spans, strict=True)
    ]
    clients = whole.column("connection")
    kept = list(zip(grown, clients, strict=True))[min(skip, max(0, len(grown) - 4)) :]
    rates = [value / amount for value, amount in kept]
    factor, rivals = driver(grown, whole, [0.0] * len(grown))
    _, low, high = mean_interval(rates)
    size = median(rates)
    exposure = math.fsum(amount for _, amount in kept)
    total = math.fsum(value for value, _ in kept)

    def result(status: str, why: str, *, growing: bool = False) -> Assessed:
        names = ("connection", ()) if status != "leaking" or size * exposure <= 0 else (factor, rivals)
        scale = _per(whole, names[0], clients)
        return Assessed(
            status, max(0.0, high), why, total, exposure, names[0], names[1],
            size * scale, low * scale, high * scale, growing,
        )  # fmt: skip

    rose = [value > max(TOLERANCE, FINEST * amount) for value, amount in kept]
    if _gross([value / amount for value, amount in zip(grown, clients, strict=True)], total):
        return result(
            "leaking",
            f"rose by at least {min(rates) / 1024:.0f} KiB per connection in each of {len(rates)} cycles",
        )
    after = rose[max(0, skip - (len(grown) - len(kept))) :] if skip else rose
    for length, needed in SIGNS:
        if len(after) >= length:
            risen = sum(after[-length:])
            if risen >= needed and not _slows(rates[-length:]):
                return result(
                    "leaking", f"rose in {risen} of the last {length} cycles and does not slow down"
                )
            return result("bounded", f"rose in {risen} of the last {length} cycles: an allocator's noise")
    missed = len(after) - sum(after)
    if missed > SIGNS[0][0] - SIGNS[0][1]:
        return result("bounded", f"stood still in {missed} of {len(after)} cycles: no steady growth")
    growing = all(rose[-3:]) and not _slows(rates)
    return result(
        "undecided", f"{len(after)} cycles after the warm-up are too few for a verdict", growing=growing
    )


def _per(whole: Series, factor: str, clients: Sequence[float]) -> float:
    """Connections per unit of the driver."""
    amount = math.fsum(whole.column(factor))
    return math.fsum(clients) / amount if amount else 1.0


def _gross(rates: Sequence[float], total: float) -> bool:
    """Far above any allocator, in every cycle, with no sign of slowing."""
    return len(rates) >= 6 and min(rates) >= GROSS and total >= GROSS_LEAST and not _slows(rates)


def _slows(rates: Sequence[float]) -> bool:
    """The second half rises clearly less than the first."""
    half = len(rates) // 2
    return half > 0 and median(rates[half:]) < SLOWING * median(rates[:half])


def counted_inside(found: Sequence[Moment]) -> bool:
    """True when runtime counters speak of memory, which then decide."""
    return any(
        key.metric == "memory" and key.kind in EXACT_MEMORY_KINDS for moment in found for key in moment.levels
    )
