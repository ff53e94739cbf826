"""Samples of a long run, thinned with age: each time bucket keeps its lowest, highest and last reading."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

METRICS = ("fds", "threads", "rss")
# (age, width), both in seconds: samples of at least this age share a bucket of this width.
AGES = ((600.0, 10.0), (3600.0, 60.0))
COARSE = ((60.0, 60.0), (3600.0, 600.0))  # the same where space is short
GAP, EVENTS, LAST = "gap", "events", "last"


def thinned(
    lines: Iterable[bytes], newest: float, ages: tuple[tuple[float, float], ...] = AGES
) -> Iterator[bytes]:
    """The lines to keep, in their order. newest: seconds since the run's start, from which the age is counted.
    Samples younger than the first age are all kept, and so is a line that cannot be read. Thinning twice changes
    nothing more.

    A bucket keeps the lowest and the highest reading of descriptors, threads and memory, the last one, the first gap
    and the first event."""
    bucket: tuple[str, float, int] | None = None
    kept: dict[str, tuple[float, int, bytes]] = {}
    for number, line in enumerate(lines):
        read = _read(line)
        at = _number(read.get("at")) if read else None
        width = _width(newest - at, ages) if at is not None else None
        here = (
            (str(read.get("trial")), width, math.floor(at / width))
            if read and at is not None and width
            else None
        )
        # A line that belongs to no bucket ends the current one as well, so that the lines stay in order.
        if here != bucket or here is None:
            yield from _in_order(kept)
            bucket, kept = here, {}
        if here is None or read is None:
            yield line
            continue
        _keep(kept, read, number, line)
    yield from _in_order(kept)


def _keep(kept: dict[str, tuple[float, int, bytes]], read: dict[str, Any], number: int, line: bytes) -> None:
    """Add a line to its bucket where it is the lowest, the highest, or the first of something. kept: what for → (what
    is compared, the number of the line, the line)."""
    for metric in METRICS:
        value = _number(read.get(metric))
        if value is None:
            continue
        for name, sign in ((f"lowest {metric}", 1.0), (f"highest {metric}", -1.0)):
            if name not in kept or sign * value < kept[name][0]:
                kept[name] = (sign * value, number, line)
    for name in (GAP, EVENTS):
        if read.get(name):
            kept.setdefault(name, (0.0, number, line))
    # A gap has no counts, so it must not replace the last reading of its bucket.
    if not read.get(GAP):
        kept[LAST] = (0.0, number, line)


def _in_order(kept: dict[str, tuple[float, int, bytes]]) -> Iterator[bytes]:
    chosen = {number: line for _, number, line in kept.values()}
    return (chosen[number] for number in sorted(chosen))


def _width(age: float, ages: tuple[tuple[float, float], ...]) -> float | None:
    """Seconds of the bucket of this age; None for samples that are all kept."""
    return next((width for least, width in reversed(ages) if age >= least), None)


def _read(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _number(value: Any) -> float | None:
    whole = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if whole else None
