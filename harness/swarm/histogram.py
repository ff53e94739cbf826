"""Times in buckets of two percent: percentiles of millions of values in a few kilobytes, and addable."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

STEP = math.log(1.02)
MIN_SECONDS = 1e-6  # seconds: the bucket 0


class Histogram:
    """Counts by bucket; a quantile is off by at most one percent."""

    def __init__(self, counts: Mapping[int, int] | Iterable[tuple[int, int]] = ()) -> None:
        self.counts: dict[int, int] = dict(counts)

    def add(self, seconds: float, count: int = 1) -> None:
        """Count a time."""
        bucket = int(math.log(seconds / MIN_SECONDS) / STEP) + 1 if seconds > MIN_SECONDS else 0
        self.counts[bucket] = self.counts.get(bucket, 0) + count

    def merge(self, other: Histogram) -> None:
        """Add another's counts."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count

    def quantile(self, share: float) -> float | None:
        """The time (seconds) that a share (0 to 1) of the values do not pass; None without values."""
        total = sum(self.counts.values())
        if not total:
            return None
        rank, seen = max(1, math.ceil(share * total)), 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= rank:
                # The middle of the bucket, which is two percent wide: no value in it is further away than one percent.
                return MIN_SECONDS * math.exp((bucket - 0.5) * STEP) if bucket else MIN_SECONDS
        return None
