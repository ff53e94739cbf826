"""Tests anonymous memory, a series with noise of its own, by the signs of its changes.

Growth alone proves nothing: healthy servers of seven kinds grow by up to 4 kB per connection for up to 9,000
connections and then stop (measured, docs/detector.md). A single small cycle proves nothing either, because an allocator
takes whole arenas of a megabyte. Cycles are therefore joined to blocks, each with enough connections for a leak of
the asked size to fill an arena. Blocks within the warm-up count only when they do not grow. A leak rises in nearly
every later block and does not slow down. With fewer blocks only growth far above any allocator's steps is a leak.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

from harness.core.judge.assessed import Allowed, Assessed
from harness.core.judge.diagnose import driver
from harness.core.judge.moment import Moment
from harness.core.judge.moments import Series, series, split_warmup
from harness.core.judge.trend import critical
from harness.core.metric import EXACT_MEMORY_KINDS, Key
from harness.core.stats.distributions import mean_interval, median
from harness.core.stats.linear import line
from harness.core.units import counted

MEMORY = Key("memory", "anonymous")
ASKED = 1024.0  # bytes per connection that must not be missed
ARENA = float(1 << 20)  # bytes: an arena of CPython ≥ 3.10, the largest step an allocator takes as a rule
BLOCK = 2.0 * ARENA / ASKED  # connections in which a leak of the asked size takes two of them
WARM_UP_CONNECTIONS = 9000.0  # connections during which a healthy service may climb
TOLERANCE = 16.0 * 1024  # bytes per block: a few pages come and go
# Bytes per connection below which the slow growth of an allocator cannot be distinguished from a leak.
SMALLEST_LEAK_BYTES = 128.0
GROSS_RATE = 16.0 * 1024  # bytes per connection: above any staircase or warm-up met after its third cycle
GROSS_LEAST = 8.0 * (1 << 20)  # bytes of growth in all
# (blocks, how many of them must rise). The probabilities by chance are 2e-4, 3e-4, 2e-4 and 8e-4 (sign test).
SIGNS = ((24, 20), (20, 18), (16, 15), (12, 12))
RISING = 8  # cycles of which at most one may fall: 9 of 256 orders of rises and falls
RISING_LEAST = 512.0 * 1024  # bytes by which the level must have risen over these cycles
RISE_EXCESS = 0.35  # of the probability of a rise over one half, under a leak
CERTAIN_SIGNS = 100.0  # one false alarm in 100, the goal for memory; the line's own test comes on top
# Blocks after the warm-up that all rose by MIN_ARENAS or more, in a straight line far above its noise. By chance the
# signs do so once in 128 runs, the line once in 2,000. Every healthy service that was recorded rises by less than one
# arena a block after WARM_UP_CONNECTIONS. Fewer arenas a block would leave the driver open: memory grows in steps.
EVEN_BLOCKS = 7
MIN_ARENAS = 4.0
MIN_CLIMB_LEVELS = 4
MIN_CLIMB_ERRORS = 3.0  # standard errors that the slope of a climb must exceed
MIN_BLOCKS_FOR_PASS = 4  # blocks needed before two without growth at the end are a pass
MIN_SUSPECT_BLOCKS = 4  # blocks after the warm-up that, if they all rose, keep a run from passing
MIN_LATE_SHARE = 0.25  # share of a growth that its second half must hold, as ``growth`` requires of counts
MAX_GIVEN_BACK = 0.2  # share of its growth that a leak releases again at most
MIN_LATE_PACE = 0.6  # share of the pace of its first half that growth keeps in its second, unless it settles


def joined(one: Series, least: float) -> Series:
    """The series with neighbouring spans joined until each has ``least`` connections or more. A remainder at the end
    counts when it has at least half as many."""
    levels: list[float] = [one.levels[0]]
    spans: list[dict[str, float]] = []
    waiting: dict[str, float] = {}
    for index, (level, span) in enumerate(zip(one.levels[1:], one.spans, strict=True)):
        waiting = {name: waiting.get(name, 0.0) + amount for name, amount in span.items()}
        enough = least / 2 if index == len(one.spans) - 1 and one.spans[-1].get("connection") else least
        if waiting.get("connection", 0.0) >= max(1.0, enough):
            levels.append(level)
            spans.append(waiting)
            waiting = {}
    return Series(one.key, tuple(levels), tuple(spans), one.peak, one.before)


def assess_memory(found: Sequence[Moment], key: Key, granted: Allowed) -> Assessed | None:
    """Judge one memory series; None with fewer than three increments under load.

    at_most: the smallest leak per connection that this run would have found despite the noise: the upper end of the
    95 % interval of the mean, and one arena over the connections seen, whichever is larger.
    """
    one = series(found, key)
    if one is None or sum(1 for amount in one.column("connection") if amount) < 3:
        return None
    largest = max(one.column("connection"))
    cycles = joined(one, largest / 2)
    rates = [grown / amount for grown, amount in _pairs(cycles, granted)]
    total = one.levels[-1] - one.levels[0]
    if _far_above_allocators(rates, total):
        why = f"rose by at least {min(rates) / 1024:.0f} KiB per connection in each of {counted(len(rates), 'cycle')}"
        return _leaking(cycles, granted, why)
    blocks = joined(one, BLOCK)
    warm, _ = split_warmup(found)
    decided = _by_signs(blocks, granted, warm[-1].done.get("connection", 0.0))
    if decided.status == "bounded" and (grown := rising(one)):
        seconds = math.fsum(one.column("time")[-RISING:])
        why = f"rose by {grown / 1e6:.3g} MB in the last {seconds:.0f} s, in nearly every cycle, whatever its load"
        return replace(decided, status="undecided", why=why, growing=True)
    if decided.status == "undecided" and not decided.growing and (rise := still_rising(one, granted)):
        return replace(decided, why=f"{rise}: {decided.why}", growing=True)
    return decided


def rising(one: Series) -> float:
    """Bytes by which the level rose over the last RISING cycles, if it rose in nearly every one of them; else 0. Blocks
    of connections do not show what grows over time."""
    last = one.increments[-RISING:]
    ups = sum(1 for value in last if value > 0)
    total = math.fsum(last)
    return total if len(last) == RISING and ups >= RISING - 1 and total >= RISING_LEAST else 0.0


def still_rising(one: Series, granted: Allowed) -> str:
    """How a series too short for any test has grown, if the growth continues; else "". It continues if more than an
    arena, and at least MIN_LATE_SHARE of all, came with the second half of the connections. A pass would claim that it
    has stopped."""
    pairs = _pairs(one, granted)
    half = math.fsum(amount for _, amount in pairs) / 2
    passed = late = 0.0
    for value, amount in pairs:
        share = min(1.0, max(0.0, (passed + amount - half) / amount)) if amount > 0 else float(passed >= half)
        late += share * value
        passed += amount
    total = math.fsum(value for value, _ in pairs)
    if late <= ARENA or late < MIN_LATE_SHARE * total:
        return ""
    # The connections of all cycles: the blocks may leave some out, or there may be no whole block yet.
    seen = counted(math.fsum(one.column("connection")), "connection", ",.0f")
    if total <= 0:
        return f"rose by {late / 1e6:.3g} MB in the second half of {seen}, to no more than it was at first"
    return f"rose by {total / 1e6:.3g} MB over {seen}, until the last of them"


def _by_signs(blocks: Series, granted: Allowed, before: float) -> Assessed:
    """Judge whole blocks by how many of them rose. before: connections served before the first block."""
    pairs = _pairs(blocks, granted)
    rose = [value > max(TOLERANCE, SMALLEST_LEAK_BYTES * amount) for value, amount in pairs]
    # Rises within the warm-up are not evidence, so the signs begin with the first block after it.
    first = 0
    for _, amount in pairs:
        if before >= WARM_UP_CONNECTIONS:
            break
        before += amount
        first += 1
    if certain := _certain_rise(blocks, pairs, rose, first):
        start, why = certain
        late = Series(blocks.key, blocks.levels[start:], blocks.spans[start:], blocks.peak, blocks.before)
        return _leaking(late, granted, why)
    return _without_certain_rise(blocks, pairs, rose, first)


def _certain_rise(
    blocks: Series, pairs: Sequence[tuple[float, float]], rose: Sequence[bool], first: int
) -> tuple[int, str] | None:
    """The index of the block with which a certain leak begins, and why it is certain; None without one. pairs: growth
    and connections of each block. first: the first block after the warm-up."""
    kept, signs = pairs[first:], rose[first:]
    for length, needed in SIGNS:
        if len(signs) >= length and sum(signs[-length:]) >= needed and _steady(kept[-length:]):
            up = sum(signs[-length:])
            return len(pairs) - length, f"rose in {up} of the last {length} blocks and does not slow down"
    # Signs that are too mixed for the table above can still be certain together with the size of the rises: the e-value
    # of the signs and a straight line far above its noise. The last two blocks must not both stand still.
    slope = _line(blocks, first)
    straight = slope >= critical(len(signs))
    mixed = len(signs) >= SIGNS[-1][0] and (signs[-1] or signs[-2]) and sign_evidence(signs) >= CERTAIN_SIGNS
    if mixed and straight and _steady(kept):
        many = counted(len(signs), "block")
        return first, f"rose in {sum(signs)} of {many}, {slope:.0f} times its noise"
    # Steep growth needs fewer blocks: each of them rose by several arenas.
    if len(signs) >= EVEN_BLOCKS and all(signs) and straight and _by_arenas(kept) and _steady(kept):
        many = counted(len(kept), "block")
        return first, f"rose in each of {many} by {MIN_ARENAS:g} arenas or more, {slope:.0f} times its noise"
    return None


def _steady(pairs: Sequence[tuple[float, float]]) -> bool:
    """Whether growth neither slows down nor is given back."""
    rates = [value / amount for value, amount in pairs]
    return not slows(rates) and not gives_back(rates)


def _without_certain_rise(
    blocks: Series, pairs: Sequence[tuple[float, float]], rose: Sequence[bool], first: int
) -> Assessed:
    """The bound of blocks that show no certain leak: from the blocks after the warm-up, or from those at the end
    without growth if they are more."""
    kept, signs = pairs[first:], rose[first:]
    tail = max(2, sum(1 for _ in _still_blocks(rose)))
    seen = kept if len(kept) > tail else pairs[-tail:]
    largest = _largest_rate(seen)
    exposure = math.fsum(amount for _, amount in pairs)
    total = math.fsum(value for value, _ in pairs)
    if len(rose) >= MIN_BLOCKS_FOR_PASS and not any(rose[-2:]):
        # What stood still has the bound of the time since then: the growth before was no leak.
        largest = _largest_rate(pairs[-tail:])
        why = f"stood still over the last {counted(math.fsum(a for _, a in pairs[-tail:]), 'connection', ',.0f')}"
        return Assessed("bounded", largest, why, total, exposure)
    if len(signs) - sum(signs) > SIGNS[0][0] - SIGNS[0][1] or len(signs) >= SIGNS[0][0]:
        why = f"rose in only {sum(signs)} of {counted(len(signs), 'block')}: an allocator's noise"
        return Assessed("bounded", largest, why, total, exposure)
    missed = SIGNS[-1][0] - len(signs)
    needs = f"about {max(missed, 2) * BLOCK:,.0f} more connections would decide it"
    steep = bool(kept) and _by_arenas(kept) and not slows([value / amount for value, amount in pairs])
    growing = (len(signs) >= MIN_SUSPECT_BLOCKS and all(signs[-3:])) or steep or _climbs(blocks)
    what = (
        f"rose in {sum(signs)} of {counted(len(signs), 'block')} after the warm-up"
        if signs
        else "the warm-up is not over"
    )
    return Assessed("undecided", largest, f"{what}; {needs}", total, exposure, growing=growing)


def sign_evidence(signs: Sequence[bool]) -> float:
    """An e-value against "a block rises or stands still with equal chance": each rise is bet on with RISE_EXCESS. It
    holds however often one looks (Ville's inequality)."""
    up = sum(signs)
    return float((1 + 2 * RISE_EXCESS) ** up * (1 - 2 * RISE_EXCESS) ** (len(signs) - up))


def _by_arenas(pairs: Sequence[tuple[float, float]]) -> bool:
    """Whether every block and its neighbour together rose by MIN_ARENAS a block or more. A short block at the end needs
    its share of them. Pairs are compared because a heap that was collected in one block takes more in the next."""
    joint = pairwise(pairs) if len(pairs) > 1 else [(pairs[0], (0.0, 0.0))]
    return all(
        one + other >= MIN_ARENAS * ARENA * min(1.0 + bool(after), (amount + after) / BLOCK)
        for (one, amount), (other, after) in joint
    )


def _climbs(one: Series) -> bool:
    """Whether the later half of the cycles rose by more than an arena, with a straight line far above its noise: too
    little for a leak, too much for a pass."""
    half = len(one.levels) // 2
    later = one.levels[half:]
    times = [0.0, *accumulate(span.get("time", 0.0) for span in one.spans)][half:]
    if len(later) < MIN_CLIMB_LEVELS or later[-1] - min(later[:2]) < ARENA:
        return False
    found = line(later, [[at - times[0] for at in times]], TOLERANCE)
    return found is not None and found.slopes[0] >= MIN_CLIMB_ERRORS * found.errors[0]


def _line(blocks: Series, first: int) -> float:
    """Slope of a straight line over the blocks after the warm-up, in its standard errors (AR(1))."""
    levels = blocks.levels[first:]
    clients = [0.0, *accumulate(span.get("connection", 0.0) for span in blocks.spans[first:])]
    found = line(levels, [clients], TOLERANCE)
    return found.slopes[0] / found.errors[0] if found else 0.0


def _pairs(one: Series, granted: Allowed) -> list[tuple[float, float]]:
    """Growth beyond what is granted, and connections, span by span."""
    return [
        (value - granted.of(dict(span)), span.get("connection", 0.0))
        for value, span in zip(one.increments, one.spans, strict=True)
    ]


def _still_blocks(rose: Sequence[bool]) -> Sequence[bool]:
    """The blocks at the end that did not grow."""
    last = max((index for index, up in enumerate(rose) if up), default=-1)
    return rose[last + 1 :]


def _largest_rate(pairs: Sequence[tuple[float, float]]) -> float:
    """The largest rate that could have remained undetected in these blocks."""
    connections = math.fsum(amount for _, amount in pairs)
    if connections <= 0:
        return math.inf
    total = max(0.0, math.fsum(grown for grown, _ in pairs))
    arena = (total + ARENA) / connections
    if len(pairs) < 3:
        return arena
    return max(arena, mean_interval([grown / amount for grown, amount in pairs])[2])


def _leaking(one: Series, granted: Allowed, why: str) -> Assessed:
    """A certain leak over these spans, in units of its driver.

    The interval is Student's over the spans, and TOLERANCE a span wider at either end: pages of a healthy part may come
    in every span, so more spans do not average them out. If an allocator takes memory in one span and releases it in
    the next, the spans differ by more than the mean is uncertain, and the interval is wider than necessary.
    """
    pairs = _pairs(one, granted)
    factor, rivals = driver([value for value, _ in pairs], one, [0.0] * len(pairs))
    exposure = math.fsum(amount for _, amount in pairs)
    total = math.fsum(value for value, _ in pairs)
    amounts = one.column(factor)
    usable = [value / amount for (value, _), amount in zip(pairs, amounts, strict=True) if amount > 0]
    mean, low, high = mean_interval(usable)
    pages = TOLERANCE * len(usable) / math.fsum(amounts)
    per_connection = mean_interval([value / amount for value, amount in pairs])[2]
    return Assessed(
        "leaking", per_connection, why, total, exposure, factor, rivals, mean, low - pages, high + pages
    )


def _far_above_allocators(rates: Sequence[float], total: float) -> bool:
    """Whether the growth is far above any allocator's in every cycle, and does not slow down."""
    return len(rates) >= 6 and min(rates) >= GROSS_RATE and total >= GROSS_LEAST and not slows(rates)


def slows(rates: Sequence[float]) -> bool:
    """Whether the second half rises clearly less than the first."""
    half = len(rates) // 2
    return half > 0 and median(rates[half:]) < MIN_LATE_PACE * median(rates[:half])


def gives_back(rates: Sequence[float]) -> bool:
    """Whether more than MAX_GIVEN_BACK of the growth was released again, as by a heap that is collected."""
    return -math.fsum(min(0.0, rate) for rate in rates) > MAX_GIVEN_BACK * math.fsum(
        max(0.0, rate) for rate in rates
    )


def counted_inside(found: Sequence[Moment]) -> bool:
    """Whether a runtime counts its memory itself: its counters then decide, and not the anonymous memory."""
    return any(
        key.metric == "memory" and key.kind in EXACT_MEMORY_KINDS for moment in found for key in moment.levels
    )
