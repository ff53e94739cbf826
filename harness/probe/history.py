"""Samples of any length of run in bounded memory: the newest in full, the older ones thinned."""

from __future__ import annotations

from harness.core.sample import Sample

NEWEST = 2048  # kept in full: over three minutes at 10 Hz
MOST = 4096


class History:
    """Spans everything appended. Each time it is full, every second one of the older half is dropped;
    gaps stay, because a gap is rare and is what one looks for."""

    def __init__(self, most: int = MOST, newest: int = NEWEST) -> None:
        self._samples: list[Sample] = []
        self._most = most
        self._newest = newest

    def append(self, sample: Sample) -> None:
        """Amortised constant cost."""
        self._samples.append(sample)
        if len(self._samples) > self._most:
            cut = len(self._samples) - self._newest
            kept = [s for i, s in enumerate(self._samples[:cut]) if i % 2 == 0 or s.gap or s.events]
            if len(kept) > self._most - self._newest:
                kept = kept[::2]
            self._samples[:cut] = kept

    def all(self) -> list[Sample]:
        """Oldest first."""
        return list(self._samples)

    def last(self) -> Sample | None:
        """The newest; None when nothing was appended."""
        return self._samples[-1] if self._samples else None
