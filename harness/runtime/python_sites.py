"""Finds the places that grew between two readings of a Python process. Pure: values in, values out."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from harness.core import frames as core_frames
from harness.core.frames import PYTHON, Frame, written
from harness.core.note import Note, NoteKind
from harness.core.record import Container
from harness.core.units import counted
from harness.runtime.counters import MIN_PER_CONNECTION, Attribution, Growth, first_places
from harness.runtime.snapshot import Snapshot, difference

# Of fewer blocks than MIN_PER_CONNECTION: no growth below this is called a leak, and a set or dict that was enlarged
# once, in one cycle of a few hundred connections, is 40 bytes per connection.
MIN_BYTES = 128.0
# kind, frames outermost first, frames of where it was made (innermost first, when traced)
Place = tuple[str, tuple[Frame, ...], tuple[Frame, ...]]
Line = tuple[str, int]
UNITS = {"asyncio-task": "tasks", "greenlet": "greenlets", "thread": "threads", "descriptor": "descriptors"}
KINDS = {"asyncio-task": "task", "greenlet": "greenlet", "thread": "thread", "descriptor": "descriptor"}
NO_OWN = Note(
    NoteKind.SEARCH_LIMIT,
    "no frame of the service is on any stack: these lines are those of libraries that it uses",
)
MIN_SHARE_OF_LARGEST = 0.1  # share of the largest growth below which a container is left out
# Every growth contains objects of these types, so they are listed last: they say nothing about the place.
BUILTINS = frozenset(
    {"dict", "list", "tuple", "set", "cell", "function", "builtin_function_or_method", "method"}
)

_ATTRIBUTES = ("instance", "namespace", "object", "module", "class")  # kinds of holders that have attributes
_KEY = re.compile(r"[A-Za-z_][A-Za-z_.-]{0,30}")  # keys of a dict that are names, not identities

T = TypeVar("T", bound=Hashable)


def is_library(file: str) -> bool:
    """True for the standard library, installed packages and frozen modules."""
    return bool(PYTHON.search(file))


def own_first(innermost_first: Sequence[Frame]) -> tuple[Frame, ...]:
    """Frames of the service before frames of libraries, each innermost first."""
    return core_frames.own_first("python", innermost_first)


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
            made = tuple((str(file), int(line), "") for file, line in site["made"])
            place = (str(site["kind"]), frames, made)
            sums[place] = sums.get(place, 0) + int(site["count"])
    return sums


def growth_of(before: Mapping[T, int], after: Mapping[T, int]) -> dict[T, int]:
    """The counts that rose, and by how many."""
    return {key: count - before.get(key, 0) for key, count in after.items() if count > before.get(key, 0)}


def attribution(
    *,
    types: Mapping[str, int],
    waiting: Mapping[Place, int],
    snapshots: tuple[Snapshot, ...],
    cycles: tuple[float, ...],
    containers: Sequence[Growth] = (),
    entries: frozenset[Line] = frozenset(),
    notes: tuple[Note, ...] = (),
) -> Attribution:
    """The most useful place first: tasks and threads that wait (a leaked task explains the objects it holds), then
    lines that allocated, then types, those of the service before built-in ones.

    types, waiting, containers: growth over all cycles. snapshots: before the first and after each of them. cycles:
    connections of each; only one when the search was cut short.
    """
    connections = sum(cycles)
    after = snapshots[-1]
    if after.dropped:
        notes += (Note(NoteKind.SEARCH_LIMIT, f"{counted(after.dropped, 'further traceback')} left out"),)
    notes += tuple(dict.fromkeys(note for one in snapshots for note in one.notes))
    last = line_growth(snapshots[-2], after, cycles[-1], entries)
    earlier = line_growth(snapshots[-3], snapshots[-2], cycles[-2], entries) if len(cycles) > 1 else ()
    lines = lasting(last, earlier) if len(cycles) > 1 else last
    # A constructor allocates more than the line that calls it, but that line made what the container holds.
    made = {growth.frames[0] for growth in containers if growth.own and growth.frames}
    lines.sort(key=lambda growth: growth.site not in made)
    coded = sorted(
        (*waiting_growth(waiting, connections, entries), *lines), key=lambda growth: not growth.own
    )
    own = [growth for growth in coded if growth.own]
    held = [growth for growth in containers if growth.own]
    # "function Hub.beat" is an object of the type "function".
    within = {growth.container.item.partition(" ")[0] for growth in held if growth.container}
    others = [growth for growth in type_growth(types, connections) if growth.site not in within]
    # The first place is the line to open in an editor; what holds the growth explains it at once.
    growths = [*own[:1], *held, *own[1:], *others, *(growth for growth in coded if not growth.own)]
    if coded and not own:
        notes = (NO_OWN, *notes)
        growths = [*held, *coded, *others]
    elif explained := untraced(lines, types, connections):
        notes = (*notes, Note(NoteKind.SEARCH_LIMIT, explained))
    return first_places(growths, notes)


def untraced(lines: Sequence[Growth], types: Mapping[str, int], connections: float) -> str:
    """Why more objects were counted than lines account for; "" if the two agree."""
    counted_objects = sum(types.values()) / max(1, connections)
    traced = sum(growth.per_connection for growth in lines)
    if counted_objects < 1 or traced >= counted_objects / 2:
        return ""
    return (
        f"{counted_objects:.2f} objects were counted and {traced:.2f} blocks traced: the rest comes from free "
        "lists of the interpreter or from C code"
    )


def container_growth(grown: Iterable[Mapping[str, Any]], connections: float) -> list[Growth]:
    """Containers by what holds them: ``"`app.Subscriber` in `app.Hub._subscribers`, a list"``."""
    found = []
    for each in grown:
        rate = int(each["gain"]) / max(1, connections)
        links = [(str(label), str(kind), str(file)) for label, kind, file in each["chain"]]
        name, own = holder(links)
        if rate < MIN_PER_CONNECTION or not name:
            continue
        item = str(each["item"])
        container = Container(name, str(each["type"]), item)
        made = own_first([(str(file), int(line), "") for file, line in each["made"]])
        found.append(Growth.of_container(container, rate, tuple(map(written, made)), own=own))
    # A list that was made during the cycles also counts as grown. It is small beside one that retains something of each
    # connection.
    least = MIN_SHARE_OF_LARGEST * max((growth.per_connection for growth in found), default=0.0)
    found = [growth for growth in found if growth.per_connection >= least]
    return sorted(found, key=lambda growth: (not growth.own, -growth.per_connection))


def holder(links: Sequence[tuple[str, str, str]]) -> tuple[str, bool]:
    """The name of a container's holder, and whether it is the service's own. The name is written as in code:
    ``app.state.timers``, ``app["timers"]``. It begins at the first holder of the service, and continues through objects
    of libraries.

    links: (label, kind, file) of each holder, innermost first. A container inside a library's object, such as the deque
    of a queue, has the name of that object.
    """
    first = ""
    keys: list[str] = []  # of dicts on the way, innermost first
    inner: list[str] = []  # attributes and keys below the holder, innermost first
    for label, kind, file in links:
        if kind == "key":
            keys.append(label)
            continue
        owner, _, attribute = label.rpartition(".")
        # The dict of an instance or a function becomes an object of its own once its __dict__ is read; the dict of a
        # namespace is the one that __getattr__ reads. A parameter's default has its name already.
        if keys and kind in ("object", "function") and " " not in label:
            owner, attribute = label, keys.pop()
        elif keys and kind == "namespace":
            attribute = keys.pop()
        elif keys and kind == "function":
            keys.pop()
        steps = [f'["{key}"]' for key in keys if _KEY.fullmatch(key)]
        keys = []
        name = f"{owner}.{attribute}" if owner else attribute
        if file and not is_library(file):
            return name.removeprefix("__main__.") + "".join(reversed(_public([*inner, *steps]))), True
        first = first or name
        # The variable of a library's function is not a way that the service's code could take.
        inner = [*inner, *steps, f".{attribute}"] if kind in _ATTRIBUTES else []
    return first.removeprefix("__main__.") or (keys[-1] if keys else ""), False


def _public(steps: list[str]) -> list[str]:
    """Without private attributes, unless several of them are the whole way."""
    public = [step for step in steps if not step.startswith("._")]
    return public or (steps if len(steps) > 1 else [])


def entries(waiting: Mapping[Place, int]) -> frozenset[Line]:
    """Lines at which the service runs its event loop or its server: its own lines on the stack of an idle main thread.
    Everything that a framework does is below them, so they explain no growth."""
    found: set[Line] = set()
    for kind, frames, _ in waiting:
        # Only the main thread has the module's own frame on its stack.
        if kind == "thread" and any(function == "<module>" for *_, function in frames):
            found.update((file, line) for file, line, _ in frames if not is_library(file))
    return frozenset(found)


def sorted_frames(innermost_first: Sequence[Frame], entries: frozenset[Line]) -> tuple[Frame, ...]:
    """Frames of the service, then those at which it runs its server, then those of libraries; each innermost first."""
    own = own_first(innermost_first)
    return (
        *(frame for frame in own if not is_library(frame[0]) and frame[:2] not in entries),
        *(frame for frame in own if not is_library(frame[0]) and frame[:2] in entries),
        *(frame for frame in own if is_library(frame[0])),
    )


def is_own_line(frame: Frame, entries: frozenset[Line]) -> bool:
    """Whether the frame is a line of the service, and not one at which it runs its server."""
    return not is_library(frame[0]) and frame[:2] not in entries


def waiting_growth(
    waiting: Mapping[Place, int], connections: float, entries: frozenset[Line] = frozenset()
) -> list[Growth]:
    """Tasks, greenlets and threads by the line at which they wait; descriptors by the line that opened them."""
    counts: dict[tuple[str, str], int] = {}
    stacks: dict[tuple[str, str], tuple[Frame, ...]] = {}
    for (kind, frames, made), count in waiting.items():
        ordered = sorted_frames(tuple(reversed(frames)), entries)
        # If code of a library waits, the line of the service that made the task is more useful.
        maker = sorted_frames(made, entries)[:1]
        by_service = (
            not (ordered and is_own_line(ordered[0], entries)) and maker and is_own_line(maker[0], entries)
        )
        if by_service:
            ordered = (*maker, *ordered)
        elif kind == "descriptor":
            ordered = sorted_frames(made, entries)
        site = written(ordered[0]) if ordered else "(no frame)"
        if frames and ordered[0] != frames[-1]:
            site += f" ({'made here, ' if by_service else ''}waiting in {written(frames[-1], short=True)})"
        counts[kind, site] = counts.get((kind, site), 0) + count
        stacks.setdefault((kind, site), ordered)
    found = []
    for (kind, site), count in counts.items():
        rate = count / max(1, connections)
        if rate < MIN_PER_CONNECTION:
            continue
        ordered = stacks[kind, site]
        own = bool(ordered) and is_own_line(ordered[0], entries)
        frames_ = tuple(map(written, ordered))
        found.append(Growth(site, rate, UNITS.get(kind, kind), KINDS.get(kind, kind), None, frames_, own))
    return sorted(found, key=lambda growth: (not growth.own, -growth.per_connection))


def line_growth(
    before: Snapshot, after: Snapshot, connections: float, entries: frozenset[Line] = frozenset()
) -> list[Growth]:
    """Allocations by line: the innermost frame of the service, else the innermost of all. Those of the service
    come first, each by bytes."""
    sums: dict[Frame, list[float]] = {}
    stacks: dict[Frame, tuple[float, tuple[Frame, ...]]] = {}
    for trace, (blocks, size) in difference(before, after).items():
        frames = sorted_frames(tuple((file, line, "") for file, line in trace), entries)
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
        if per_block >= MIN_PER_CONNECTION or per_byte >= MIN_BYTES:
            stack = tuple(map(written, stacks[site][1]))
            own = is_own_line(site, entries)
            growth = Growth(written(site), per_block, "blocks", "line", per_byte, stack, own)
            found.append((not own, -per_byte, growth))
    return [growth for *_, growth in sorted(found, key=lambda item: item[:2])]


def lasting(growths: Iterable[Growth], cycle_before: Iterable[Growth]) -> list[Growth]:
    """Without places that grew by fewer blocks than MIN_PER_CONNECTION, and did not grow in the cycle before: a
    container that was enlarged once, by any number of bytes. One that every connection enlarges is in both cycles."""
    then = {growth.site for growth in cycle_before}
    return [
        growth for growth in growths if growth.per_connection >= MIN_PER_CONNECTION or growth.site in then
    ]


def type_growth(types: Mapping[str, int], connections: float) -> list[Growth]:
    """Live objects by type; built-in containers last."""
    found = [
        Growth(name, count / max(1, connections), "objects", "type")
        for name, count in types.items()
        if count / max(1, connections) >= MIN_PER_CONNECTION
    ]
    return sorted(found, key=lambda growth: (growth.site in BUILTINS, -growth.per_connection))
