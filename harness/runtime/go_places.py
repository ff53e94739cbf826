"""Turns the profiles of a Go service, and its dump of every goroutine, into places. Pure.

Formats: runtime/pprof, the text of ``debug=1`` (pprof.go, writeHeapInternal and printCountProfile) and of ``debug=2``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from harness.core.frames import Frame, is_go_library, own_first, written
from harness.core.trace import goroutines
from harness.runtime.counters import MIN_PER_CONNECTION, Growth

STACK = re.compile(r"^(\d+)(?:: (\d+) \[\d+: \d+\])? @")
FRAME = re.compile(r"^#\t0x[0-9a-f]+\t(\S+?)\+0x[0-9a-f]+\t+(.+):(\d+)$")
HEAP = re.compile(r"^heap profile: .* @ heap/(\d+)", re.MULTILINE)
# How Go names the states in which a goroutine does not wait for another one (runtime/traceback.go, goroutineheader).
BUSY = {
    "running": "running",
    "runnable": "runnable",
    "dead": "ended",
    "syscall": "in a system call or C code",
}
_AGE = re.compile(r", \d+ minutes?")
OWN_GOROUTINE = "runtime/pprof.writeGoroutine"  # the one that writes the page
Profile = dict[tuple[Frame, ...], tuple[float, float]]  # frames innermost first → count, bytes
Stack = tuple[str, tuple[Frame, ...], tuple[Frame, ...]]  # state, frames innermost first, what started it


def sampling(text: str) -> int:
    """Bytes between two samples: the header carries twice runtime.MemProfileRate."""
    found = HEAP.search(text)
    return max(1, int(found[1]) // 2) if found else 1


def parse(text: str) -> Profile:
    """Groups of a debug=1 profile; heap groups carry bytes in use, goroutine groups 0."""
    groups: Profile = {}
    count, size, frames, inside = 0.0, 0.0, list[Frame](), False

    def finish() -> None:
        key = tuple(frames)
        if inside and not any(frame[2] == OWN_GOROUTINE for frame in frames):
            before = groups.get(key, (0.0, 0.0))
            groups[key] = (before[0] + count, before[1] + size)

    for line in text.splitlines():
        start = STACK.match(line)
        if start or not line.strip():
            finish()
            inside = bool(start)
            frames = []
            if start:
                # The figures outside of the brackets are in use; those in brackets count everything that was ever
                # allocated.
                count, size = float(start[1]), float(start[2] or 0)
        elif inside and (frame := FRAME.match(line)):
            frames.append((frame[2], int(frame[3]), frame[1]))
    finish()
    return groups


def stacks_of(text: str) -> dict[Stack, int]:
    """Goroutines of a debug=2 page by state, stack and what started them."""
    found: dict[Stack, int] = {}
    for one in goroutines(text.splitlines()):
        if any(function.startswith("runtime/pprof.") for _, _, function in one.frames):
            continue  # the one that writes the page
        # How long a goroutine waits changes with every reading, and must not make two of one.
        state = _AGE.sub("", one.state).replace(", locked to thread", "").replace(" (nil chan)", " of nil")
        key = (state.partition(" (")[0], tuple(one.frames), tuple(one.made))
        found[key] = found.get(key, 0) + 1
    return found


def stack_growth(before: Mapping[Stack, int], after: Mapping[Stack, int], connections: float) -> list[Growth]:
    """Goroutines by the service's innermost line, with what they wait in; those without a frame of the service by the
    line that started them."""
    counts: dict[str, int] = {}
    lines: dict[Frame, int] = {}  # in whatever state: one that only changes its state is no growth
    stacks: dict[str, tuple[Frame, ...]] = {}
    for state, frames, made in dict.fromkeys((*after, *before)):
        grown = after.get((state, frames, made), 0) - before.get((state, frames, made), 0)
        ordered = own_first("go", frames)
        started = bool(made) and not is_go_library(made[0]) and (not ordered or is_go_library(ordered[0]))
        ordered = (*made, *ordered) if started else (*ordered, *made)
        if not ordered:
            continue
        waits = BUSY.get(state) or f"waiting in {state}"
        site = f"{written(ordered[0])} ({'started here, ' if started else ''}{waits})"
        counts[site] = counts.get(site, 0) + grown
        lines[ordered[0]] = lines.get(ordered[0], 0) + grown
        stacks.setdefault(site, ordered)
    found = [
        Growth(
            site,
            count / max(1, connections),
            "goroutines",
            "goroutine",
            None,
            tuple(map(written, stacks[site])),
            not is_go_library(stacks[site][0]),
        )
        for site, count in counts.items()
        if min(count, lines[stacks[site][0]]) / max(1, connections) >= MIN_PER_CONNECTION
    ]
    return sorted(found, key=lambda growth: (not growth.own, -growth.per_connection))


def scaled(profile: Profile, rate: int) -> Profile:
    """Estimated true values of a sampled heap: each sample stands for 1/(1 − e^(−size/rate)) of its kind
    (pprof, scaleHeapSample)."""
    return {
        frames: (count * factor, size * factor)
        for frames, (count, size) in profile.items()
        if count and (factor := 1 / (1 - math.exp(-(size / count) / rate)) if rate > 1 and size else 1.0)
    }


def site_growth(before: Profile, after: Profile, connections: float, unit: str, kind: str) -> list[Growth]:
    """Growth by the service's innermost line."""
    sums: dict[Frame, list[float]] = {}
    stacks: dict[Frame, tuple[str, ...]] = {}
    for frames in before.keys() | after.keys():
        if not frames:
            continue
        ordered = own_first("go", frames)
        old, new = before.get(frames, (0.0, 0.0)), after.get(frames, (0.0, 0.0))
        total = sums.setdefault(ordered[0], [0.0, 0.0])
        total[0] += new[0] - old[0]
        total[1] += new[1] - old[1]
        stacks.setdefault(ordered[0], tuple(map(written, ordered)))
    found = []
    for site, (count, size) in sums.items():
        rate = count / max(1, connections)
        if rate >= MIN_PER_CONNECTION:
            per_byte = size / max(1, connections) if size else None
            growth = Growth(written(site), rate, unit, kind, per_byte, stacks[site], not is_go_library(site))
            found.append((is_go_library(site), -size, -rate, growth))
    return [growth for *_, growth in sorted(found, key=lambda item: item[:3])]
