"""Anonymous memory: a series with noise of its own.

A healthy CPython server climbs about 1 kB per connection for thousands of connections with no leak
(measured), so growth alone proves nothing. After a warm-up of nine cycles a sign test over at least 20
increments decides; with fewer, only growth far above any allocator's staircase (16 KiB per connection in
every cycle) is called a leak, and otherwise the smallest leak that could have been seen is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from harness.core.cycle import Phase
from harness.core.judge_counts import judged_cycles
from harness.core.metric import Key
from harness.core.record import Trial
from harness.core.stats import mean_interval, median

TOLERANCE = 16 * 1024  # bytes per cycle
GROSS = 16 * 1024  # bytes per connection
WARMUP = 9
SIGNS = {20: 18, 24: 20}  # increments → how many must be positive


@dataclass(frozen=True, slots=True)
class MemoryResult:
    """status: leaking | bounded | unsure. rate, low, high, at_most: bytes per connection."""

    status: str
    rate: float
    low: float
    high: float
    at_most: float
    why: str


def assess_memory(trial: Trial, key: Key) -> MemoryResult | None:
    """Judge one memory series; None with fewer than two readings under load."""
    cycles = [o for o in judged_cycles(trial) if key in o.levels]
    if len(cycles) < 3:
        return None
    per_connection = [
        (after.levels[key] - before.levels[key], after.ledger.opened)
        for before, after in pairwise(cycles)
        if after.ledger.opened
    ]
    if not per_connection:
        return None
    warmed = sum(1 for o in trial.observations if o.spec.phase is Phase.WARMUP)
    skip = max(0, min(WARMUP - warmed, len(per_connection) - 20))
    kept = per_connection[skip:]
    rates = [grown / opened for grown, opened in kept]
    value = median(rates)
    _, low, high = mean_interval(rates)
    budget = trial.budget.growth.get(str(key), trial.budget.growth.get("memory", 1024.0))
    positive = sum(1 for grown, opened in kept if grown - budget * opened > TOLERANCE)
    for length, needed in sorted(SIGNS.items(), reverse=True):
        if len(kept) >= length:
            recent = kept[-length:]
            risen = sum(1 for grown, opened in recent if grown - budget * opened > TOLERANCE)
            if risen >= needed:
                return MemoryResult(
                    "leaking", value, low, high, high, f"rose in {risen} of the last {length} cycles"
                )
            return MemoryResult(
                "bounded", value, low, high, max(high, 0.0), f"rose in {risen} of {length} cycles"
            )
    half = kept[len(kept) // 2 :]
    if (
        len(kept) >= 4
        and positive == len(kept)
        and min(rates) >= GROSS
        and median([g / o for g, o in half]) >= GROSS
    ):
        return MemoryResult(
            "leaking", value, low, high, high, f"rose in each of {len(kept)} cycles, far above noise"
        )
    return MemoryResult(
        "unsure", value, low, high, max(high, 0.0), f"{len(kept)} cycles are too few for a verdict"
    )
