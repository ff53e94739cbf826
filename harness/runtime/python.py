"""CPython 3.8 and later, read through the agent that it loads at startup (``agent/python``)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from harness.core.errors import ProbeError
from harness.core.metric import Key
from harness.core.note import Note, NoteKind
from harness.process.proc import arguments, environment, executable, tree
from harness.runtime import channel, python_sites
from harness.runtime.agents import AgentReader, prepared
from harness.runtime.attach import attach, detach, wake_up
from harness.runtime.counters import (
    ASYNCIO_TASKS,
    BLOCKS,
    GREENLETS,
    HEAP_BYTES,
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
    cut_short,
    partial,
    run_cycles,
    unlimited,
)
from harness.runtime.snapshot import Snapshot

AGENT = Path(__file__).parent / "agent" / "python"
TRACE = "HARNESS_RUNTIME_TRACE"
# Depth of traced allocations. An HTTP client opens its socket a dozen frames below the line that asks for it; each
# frame costs 16 bytes per traceback in the target.
FRAMES = 16
LONGEST_CHAINS = 5.0  # seconds: the agent looks for owners for 4 s at most (agent/python/harness_chains.py)
START_TIMEOUT = 5.0  # seconds after its start in which a Python must have loaded the agent
WAKE_UP_EVERY = 0.1  # seconds between two checks whether a process that loads the agent answers
FIELDS: dict[str, Key] = {
    "objects": OBJECTS,
    "blocks": BLOCKS,
    "heap_bytes": HEAP_BYTES,
    "asyncio_tasks": ASYNCIO_TASKS,
    "greenlets": GREENLETS,
}
NOT_COLLECTED = Note(
    NoteKind.READING_INCOMPLETE,
    "the target switched garbage collection off: its cycles were counted, not collected",
)


def prepare_env(env: Mapping[str, str], directory: Path, *, trace: int = 0) -> dict[str, str]:
    """The environment for a Python process that will be spawned: the agent's folder comes first on PYTHONPATH.

    trace: frames of tracemalloc from the start (0: only on request). Raises ProbeError when
    ``directory`` is open to other users.
    """
    # Python imports the first sitecustomize on its path; the agent's own then imports the one that it hides.
    found = prepared(env, directory, "PYTHONPATH", str(AGENT), ":")
    return {**found, TRACE: str(trace)} if trace else found


class PythonCounters(AgentReader):
    """Every Python process of one tree whose agent listens in ``directory``."""

    name = "python"
    title = "Python"

    def __init__(
        self,
        directory: Path,
        pid: int,
        *,
        shared: bool = False,
        url: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """shared: other services answer in the folder as well, so only processes of the tree are asked.
        url: where the service listens, to wake it up when it is attached to."""
        super().__init__(directory, pid, shared=shared)
        self.url = url
        self._clock = clock
        self.snapshots: tuple[Snapshot, Snapshot] | None = None  # of the last attribution

    def probe(self) -> Counters | Unavailable:
        """Wait until the agent answers, and have it load what it needs."""
        deadline = self._clock() + START_TIMEOUT
        while True:
            try:
                if self._answers("read"):
                    return self.read()
            except ProbeError as error:
                return Unavailable(str(error))
            reason = why_no_agent(self.pid) if executable(self.pid) else f"process {self.pid} has exited"
            if reason and executable(self.pid):
                return self._attach_to_all(reason)
            if reason or self._clock() > deadline:
                return Unavailable(
                    reason
                    or f"no Python of process {self.pid} answers in {self.directory}; expected the agent "
                    f"within {START_TIMEOUT:g} s of the start: is the folder writable for it?"
                )
            time.sleep(channel.START_POLL)

    def _attach_to_all(self, reason: str) -> Counters | Unavailable:
        """Attach to every Python of the tree, and wait until all of them answer. reason: why none answers yet."""
        pythons = [pid for pid in tree(self.pid) if is_python(pid)]
        attached: list[int] = []
        answering: set[int] = set()
        try:
            refused = []
            for pid in pythons:
                why = attach(pid, self.directory, AGENT)
                if why:
                    refused.append(f"process {pid} {why}")
                    detach(pid, self.directory, loaded=True)
                else:
                    attached.append(pid)
            if refused or not pythons:
                return Unavailable(f"{reason}; {refused[0]}" if refused else reason)
            deadline = self._clock() + START_TIMEOUT
            while True:
                answering = {answer.pid for answer in self._answers("read")}
                missing = [pid for pid in pythons if pid not in answering and executable(pid)]
                if not missing and answering:
                    return self.read()
                # Nobody is left to wait for: all of them have exited.
                if self._clock() > deadline or not answering | set(missing):
                    return Unavailable(
                        f"process {missing[0] if missing else self.pid} was asked to load the agent "
                        f"(sys.remote_exec) and does not answer; expected its main thread to run Python code within "
                        f"{START_TIMEOUT:g} s: is it blocked?"
                    )
                if self.url:
                    wake_up(self.url)
                time.sleep(WAKE_UP_EVERY)
        except ProbeError as error:
            return Unavailable(str(error))
        finally:
            for pid in attached:
                detach(pid, self.directory, loaded=pid in answering)

    @as_probe_error
    def read(self) -> Counters:
        """Sum over the processes; see RuntimeReader."""
        answers = self._ask("read")
        values: dict[Key, float] = {}
        names: dict[str, int] = {}
        for answer in answers:
            for field, key in FIELDS.items():
                if answer.body[field] is not None:
                    values[key] = values.get(key, 0.0) + answer.body[field]
            for name, count in answer.body["threads"].items():
                names[name] = names.get(name, 0) + count
        notes: tuple[Note, ...] = (
            () if all(answer.body["collected"] for answer in answers) else (NOT_COLLECTED,)
        )
        notes += partial(answer.body for answer in answers)
        return Counters(values, names, tuple(answer.pid for answer in answers), notes)

    @as_probe_error
    def types(self) -> dict[str, int]:
        """Live objects by type, summed."""
        return python_sites.total(answer.body["types"] for answer in self._ask("types"))

    @as_probe_error
    def waiting(self) -> dict[python_sites.Place, int]:
        """The places where tasks, greenlets and threads wait, with their numbers."""
        return python_sites.places(answer.body["sites"] for answer in self._ask("sites"))

    @as_probe_error
    def snapshot(self) -> Snapshot:
        """The live allocations since tracing began. Raises ProbeError when tracing is off."""
        return Snapshot.merged(Snapshot.of_agent(answer.body) for answer in self._ask("snapshot"))

    def trace(self, frames: int = FRAMES) -> None:
        """Start tracemalloc in every process, unless the service did so itself."""
        self._ask(f"trace {frames}")

    def untrace(self) -> None:
        """Stop tracing in the processes in which the agent started it."""
        self._ask("untrace")

    @as_probe_error
    def containers(self, units: float) -> tuple[list[Growth], tuple[Note, ...]]:
        """Containers that gained elements since ``_ask("containers 1")``, and notes."""
        answers = self._ask("containers")
        grown = [each for answer in answers for each in answer.body["grown"]]
        return python_sites.container_growth(grown, units), partial(answer.body for answer in answers)

    def _containers_if_any(self, units: float) -> tuple[list[Growth], tuple[Note, ...]]:
        """The same, or a note if they cannot be read: the other places are still useful."""
        try:
            return self.containers(units)
        except ProbeError as error:
            return [], (cut_short(f"containers were not compared: {error}"),)

    def attribute(self, cycle: Cycle, *, time_left: TimeLeft = unlimited) -> Attribution:
        """Types, waiting places and containers over two cycles, allocations over the second (see
        python_sites.lasting)."""
        try:
            self.trace()  # in the try block: an interrupt while it waits for the answer leaves tracing on otherwise
            types, waiting = self.types(), self.waiting()
            began = self._clock()
            self._ask("containers 1")
            took = self._clock() - began
            needed = min(SECOND_READING_FACTOR * took, took + LONGEST_CHAINS)
            seen = [self.snapshot()]
            units, stopped = run_cycles(cycle, 2, lambda: seen.append(self.snapshot()))
            before, after = seen[-2:]
            self.snapshots = (
                replace(before, connections=round(sum(units[:-1]))),
                replace(after, connections=round(sum(units))),
            )
            # Before the owners of containers are looked for, which makes dicts of the attributes that it reads.
            counts = self.types() if time_left() > 0 else {}
            held, notes = (
                self._containers_if_any(sum(units))
                if time_left() > needed
                else ([], (NO_TIME_FOR_CONTAINERS,))
            )
            grown = python_sites.growth_of(waiting, self.waiting())
            return python_sites.attribution(
                types=python_sites.growth_of(types, counts),
                waiting=grown,
                entries=python_sites.entries(waiting),
                snapshots=tuple(seen),
                cycles=tuple(units),
                containers=held,
                notes=(*stopped, *notes),
            )
        finally:
            try:
                self.untrace()
            except ProbeError:
                pass  # the target has ended, and tracing with it


def why_no_agent(pid: int) -> str:
    """Why no Python of the tree can have loaded the agent; empty when one still may."""
    reasons = []
    for process in tree(pid):
        if not is_python(process):
            continue
        reason = refusal(arguments(process))
        if not reason:
            found = environment(process)
            # An environment that may not be read can have the variable, so the agent may still answer.
            if found is None or channel.DIRECTORY in found:
                return ""
            reason = (
                "was not started by the harness; expected `import harness.runtime.agent` in the service, or let "
                "the harness start it"
            )
        reasons.append(f"process {process} {reason}")
    return reasons[0] if reasons else ""


def is_python(pid: int) -> bool:
    """Whether the name of its executable is that of a Python interpreter."""
    return "python" in executable(pid).rpartition("/")[2]


def refusal(argv: list[str]) -> str:
    """How the options of the interpreter keep it from loading the agent; "" if they do not."""
    words = iter(argv[1:])
    for word in words:
        if not word.startswith("-") or word in ("-", "--"):
            break
        letters = "" if word.startswith("--") else word[1:]
        for index, letter in enumerate(letters):
            # What follows -c or -m belongs to the program: the options of the interpreter end here.
            if letter in "cm":
                return ""
            if letter in "WX":
                # The value is the rest of the word, or the next word, which may itself look like an option.
                if index + 1 == len(letters):
                    next(words, None)
                break
            if letter in "IES":
                effect = "site is not imported" if letter == "S" else "PYTHONPATH is ignored"
                return (
                    f"runs with -{letter} ({effect}), so the agent cannot be loaded; start it without, or "
                    "`import harness.runtime.agent` in the service"
                )
    return ""
