"""The JVM, read by the commands of ``jcmd`` (JDK tools): nothing is injected, any HotSpot JVM since 8 answers.

``GC.class_histogram`` collects in full before it counts live instances per class; ``Thread.print`` gives stacks.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness.core.errors import ProbeError
from harness.core.frames import JVM, Frame, is_library, own_first, written
from harness.core.metric import Key
from harness.core.quote import plain
from harness.process.proc import executable, tree
from harness.runtime import jvm_socket
from harness.runtime.counters import (
    HEAP_BYTES,
    MIN_PER_CONNECTION,
    OBJECTS,
    Attribution,
    Counters,
    Cycle,
    Growth,
    TimeLeft,
    Unavailable,
    as_probe_error,
    cut_short,
    first_places,
    run_cycles,
    unlimited,
)

TIMEOUT = 60.0  # seconds: a full collection of tens of GB
LIMIT = 64 << 20  # bytes of one command's output
# The histogram walks the heap at a safepoint, in which no Java thread runs: about 20 ms a million instances beyond the
# full collection. More than this would take longer than 200 ms.
MAX_INSTANCES = 10e6
TOO_MANY = cut_short(f"more than {MAX_INSTANCES / 1e6:g} million instances: they are no longer counted")
NO_TIME = cut_short("there was no time to compare the classes of all instances")
COLLECTIONS = 2  # the second one frees what a finalizer or a reference queue released after the first
MAX_HEAP = re.compile(r"-XX:MaxHeapSize=(\d+)")
HEAP_LIMIT = "JVM MaxHeapSize"
ROW = re.compile(r"^\s*\d+:\s+(\d+)\s+(\d+)\s+(\S+)")
THREAD = re.compile(r'^"(.*?)" ')
FRAME = re.compile(r"^\tat (.+)\((.+?)(?::(\d+))?\)$")
# Parentheses in the text of a place enclose where a thread waits, so those of its name are replaced.
PARENTHESES = str.maketrans("()", "[]")
HIDDEN_CLASS = re.compile(r"/0x[0-9a-f]+")
Stack = tuple[str, tuple[Frame, ...]]  # name where no frame is the service's, frames innermost first
THREADS = Key("tasks", "java-thread")
ARRAYS = {
    "B": "byte",
    "C": "char",
    "D": "double",
    "F": "float",
    "I": "int",
    "J": "long",
    "S": "short",
    "Z": "boolean",
}


class JvmCounters:
    """Every JVM of one tree."""

    name = "jvm"

    def __init__(self, pid: int, *, jcmd: str | None = None) -> None:
        self.pid = pid
        self._jcmd = jcmd
        self._instances = 0.0  # in one JVM, at most, by the last reading

    def probe(self) -> Counters | Unavailable:
        """A first reading, which also starts the JVM's attach thread; or why there is none."""
        try:
            # The attach thread that jcmd starts in the JVM would otherwise count as growth of the first cycle.
            self.read()
            return replace(self.read(), limits=self._limits())
        except ProbeError as error:
            return Unavailable(str(error))

    @as_probe_error
    def read(self) -> Counters:
        """Live instances and bytes after full collections, and Java threads by name; see RuntimeReader."""
        instances = size = threads = 0.0
        names: dict[str, int] = {}
        processes = self._processes()
        large = self._instances > MAX_INSTANCES
        for process in processes:
            classes = {} if large else self._histogram(process)
            self._instances = max(self._instances, sum(count for count, _ in classes.values()))
            for count, total in classes.values():
                instances, size = instances + count, size + total
            for name, frames in self._threads(process):
                if frames:  # a thread of the JVM itself has no Java frame
                    threads += 1
                    text = strip_numbers(name)
                    names[text] = names.get(text, 0) + 1
        if large:
            return Counters({THREADS: threads}, names, tuple(processes), (TOO_MANY,))
        levels = {OBJECTS: instances, HEAP_BYTES: size, THREADS: threads}
        return Counters(levels, names, tuple(processes))

    def _limits(self) -> dict[str, float]:
        """The largest size of the heap; of several JVMs the sum, which holds as if all grew alike. Empty where a JVM
        does not report it (OpenJ9)."""
        found = [MAX_HEAP.search(self._run(pid, "VM.flags")) for pid in self._processes()]
        return {HEAP_LIMIT: float(sum(int(each[1]) for each in found if each))} if all(found) else {}

    def attribute(self, cycle: Cycle, *, time_left: TimeLeft = unlimited) -> Attribution:
        """Threads by stack, then instances by class, over two cycles."""
        process = self._processes()[0]
        began = time.monotonic()
        classes = self._histogram(process)
        # The second histogram takes about as long as the first: both walk the whole heap.
        needed = time.monotonic() - began
        stacks = self._stacks(process)
        cycles, stopped = run_cycles(cycle, 2)
        connections = sum(cycles)
        growths = stack_growth(stacks, self._stacks(process), connections)
        late = time_left() < needed
        if not late:
            growths += class_growth(classes, self._histogram(process), connections)
        growths.sort(key=lambda growth: not growth.own)
        return first_places(growths, (*stopped, *((NO_TIME,) if late else ())))

    def _processes(self) -> list[int]:
        found = [pid for pid in tree(self.pid) if is_jvm(pid)]
        if not found:
            raise ProbeError(f"process {self.pid}: no JVM in its tree; expected one: has the service exited?")
        return found

    def _histogram(self, pid: int) -> dict[str, tuple[float, float]]:
        for _ in range(COLLECTIONS):
            text = self._run(pid, "GC.class_histogram")
        return histogram(text)

    def _threads(self, pid: int) -> list[tuple[str, tuple[Frame, ...]]]:
        return thread_stacks(self._run(pid, "Thread.print"))

    def _stacks(self, pid: int) -> dict[Stack, int]:
        sums: dict[Stack, int] = {}
        for name, frames in self._threads(pid):
            own = any(not is_library("jvm", frame) for frame in frames)
            key = ("" if own else strip_numbers(name), frames)
            sums[key] = sums.get(key, 0) + 1
        return sums

    def _run(self, pid: int, command: str) -> str:
        """The output of one command of jcmd. Raises ProbeError.

        jcmd is a JVM itself: on a busy machine its start took a second, three times in every reading, and the readings
        of a run took longer than its loads. So it runs only to make the target listen at its attach socket."""
        answer = jvm_socket.ask(pid, command, timeout=TIMEOUT, limit=LIMIT)
        return self._run_jcmd(pid, command) if answer is None else answer

    def _run_jcmd(self, pid: int, command: str) -> str:
        """The output of one jcmd, whose own JVM is started with few resources. Raises ProbeError."""
        program = self._jcmd or find_jcmd(pid)
        argv = [
            program,
            # jcmd itself runs in a JVM, for a fraction of a second: optimising compilers and parallel collectors would
            # only cost.
            "-J-Xshare:auto",
            "-J-XX:TieredStopAtLevel=1",
            "-J-XX:+UseSerialGC",
            str(pid),
            command,
        ]
        try:
            done = subprocess.run(argv, capture_output=True, timeout=TIMEOUT, check=False)
        except FileNotFoundError:
            raise ProbeError(
                "jcmd is not installed; expected the tools of a JDK, on PATH or in JAVA_HOME"
            ) from None
        except subprocess.TimeoutExpired:
            raise ProbeError(
                f"jcmd {pid} {command}: no answer in {TIMEOUT:g} s; is the JVM at a safepoint?"
            ) from None
        text = done.stdout[:LIMIT].decode(errors="replace")
        if done.returncode:
            complaint = (done.stderr.decode(errors="replace") + text).strip().splitlines()
            raise ProbeError(
                f"jcmd {pid} {command}: {complaint[-1][:200] if complaint else 'failed'}; expected the same user as "
                "the service's, and no -XX:+DisableAttachMechanism"
            )
        jvm_socket.check(pid, required=True)  # before jcmd it may not have been there
        return text


def is_jvm(pid: int) -> bool:
    """Whether the process has libjvm mapped."""
    try:
        return "/libjvm.so" in Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False


def find_jcmd(pid: int) -> str:
    """The jcmd beside the target's own java, else in JAVA_HOME, else on PATH. The first is used only if no other user
    can have written it, because the harness runs it under its own user."""
    beside = Path(executable(pid)).parent
    folders = [beside] if jvm_socket.is_trusted_program(beside / "jcmd") else []
    if home := os.environ.get("JAVA_HOME"):
        folders.append(Path(home) / "bin")
    for folder in folders:
        if (folder / "jcmd").is_file():
            return str(folder / "jcmd")
    return shutil.which("jcmd") or "jcmd"


def histogram(text: str) -> dict[str, tuple[float, float]]:
    """Class → live instances, bytes."""
    rows = (ROW.match(line) for line in text.splitlines())
    return {class_name(row[3]): (float(row[1]), float(row[2])) for row in rows if row}


def class_name(name: str) -> str:
    """``[Ljava.lang.String;`` → ``java.lang.String[]`` (JVM specification, 4.3.2)."""
    depth = len(name) - len(name.lstrip("["))
    inner = name[depth:]
    if depth and inner.startswith("L"):
        inner = inner[1:].rstrip(";")
    elif depth:
        inner = ARRAYS.get(inner, inner)
    return inner + "[]" * depth


def strip_numbers(name: str) -> str:
    """``pool-3-thread-1`` → ``pool-N-thread-N``."""
    return re.sub(r"\d+", "N", name)[:100]


def thread_stacks(text: str) -> list[tuple[str, tuple[Frame, ...]]]:
    """Name and frames (innermost first) of every thread of a ``Thread.print``."""
    found: list[tuple[str, tuple[Frame, ...]]] = []
    frames: list[Frame] = []
    for line in text.splitlines():
        if start := THREAD.match(line):
            frames = []
            found.append((start[1], ()))
        elif found and (frame := FRAME.match(line)):
            # A hidden class, such as that of a lambda, has its address behind its name.
            function = HIDDEN_CLASS.sub("", frame[1]).split("/")[-1]
            if "$$Lambda" in function:
                continue  # it calls the method that the source has
            frames.append((frame[2].split("/")[-1], int(frame[3] or 0), function))
            found[-1] = (found[-1][0], tuple(frames))
    return found


def stack_growth(before: Mapping[Stack, int], after: Mapping[Stack, int], connections: float) -> list[Growth]:
    """Threads by the service's innermost line; threads that run only code of libraries also by their names."""
    found = []
    for (name, frames), count in after.items():
        rate = (count - before.get((name, frames), 0)) / max(1, connections)
        if rate >= MIN_PER_CONNECTION and frames:
            ordered = own_first("jvm", frames)
            detail = (
                f" (threads named {plain(name.translate(PARENTHESES))})"
                if name
                else waits_in(frames, ordered[0])
            )
            found.append(
                Growth(
                    written(ordered[0]) + detail,
                    rate,
                    "threads",
                    "thread",
                    None,
                    tuple(map(written, ordered)),
                    not is_library("jvm", ordered[0]),
                )
            )
    return sorted(found, key=lambda growth: -growth.per_connection)


def waits_in(frames: Sequence[Frame], own: Frame) -> str:
    """`` (waiting in java.lang.Thread.sleep)``: the function that the service's frame has called, if it is one of a
    library."""
    called = frames[frames.index(own) - 1] if frames.index(own) else None
    return f" (waiting in {called[2]})" if called and is_library("jvm", called) else ""


def class_growth(
    before: Mapping[str, tuple[float, float]], after: Mapping[str, tuple[float, float]], connections: float
) -> list[Growth]:
    """Instances by class, those of the service before those of Java itself."""
    found = []
    for name, (count, size) in after.items():
        old = before.get(name, (0.0, 0.0))
        rate = (count - old[0]) / max(1, connections)
        if rate >= MIN_PER_CONNECTION:
            library = bool(JVM.match(name)) or (
                "." not in name.rstrip("[]") and name.rstrip("[]") in ARRAYS.values()
            )
            per_byte = (size - old[1]) / max(1, connections)
            growth = Growth(name, rate, "instances", "class", per_byte, own=not library)
            found.append((library, -rate, growth))
    return [growth for *_, growth in sorted(found, key=lambda item: item[:2])]
