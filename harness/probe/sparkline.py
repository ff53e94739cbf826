"""A series as one line of block characters."""

from __future__ import annotations

from collections.abc import Sequence

_BLOCKS = "▁▂▃▄▅▆▇█"
GAP = "·"


def sparkline(values: Sequence[float | None], width: int) -> str:
    """The series in at most ``width`` characters, lowest to highest; a gap is a dot.

    Each character shows the greatest value of its part: a peak is never hidden.
    """
    if not values or width < 1:
        return ""
    parts = [values[len(values) * at // width : len(values) * (at + 1) // width] for at in range(width)]
    if len(values) <= width:
        # Fewer values than characters: each has one, and the line is shorter.
        parts = [[value] for value in values]
    peaks = [max((value for value in part if value is not None), default=None) for part in parts]
    known = [peak for peak in peaks if peak is not None]
    if not known:
        return GAP * len(peaks)
    low, high = min(known), max(known)
    span = high - low
    return "".join(
        GAP if peak is None else _BLOCKS[round((peak - low) / span * (len(_BLOCKS) - 1)) if span else 0]
        for peak in peaks
    )
