"""Node, read through the agent that it loads at startup (``agent/node/agent.js``)."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.core.errors import ProbeError
from harness.core.frames import NODE, Frame, own_first, written
from harness.core.metric import Key
from harness.runtime import channel
from harness.runtime.counters import (
    HANDLES,
    HEAP_BYTES,
    OBJECTS,
    TOP,
    Attribution,
    Counters,
    Cycle,
    Growth,
    Unavailable,
    as_probe_error,
    most,
    partial,
    run_cycles,
)
from harness.runtime.processes import tree, trusted

AGENT = Path(__file__).parent / "agent" / "node" / "agent.js"
START_PATIENCE = 5.0
LEAST = 0.02
LEAST_BYTES = 16.0
EXTERNAL_BYTES = Key("memory", "external-bytes")
STACK_LINE = re.compile(r"^\s+at (?:(.*?) \()?(?:file://)?(.*?):(\d+):\d+\)?$")
NO_QUERY = "this Node has no v8.queryObjects (20.13 and later): objects are not counted, heap bytes alone"


def prepare_env(env: Mapping[str, str], directory: Path) -> dict[str, str]:
    """The environment for a Node that is to be spawned. Raises ProbeError when ``directory`` is open to others."""
    channel.private_folder(directory)
    prepared = dict(env)
    option = f"--require={_quoted(str(AGENT))}"
    rest = prepared.get("NODE_OPTIONS")
    prepared["NODE_OPTIONS"] = f"{option} {rest}" if rest else option
    prepared[channel.DIRECTORY] = str(directory.resolve())
    return prepared


def _quoted(path: str) -> str:
    """As NODE_OPTIONS wants it: double quotes with backslashes (node, cli documentation)."""
    if shlex.quote(path) == path:
        return path
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


class NodeCounters:
    """Every Node process and worker thread of one tree whose agent listens in ``directory``."""

    name = "node"

    def __init__(
        self,
        directory: Path,
        pid: int,
        *,
        shared: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """shared: other services answer in the folder as well, so only processes of the tree are asked."""
        self.shared = shared
        self.directory = directory
        self.pid = pid
        self._clock = clock

    def probe(self) -> Counters | Unavailable:
        """Wait until the agent answers, and have it load what it needs."""
        deadline = self._clock() + START_PATIENCE
        while True:
            try:
                if self._answers("read"):
                    return self.read()
            except ProbeError as error:
                return Unavailable(str(error))
            if self._clock() > deadline:
                return Unavailable(
                    f"no Node of process {self.pid} answers in {self.directory}; expected the agent of NODE_OPTIONS: "
                    "was it started by the harness, and does its policy allow --require?"
                )
            time.sleep(0.02)

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
        return Counters(levels, names, tuple(sorted({answer.pid for answer in answers})), notes)

    def attribute(self, cycle: Cycle, *, top: int = TOP) -> Attribution:
        """Resources by the place that made them, live allocations by function, over the last two of three
        cycles. Allocations are ranked by the cycle in which they grew less: what a cycle left uncollected
        (10 kB now and then, more than 300 small objects) does not come twice, a leak does."""
        self._ask("trace")
        try:
            seen: list[list[channel.Answer]] = []
            cycles, stopped = run_cycles(cycle, 3, lambda: seen.append(self._ask("sites")))
            # What a first cycle makes once is in its reading, unless there was no time for another one.
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
            growths = [
                *resource_growth(resources[0], resources[-1], sum(counted)),
                *lasting(whole, *each),
            ]
            growths.sort(key=lambda growth: not growth.own)
            notes = (
                *((stopped,) if stopped else ()),
                *partial(answer.body for one in seen for answer in one),
            )
            return most(growths, top, notes)
        finally:
            try:
                self._ask("untrace")
            except ProbeError:
                pass

    @as_probe_error
    def heap_snapshots(self) -> tuple[Path, ...]:
        """Have each process write a heap snapshot into the private folder (opens in Chromium's tools)."""
        return tuple(Path(answer.body["file"]) for answer in self._ask("snapshot"))

    def _answers(self, command: str) -> list[channel.Answer]:
        among = tree(self.pid) if self.shared else None
        return channel.ask_all(
            self.directory, "node", command, among=among, users=trusted(self.pid, shared=self.shared)
        )

    def _ask(self, command: str) -> list[channel.Answer]:
        answers = self._answers(command)
        if not answers:
            raise ProbeError(
                f"no Node of process {self.pid} answers in {self.directory} any more; expected the agent: did the "
                "target end?"
            )
        return answers


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


def stack_frames(stack: str) -> tuple[Frame, ...]:
    """Frames of ``Error.stack``, innermost first."""
    matches = (STACK_LINE.match(line) for line in stack.splitlines())
    return tuple((m[2], int(m[3]), m[1] or "") for m in matches if m)


def resource_growth(
    before: Mapping[tuple[str, tuple[Frame, ...]], int],
    after: Mapping[tuple[str, tuple[Frame, ...]], int],
    connections: float,
) -> list[Growth]:
    """Asynchronous resources (timers, sockets, files) that stayed, by the service's line that made them."""
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
            "handles",
            "resource",
            None,
            stacks[place, kind],
            bool(stacks[place, kind]) and not NODE.search(stacks[place, kind][0]),
        )
        for (place, kind), count in sums.items()
        if count / max(1, connections) >= LEAST
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
        if per_byte >= LEAST_BYTES:
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
    """The whole growth, places of the service first, and of those what grew in every cycle."""
    each = [{growth.site: growth.bytes_per_connection or 0.0 for growth in one} for one in cycles]
    return sorted(
        whole,
        key=lambda growth: (
            bool(NODE.search(growth.site)),
            -min(one.get(growth.site, 0.0) for one in each),
            -(growth.bytes_per_connection or 0.0),
        ),
    )
