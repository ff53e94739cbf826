"""Keeps the samples of a run of any length in bounded memory: all of the newest, fewer of the older ones."""

from __future__ import annotations

from harness.core.sample import Sample

NEWEST = 2048  # samples of which none is dropped: over three minutes at 10 Hz
MAX_KEPT = 4096  # samples in all


class History:
    """Spans everything appended. When it is full, every second sample of the older half is dropped.
    Gaps are kept, because they are rare and important."""

    def __init__(self, most: int = MAX_KEPT, newest: int = NEWEST) -> None:
        self._samples: list[Sample] = []
        self._most = most
        self._newest = newest

    def append(self, sample: Sample) -> None:
        """Add a sample, at amortised constant cost."""
        self._samples.append(sample)
        if len(self._samples) > self._most:
            cut = len(self._samples) - self._newest
            # Repeated thinning halves the resolution of the oldest samples each time, so the whole run stays covered.
            kept = [s for i, s in enumerate(self._samples[:cut]) if i % 2 == 0 or s.gap or s.events]
            if len(kept) > self._most - self._newest:
                # Gaps and events may be so many that they alone fill the older half; then they are thinned as well.
                kept = kept[::2]
            self._samples[:cut] = kept

    def all(self) -> list[Sample]:
        """All samples, oldest first."""
        return list(self._samples)

    def last(self) -> Sample | None:
        """The newest sample; None when there is none."""
        return self._samples[-1] if self._samples else None
