"""The line at which each task, greenlet or thread of the target waits, and the lines that allocated what is still
alive. Standard library only; used only after growth was found."""

from __future__ import annotations

import gc
import sys

import harness_chains
import harness_descriptors
import harness_holders
import harness_readings

if False:  # for the type checker alone: the target need not load typing
    from typing import Any

DEPTH = 25  # frames of a stack, or steps of an await chain
MAX_SITES = 2000  # places of an answer
MAX_TRACES = 100_000  # allocations that are listed
# Bytes of tracemalloc's own tables, about 64 a trace: listing them holds the interpreter for 1 µs a trace.
MAX_TABLES = 8 << 20
HERE = __file__.rpartition("/")[0] + "/"

_started_here = [False]


def sites(_: int = 0) -> dict[str, object]:
    """The places where live tasks, greenlets and threads wait, as groups of equal stacks, outermost frame first; and
    the places where descriptors that are still open were opened."""
    collected = harness_readings.collect()
    everything = gc.get_objects()
    groups: dict[tuple[object, ...], int] = {}
    for task in harness_readings.live_tasks(everything):
        count(groups, "asyncio-task", await_chain(task), harness_holders.origin(task))
    for greenlet in harness_readings.live_greenlets(everything):
        count(groups, "greenlet", stack(greenlet.gr_frame), harness_holders.origin(greenlet))  # type: ignore[attr-defined]
    for opened in harness_descriptors.live(everything):
        count(groups, "descriptor", (), opened)
    del everything
    threading = sys.modules.get("threading")
    active = dict(threading.__dict__.get("_active", ())) if threading else {}
    for ident, frame in sys._current_frames().items():
        if ident != harness_readings._ident():
            count(groups, "thread", stack(frame), harness_holders.origin(active.get(ident)))
    most = sorted(groups.items(), key=lambda item: -item[1])[:MAX_SITES]
    return {
        "collected": collected,
        "sites": [
            {"kind": kind, "frames": frames, "made": made, "count": number}
            for (kind, frames, made), number in most
        ],
        "dropped": len(groups) - len(most),
    }


def count(
    groups: dict[tuple[object, ...], int], kind: str, frames: tuple[object, ...], made: tuple[object, ...]
) -> None:
    """One more of this kind at this place, made at that one."""
    groups[(kind, frames, made)] = groups.get((kind, frames, made), 0) + 1


def stack(frame: object) -> tuple[object, ...]:
    """The innermost frames of a stack, outermost first."""
    frames: list[object] = []
    while frame is not None and len(frames) < DEPTH:
        frames.append(place(frame))
        frame = frame.f_back  # type: ignore[attr-defined]
    return tuple(reversed(frames))


def await_chain(task: object) -> tuple[object, ...]:
    """From the task's coroutine down to what it awaits in the end."""
    frames: list[object] = []
    waiting = task.get_coro()  # type: ignore[attr-defined]
    while waiting is not None and len(frames) < DEPTH:
        kind = {"coroutine": "cr", "generator": "gi", "async_generator": "ag"}.get(type(waiting).__name__)
        if kind is None:
            break  # a future, or an awaitable written in C that does not say what it waits for
        frame = getattr(waiting, kind + "_frame")
        if frame is not None:
            frames.append(place(frame))
        waiting = getattr(waiting, "gi_yieldfrom" if kind == "gi" else kind + "_await")
    return tuple(frames)


def place(frame: object) -> tuple[str, int, str]:
    """File, line and function of a frame; a method with its class, from CPython 3.11 on."""
    code = frame.f_code  # type: ignore[attr-defined]
    return (
        code.co_filename,
        frame.f_lineno or 0,
        harness_chains.short(getattr(code, "co_qualname", code.co_name)),
    )  # type: ignore[attr-defined]


def trace(frames: int) -> dict[str, object]:
    """Start tracemalloc, unless the target has started it: then its number of frames is kept."""
    import _tracemalloc

    if not _tracemalloc.is_tracing():
        _tracemalloc.start(max(1, min(frames or DEPTH, 100)))
        _started_here[0] = True
    harness_descriptors.begin()
    return {"tracing": True, "frames": _tracemalloc.get_traceback_limit()}


def untrace(_: int = 0) -> dict[str, object]:
    """Stop tracemalloc when it was the agent that started it."""
    import _tracemalloc

    harness_holders.forget()
    harness_descriptors.end()
    if _started_here[0]:
        _started_here[0] = False
        _tracemalloc.stop()
    return {"tracing": _tracemalloc.is_tracing()}


def snapshot(_: int = 0) -> dict[str, object]:
    """The live allocations since tracing began, by traceback (innermost frame first).

    frames: [[file, line], …]; traces: [[blocks, bytes, [index into frames, …]], …]. The agent's own are left
    out. At most 100,000 tracebacks, those with the most bytes; ``dropped`` says how many more there were.
    """
    import _tracemalloc

    if not _tracemalloc.is_tracing():
        return {"error": "not tracing"}
    # Garbage is traced as well: without a collection its lines would be reported as what is retained.
    collected = harness_readings.collect()
    groups: dict[tuple[tuple[str, int], ...], list[int]] = {}
    partial = None
    if _tracemalloc.get_tracemalloc_memory() > MAX_TABLES:
        partial = (
            "too many blocks are traced to list them all: only objects of the collector, by their basic size"
        )
        objects(_tracemalloc, groups)
    else:
        for trace_ in _tracemalloc._get_traces():
            group = groups.setdefault(trace_[2], [0, 0])
            group[0] += 1
            group[1] += trace_[1]
    own = [frames for frames in groups if any(file.startswith(HERE) for file, _ in frames)]
    for frames in own:
        del groups[frames]
    most = sorted(groups.items(), key=lambda item: -item[1][1])[:MAX_TRACES]
    numbers: dict[tuple[str, int], int] = {}
    traces = [
        [blocks, size, [numbers.setdefault(frame, len(numbers)) for frame in frames]]
        for frames, (blocks, size) in most
    ]
    return {
        "collected": collected,
        "frames": list(numbers),
        "traces": traces,
        "limit": _tracemalloc.get_traceback_limit(),
        "dropped": len(groups) - len(most),
        "bytes": _tracemalloc.get_traced_memory()[0],
        "partial": partial,
    }


def objects(tracemalloc: Any, groups: dict[tuple[tuple[str, int], ...], list[int]]) -> None:
    """Group the collector's objects by traceback, one after the other: the target's threads run in between."""
    if sys.getallocatedblocks() > harness_readings.MAX_BLOCKS:
        return
    traceback, size_of = tracemalloc._get_object_traceback, type.__dict__["__basicsize__"].__get__
    for one in gc.get_objects():
        frames = traceback(one)
        if frames is not None:
            group = groups.setdefault(frames, [0, 0])
            group[0] += 1
            group[1] += size_of(type(one))
