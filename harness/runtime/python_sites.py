"""From two readings of a Python to the places that grew. Pure: values in, values out."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, TypeVar

from harness.core.units import counted
from harness.runtime.counters import Attribution, Growth, most
from harness.runtime.place import Frame, is_library, own_first, written
from harness.runtime.snapshot import Snapshot, difference

LEAST = 0.02  # per connection: below this it is a reading's own noise
# Of fewer blocks than LEAST: no growth below this is called a leak, and a set or dict that was enlarged once, in one
# cycle of a few hundred connections, is 40 bytes per connection.
LEAST_BYTES = 128.0
Place = tuple[str, tuple[Frame, ...]]  # kind, frames outermost first
UNITS = {"asyncio-task": "tasks", "greenlet": "greenlets", "thread": "threads"}
KINDS = {"asyncio-task": "task", "greenlet": "greenlet", "thread": "thread"}
# What every growth contains: true, and of no use to the reader as long as anything else is known.
BUILTINS = frozenset(
    {"dict", "list", "tuple", "set", "cell", "function", "builtin_function_or_method", "method"}
)

T = TypeVar("T", bound=Hashable)


def total(counts: Iterable[Mapping[T, int]]) -> dict[T, int]:
    """The sum over processes."""
    sums: dict[T, int] = {}
    for each in counts:
        for key, count in each.items():
            sums[key] = sums.get(key, 0) + count
    return sums


def places(answers: Iterable[Iterable[Mapping[str, Any]]]) -> dict[Place, int]:
    """From the agents' answers to ``sites``."""
    sums: dict[Place, int] = {}
    for answer in answers:
        for site in answer:
            frames = tuple((str(file), int(line), str(name)) for file, line, name in site["frames"])
            place = (str(site["kind"]), frames)
            sums[place] = sums.get(place, 0) + int(site["count"])
    return sums


def growth_of(before: Mapping[T, int], after: Mapping[T, int]) -> dict[T, int]:
    """What there is more of now."""
    return {key: count - before.get(key, 0) for key, count in after.items() if count > before.get(key, 0)}


def attribution(
    *,
    types: Mapping[str, int],
    waiting: Mapping[Place, int],
    snapshots: tuple[Snapshot, Snapshot, Snapshot],
    cycles: tuple[float, float],
    top: int,
) -> Attribution:
    """Most telling first: what waits (a leaked task explains the objects it holds), then lines that allocated,
    then types, those of the service before built-in ones.

    types, waiting: growth over both cycles. snapshots: before, between and after them. cycles: connections of each.
    """
    start, between, after = snapshots
    connections = sum(cycles)
    notes: tuple[str, ...] = (
        (f"{counted(after.dropped, 'further traceback')} left out",) if after.dropped else ()
    )
    notes += tuple(dict.fromkeys((*start.notes, *between.notes, *after.notes)))
    growths = [
        *waiting_growth(waiting, connections),
        *lasting(line_growth(between, after, cycles[1]), line_growth(start, between, cycles[0])),
        *type_growth(types, connections),
    ]
    return most(growths, top, notes)


def waiting_growth(waiting: Mapping[Place, int], connections: float) -> list[Growth]:
    """Tasks, greenlets and threads by the line at which they wait."""
    found = []
    for (kind, frames), count in waiting.items():
        rate = count / max(1, connections)
        if rate < LEAST:
            continue
        ordered = own_first(tuple(reversed(frames)))
        site = written(ordered[0]) if ordered else "(no frame)"
        if ordered and ordered[0] != frames[-1]:
            site += f" (waiting in {written(frames[-1], short=True)})"
        found.append(
            Growth(
                site, rate, UNITS.get(kind, kind), KINDS.get(kind, kind), None, tuple(map(written, ordered))
            )
        )
    return sorted(found, key=lambda growth: -growth.per_connection)


def line_growth(before: Snapshot, after: Snapshot, connections: float) -> list[Growth]:
    """Allocations by line: the innermost frame of the service, else the innermost of all. Those of the service
    come first, each by bytes."""
    sums: dict[Frame, list[float]] = {}
    stacks: dict[Frame, tuple[float, tuple[Frame, ...]]] = {}
    for trace, (blocks, size) in difference(before, after).items():
        frames = own_first(tuple((file, line, "") for file, line in trace))
        if not frames:
            continue
        site = frames[0]
        total_ = sums.setdefault(site, [0.0, 0.0])
        total_[0] += blocks
        total_[1] += size
        # A site whose tracebacks all shrank in bytes still needs a stack: its blocks may have grown.
        if site not in stacks or size > stacks[site][0]:
            stacks[site] = (size, frames)
    found = []
    for site, grown in sums.items():
        per_block, per_byte = (amount / max(1, connections) for amount in grown)
        if per_block >= LEAST or per_byte >= LEAST_BYTES:
            growth = Growth(
                written(site), per_block, "blocks", "line", per_byte, tuple(map(written, stacks[site][1]))
            )
            found.append((is_library(site[0]), -per_byte, growth))
    return [growth for *_, growth in sorted(found, key=lambda item: item[:2])]


def lasting(growths: Iterable[Growth], cycle_before: Iterable[Growth]) -> list[Growth]:
    """Without what grew in fewer blocks than LEAST, and not in the cycle before as well: a container that was
    enlarged once, which may be any number of bytes. What is enlarged by every connection is in both."""
    then = {growth.site for growth in cycle_before}
    return [growth for growth in growths if growth.per_connection >= LEAST or growth.site in then]


def type_growth(types: Mapping[str, int], connections: float) -> list[Growth]:
    """Live objects by type; built-in containers last."""
    found = [
        Growth(name, count / max(1, connections), "objects", "type")
        for name, count in types.items()
        if count / max(1, connections) >= LEAST
    ]
    return sorted(found, key=lambda growth: (growth.site in BUILTINS, -growth.per_connection))
