"""The CPU time that an idle service uses, beside the counts that grew: what it says about them, and they about it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median

from harness.core.judge.assessed import Assessed
from harness.core.judge.moment import Moment
from harness.core.judge.moments import level_of
from harness.core.metric import Judged, Key, rank

IDLE_CPU = Key("idle-cpu")
MIN_RISE = 0.05  # cores: the idle service then works for what it retains
# Shares of a count's growth: readings below the first were taken before most of it, those above the second after.
BEFORE, AFTER = 0.25, 0.75
# Chance by which the readings after the growth may rank that high if idle CPU did not depend on it.
MAX_CHANCE = 0.001
MAX_RANKED = 12  # latest readings of each group that are ranked: enough for 4 in 10,000,000, and soon counted


def rule_out_cache(results: Mapping[Key, Assessed]) -> dict[Key, Assessed]:
    """Memory that a cache could hold is a leak if the idle service uses more CPU the more it retains: a service does no
    work for the entries of a cache."""
    cpu = results.get(IDLE_CPU)
    busy = cpu is not None and cpu.total >= MIN_RISE and (cpu.growing or cpu.status == "leaking")
    return {
        key: replace(one, status="leaking", growing=False, cache="", why=_worked(one.cache, cpu))
        if busy and one.cache and one.rate > 0
        else one
        for key, one in results.items()
    }


def _worked(growth: str, cpu: Assessed | None) -> str:
    cores = f"{cpu.total:.2g}" if cpu else "0"
    return f"{growth}; idle CPU rose by {cores} cores with it, so it is not a cache"


def beside_growth(results: Mapping[Key, Assessed], found: Sequence[Moment]) -> dict[Key, Assessed]:
    """The results, with idle CPU ``leaking`` where it was undecided and is higher after a certain leak than before it.

    The test of idle CPU by itself needs several loads, each followed by a reading. A leak of one timer per stream was
    certain after four loads, most of it in one of them, while the idle service had come to use 0.4 cores: 4 readings
    before and 25 after. Those two groups are compared by their ranks (Mann and Whitney 1947, the exact distribution),
    which a disturbed machine hardly changes. Without the leak beside it this would say nothing: idle CPU also rises
    with what a service compiles or reloads."""
    cpu = results.get(IDLE_CPU)
    if cpu is None or cpu.status != "undecided":
        return dict(results)
    causes = [
        k
        for k, one in results.items()
        if one.status == "leaking" and k.judged is Judged.EXACT and one.rate > 0
    ]
    for cause in sorted(causes, key=rank):
        led = results[cause]
        read = [
            (level, work, moment.done.get(led.factor, 0.0))
            for moment in found
            if (level := level_of(moment, cause)) is not None
            and (work := level_of(moment, IDLE_CPU)) is not None
        ]
        if not read or led.factor == "time":
            continue
        lowest, highest = min(level for level, *_ in read), max(level for level, *_ in read)
        before = [one for one in read if one[0] <= lowest + BEFORE * (highest - lowest)]
        after = [one for one in read if one[0] >= lowest + AFTER * (highest - lowest)]
        was, now = median(work for _, work, _ in before), median(work for _, work, _ in after)
        driven = median(amount for *_, amount in after) - median(amount for *_, amount in before)
        chance = rank_chance(*([work for _, work, _ in group[-MAX_RANKED:]] for group in (before, after)))
        if driven <= 0 or now - was < MIN_RISE or chance > MAX_CHANCE:
            continue
        low = min(work for _, work, _ in after) - max(work for _, work, _ in before)
        high = max(work for _, work, _ in after) - min(work for _, work, _ in before)
        why = f"rose from {was:.2g} to {now:.2g} cores while {cause} grew"
        risen = replace(
            cpu, status="leaking", why=why, total=now - was, factor=led.factor, rivals=led.rivals, growing=False,
            rate=(now - was) / driven, low=max(0.0, low) / driven, high=high / driven,
        )  # fmt: skip
        return {**results, IDLE_CPU: risen}
    return dict(results)


def rank_chance(before: Sequence[float], after: Sequence[float]) -> float:
    """The chance that readings of one distribution rank as high as ``after`` does among all (one-sided).

    Equal readings count as if they were in the wrong order. The number of orders with each sum of ranks follows from a
    recurrence over the readings."""
    pairs = sum(late > early for late in after for early in before)
    # ways[taken][sum]: in how many ways so many of the readings so far are those after the growth, which exceed that
    # many readings before it in all.
    ways = [{0: 1}] + [{} for _ in after]
    for place in range(len(before) + len(after)):
        for taken in range(min(place, len(after) - 1), -1, -1):
            exceeded = place - taken
            if exceeded > len(before):
                continue
            for total, number in ways[taken].items():
                ways[taken + 1][total + exceeded] = ways[taken + 1].get(total + exceeded, 0) + number
    orders = ways[len(after)]
    return sum(number for total, number in orders.items() if total >= pairs) / math.comb(
        len(before) + len(after), len(after)
    )
