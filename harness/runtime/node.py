"""Node, read through the agent that it loads at startup (``agent/node/agent.js``)."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.core.errors import ProbeError
from harness.core.frames import NODE, Frame, own_first, written
from harness.core.metric import Key
from harness.core.note import Note, NoteKind
from harness.process.proc import executable
from harness.runtime import channel, inspector
from harness.runtime.agents import AgentReader, prepared
from harness.runtime.counters import (
    HANDLES,
    HEAP_BYTES,
    MIN_PER_CONNECTION,
    NO_TIME_FOR_CONTAINERS,
    OBJECTS,
    SECOND_READING_FACTOR,
    Attribution,
    Counters,
    Cycle,
    Growth,
    TimeLeft,
    Unavailable,
    as_probe_error,
    first_places,
    partial,
    run_cycles,
    unlimited,
)
from harness.runtime.node_places import container_growth, refined, stack_frames

AGENT = Path(__file__).parent / "agent" / "node" / "agent.js"
START_TIMEOUT = 5.0  # seconds after its start in which a Node must have loaded the agent
MIN_BYTES = 16.0  # bytes per connection: a smaller growth of sampled allocations is left out
# Seconds: the agent describes what has grown in 6 s at most (agent/node/reflect.js, WAITED).
LONGEST_COMPARISON = 7.0
EXTERNAL_BYTES = Key("memory", "external-bytes")
HEAP_LIMIT = "V8 heap_size_limit"
NO_QUERY = Note(
    NoteKind.READING_INCOMPLETE,
    "this Node has no v8.queryObjects (20.13 and later): objects are not counted, heap bytes alone",
)


def prepare_env(env: Mapping[str, str], directory: Path) -> dict[str, str]:
    """The environment of a Node process to spawn. Raises ProbeError when ``directory`` is open to others."""
    # First, so that the agent is loaded before any module that the user's own options load.
    return prepared(env, directory, "NODE_OPTIONS", f"--require={_quoted(str(AGENT))}", " ")


def _quoted(path: str) -> str:
    """A path as NODE_OPTIONS takes it: in double quotes, with backslashes (command-line documentation of Node)."""
    if shlex.quote(path) == path:
        return path
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


class NodeCounters(AgentReader):
    """Every Node process and worker thread of one tree whose agent listens in ``directory``."""

    name = "node"
    title = "Node"

    def __init__(
        self,
        directory: Path,
        pid: int,
        *,
        shared: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """shared: other services answer in the folder as well, so only processes of the tree are asked."""
        super().__init__(directory, pid, shared=shared)
        self._clock = clock

    def probe(self) -> Counters | Unavailable:
        """Wait until the agent answers, and have it load what it needs. A Node that the harness did not start loads the
        agent over its inspector."""
        deadline = self._clock() + START_TIMEOUT
        attached = False
        while True:
            try:
                if self._answers("read"):
                    return self.read()
                # A Node that was started with the agent only needs more time.
                if not attached and executable(self.pid) and not inspector.has_agent(self.pid):
                    attached = True
                    if why := inspector.attach(self.pid, self.directory, AGENT):
                        return Unavailable(f"process {self.pid} {why}")
            except ProbeError as error:
                return Unavailable(str(error))
            if self._clock() > deadline:
                return Unavailable(
                    f"no Node of process {self.pid} answers in {self.directory}; expected the agent of NODE_OPTIONS: "
                    "was it started by the harness, and does its policy allow --require?"
                )
            time.sleep(channel.START_POLL)

    @as_probe_error
    def read(self) -> Counters:
        """Sum over processes and worker threads; see RuntimeReader."""
        levels: dict[Key, float] = {}
        names: dict[str, int] = {}
        answers = self._ask("read")
        fields = {"objects": OBJECTS, "heap_bytes": HEAP_BYTES, "external_bytes": EXTERNAL_BYTES}
        for answer in answers:
            for field, key in fields.items():
                if answer.body[field] is not None:
                    levels[key] = levels.get(key, 0.0) + answer.body[field]
            for name, count in answer.body["resources"].items():
                names[name] = names.get(name, 0) + count
        levels[HANDLES] = float(sum(names.values()))
        cut = partial(answer.body for answer in answers)
        notes = cut or (() if OBJECTS in levels else (NO_QUERY,))
        # Each heap has a limit of its own. Compared with the sum of the heaps, their sum holds as if all grew alike.
        limits = {HEAP_LIMIT: float(sum(answer.body["heap_limit"] for answer in answers))}
        return Counters(levels, names, tuple(sorted({answer.pid for answer in answers})), notes, limits)

    def attribute(self, cycle: Cycle, *, time_left: TimeLeft = unlimited) -> Attribution:
        """Over three cycles: lines that add to growing containers, the containers, resources by the place that made
        them, and live allocations by function.

        Resources and allocations of the first cycle are left out, because it creates some once. Allocations are ranked
        by the cycle in which they grew least: garbage that one cycle left uncollected (10 kB now and then, more than
        300 small objects) does not return in the next, a leak does."""
        try:
            self._ask("trace")  # in the try block: an interrupt while it waits leaves tracing on otherwise
            seen: list[list[channel.Answer]] = []
            began = self._clock()
            held = [self._containers("first")]
            needed = min(SECOND_READING_FACTOR * (self._clock() - began), LONGEST_COMPARISON)

            def between() -> None:
                seen.append(self._ask("sites"))
                if len(seen) == 1 and time_left() > needed:
                    held.append(self._containers("watch"))

            cycles, stopped = run_cycles(cycle, 3, between)
            late = time_left() <= needed
            if not late:
                held.append(self._containers("lasting" if len(cycles) > 1 else "grown"))
            containers, added = container_growth(
                (each for answer in held[-1] for each in answer.body.get("grown", ())),
                sum(cycles),
                sum(cycles[1:]),
            )
            # The first cycle is left out, unless there was no time for another one.
            readings = (
                [_allocations(answers) for answers in seen] if len(seen) > 1 else [{}, _allocations(seen[0])]
            )
            resources = (
                [_resources(answers) for answers in seen] if len(seen) > 1 else [{}, _resources(seen[0])]
            )
            counted = cycles[1:] or cycles
            whole = allocation_growth(readings[0], readings[-1], sum(counted))
            each = [
                allocation_growth(before, after, units)
                for before, after, units in zip(readings[:-1], readings[1:], counted, strict=True)
            ]
            handles = resource_growth(resources[0], resources[-1], sum(counted))
            allocations = refined(lasting(whole, *each), containers)
            notes = (
                *stopped,
                *((NO_TIME_FOR_CONTAINERS,) if late else ()),
                *partial(answer.body for one in (*seen, *held) for answer in one),
            )
            return first_places(ranked(handles, added, containers, allocations), notes)
        finally:
            try:
                self._ask("untrace")
            except ProbeError:
                pass

    def _containers(self, step: str) -> list[channel.Answer]:
        """The containers at one step of their comparison: ``first``, ``watch``, ``lasting`` or ``grown``. None if they
        cannot be read, because the other places are still useful."""
        try:
            return self._ask(f"containers {step}")
        except ProbeError:
            return []


@as_probe_error
def _resources(answers: list[channel.Answer]) -> dict[tuple[str, tuple[Frame, ...]], int]:
    sums: dict[tuple[str, tuple[Frame, ...]], int] = {}
    for answer in answers:
        for text, count in answer.body["resources"]:
            kind, _, stack = text.partition("\0")
            key = (kind, stack_frames(stack))
            sums[key] = sums.get(key, 0) + count
    return sums


@as_probe_error
def _allocations(answers: list[channel.Answer]) -> dict[tuple[Frame, ...], tuple[float, float]]:
    sums: dict[tuple[Frame, ...], tuple[float, float]] = {}
    for answer in answers:
        for entry in answer.body["allocations"]:
            frames = tuple(_frame(*frame) for frame in entry["frames"])
            before = sums.get(frames, (0.0, 0.0))
            sums[frames] = (before[0] + entry["blocks"], before[1] + entry["bytes"])
    return sums


def _frame(url: Any, line: Any, function: Any) -> Frame:
    return str(url).removeprefix("file://"), int(line), str(function) or "(anonymous)"


def resource_growth(
    before: Mapping[tuple[str, tuple[Frame, ...]], int],
    after: Mapping[tuple[str, tuple[Frame, ...]], int],
    connections: float,
) -> list[Growth]:
    """Asynchronous resources (timers, sockets, files) that were retained, by the service's line that made them."""
    sums: dict[tuple[str, str], float] = {}
    stacks: dict[tuple[str, str], tuple[str, ...]] = {}
    for key, count in after.items():
        kind, frames = key
        ordered = own_first("node", frames)
        site = (written(ordered[0]) if ordered else "(inside Node)", kind)
        sums[site] = sums.get(site, 0.0) + count - before.get(key, 0)
        stacks[site] = tuple(map(written, ordered))
    found = [
        Growth(
            f"{place} ({kind})",
            count / max(1, connections),
            "listeners" if kind == "EventListener" else "handles",
            "resource",
            None,
            stacks[place, kind],
            bool(stacks[place, kind]) and not NODE.search(stacks[place, kind][0]),
        )
        for (place, kind), count in sums.items()
        if count / max(1, connections) >= MIN_PER_CONNECTION
    ]
    return sorted(found, key=lambda growth: -growth.per_connection)


def allocation_growth(
    before: Mapping[tuple[Frame, ...], tuple[float, float]],
    after: Mapping[tuple[Frame, ...], tuple[float, float]],
    connections: float,
) -> list[Growth]:
    """Live sampled allocations by the innermost function of the service."""
    sums: dict[Frame, list[float]] = {}
    stacks: dict[Frame, tuple[Frame, ...]] = {}
    for frames, (blocks, size) in after.items():
        old = before.get(frames, (0.0, 0.0))
        ordered = own_first("node", frames)
        total = sums.setdefault(ordered[0], [0.0, 0.0])
        total[0] += blocks - old[0]
        total[1] += size - old[1]
        stacks.setdefault(ordered[0], ordered)
    found = []
    for site, (blocks, size) in sums.items():
        per_byte = size / max(1, connections)
        if per_byte >= MIN_BYTES:
            growth = Growth(
                written(site),
                blocks / max(1, connections),
                "samples",
                "line",
                per_byte,
                tuple(map(written, stacks[site])),
                not NODE.search(site[0]),
            )
            found.append((bool(NODE.search(site[0])), -per_byte, growth))
    return [growth for *_, growth in sorted(found, key=lambda item: item[:2])]


def lasting(whole: Sequence[Growth], *cycles: Sequence[Growth]) -> list[Growth]:
    """The growth over all cycles: places of the service first, and among them those that grew most in the cycle in
    which they grew least."""
    each = [{growth.site: growth.bytes_per_connection or 0.0 for growth in one} for one in cycles]
    return sorted(
        whole,
        key=lambda growth: (
            bool(NODE.search(growth.site)),
            -min(one.get(growth.site, 0.0) for one in each),
            -(growth.bytes_per_connection or 0.0),
        ),
    )


def ranked(
    handles: Sequence[Growth],
    added: Sequence[Growth],
    containers: Sequence[Growth],
    allocations: Sequence[Growth],
) -> list[Growth]:
    """The first place is the line to open in an editor; the container that holds the growth explains it at once."""
    lines: list[Growth] = []
    seen: set[str] = set()
    for growth in (*handles, *added, *allocations):
        # A sampled function and a recorded stack may name the same line.
        line = growth.site.partition(" in ")[0]
        if line not in seen or growth.kind == "resource":
            lines.append(growth)
        seen.add(line)
    lines.sort(key=lambda growth: not growth.own)
    own = [growth for growth in lines if growth.own]
    return [*own[:1], *containers, *own[1:], *lines[len(own) :]]
