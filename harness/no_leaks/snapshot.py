"""Snapshots of the resources of this process, from descriptors to live objects and traced memory."""

from __future__ import annotations

import gc
import os
import sys
import threading
import tracemalloc
import weakref
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.core.errors import ConfigError

TEXT = 200  # characters of a description


@dataclass(frozen=True, slots=True)
class Thing:
    """One object. ref: distinguishes it from another object that got its address later."""

    text: str
    ref: Callable[[], object] | None = None


Things = Mapping[Hashable, Thing]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """kind → identity → thing; type name → live objects; bytes of traced memory (None: not traced)."""

    things: Mapping[str, Things]
    objects: Mapping[str, int] = field(default_factory=dict)
    memory: int | None = None

    def counts(self) -> dict[str, int]:
        """The count of each kind; ``objects/TYPE`` and ``memory`` (bytes) if they were asked for."""
        found = {kind: len(things) for kind, things in self.things.items()}
        found.update({f"objects/{name}": count for name, count in self.objects.items()})
        if self.memory is not None:
            found["memory"] = self.memory
        return found


def types_of(objects: object) -> tuple[type, ...]:
    """Types whose instances are counted. Raises ConfigError for anything else."""
    found = tuple(objects) if isinstance(objects, Iterable) and not isinstance(objects, type) else (objects,)
    for kind in found:
        if not isinstance(kind, type):
            raise ConfigError(f"objects={objects!r}: expected a list of types, such as [Session]")
    return found


def snapshot(*, objects: Iterable[type] = (), memory: bool = False) -> Snapshot:
    """Read everything now. objects: types whose live instances are counted. memory: traced bytes, for which
    tracemalloc must run. Linux only (/proc). Raises ConfigError when it does not run."""
    objects = types_of(objects)
    if memory and not tracemalloc.is_tracing():
        raise ConfigError("snapshot(memory=True): nothing is traced; call tracemalloc.start() first")
    living = _living(objects)
    things = {kind: read() for kind, read in _READERS.items()}
    things["tasks"], things["zeromq"] = living.tasks, living.zeromq
    traced = tracemalloc.get_traced_memory()[0] if memory else None
    return Snapshot(things, {name: living.counts[name] for name in map(_name, objects)}, traced)


def _descriptors() -> Things:
    found: dict[Hashable, Thing] = {}
    pipes = _interpreters_pipes()
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208 - this runs around every test
        try:
            target = os.readlink(f"/proc/self/fd/{number}")  # noqa: PTH115
        except OSError:
            continue  # the descriptor with which this folder is read
        text = f"fd {number}: {target}"
        if int(number) in pipes:
            text += f" of {pipes[int(number)]}"
        # The number alone would miss a descriptor that was closed and replaced by another one.
        found[int(number), target] = Thing(text[:TEXT])
    return found


def _interpreters_pipes() -> dict[int, str]:
    """The pipes of multiprocessing's resource tracker and fork server: descriptor → owner."""
    found: dict[int, str] = {}
    for name, owner, attribute in (
        ("multiprocessing.resource_tracker", "_resource_tracker", "_fd"),
        ("multiprocessing.forkserver", "_forkserver", "_forkserver_alive_fd"),
    ):
        number = getattr(getattr(sys.modules.get(name), owner, None), attribute, None)
        if isinstance(number, int):
            found[number] = name
    return found


def _threads() -> Things:
    """Every thread of the process, those of C libraries too (task/ in proc(5))."""
    python = {thread.native_id: thread for thread in threading.enumerate()}
    found: dict[Hashable, Thing] = {}
    for tid in map(int, os.listdir("/proc/self/task")):  # noqa: PTH208
        thread = python.get(tid)
        if thread is not None:
            found[tid, id(thread)] = Thing(f"{thread.name} ({type(thread).__name__})"[:TEXT])
            continue
        # Without a name it has ended since the folder was listed.
        name = _read(f"/proc/self/task/{tid}/comm").strip()
        if name:
            found[tid] = Thing(f"native thread {name}")
    return found


def _children() -> Things:
    found: dict[Hashable, Thing] = {}
    for tid in os.listdir("/proc/self/task"):  # noqa: PTH208
        for pid in _read(f"/proc/self/task/{tid}/children").split():
            fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
            if len(fields) < 20:
                continue
            line = _read(f"/proc/{pid}/cmdline").replace("\0", " ").strip()
            zombie = " (ended, never waited for)" if fields[0] == "Z" else ""
            # Field 22 of proc(5), the start time: a pid is used again, but not with the same start.
            found[int(pid), fields[19]] = Thing(f"pid {pid}: {line or '?'}{zombie}"[:TEXT])
    return found


def _read(path: str) -> str:
    try:
        with open(path, errors="replace") as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return ""


_READERS: dict[str, Callable[[], Things]] = {
    "descriptors": _descriptors,
    "threads": _threads,
    "children": _children,
}
KINDS = (*_READERS, "tasks", "zeromq", "objects", "memory")


@dataclass(slots=True)
class _Living:
    tasks: dict[Hashable, Thing] = field(default_factory=dict)
    zeromq: dict[Hashable, Thing] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)


def _living(types: tuple[type, ...]) -> _Living:
    """Walk once over the objects of the garbage collector for everything that is found only there. Objects of modules
    that are not imported cannot exist."""
    found = _Living()
    asyncio, zmq = sys.modules.get("asyncio"), sys.modules.get("zmq")
    tasks: Any = getattr(asyncio, "Task", None) or ()
    sockets: Any = (zmq.Socket, zmq.Context) if zmq is not None and hasattr(zmq, "Context") else ()
    wanted = tuple(types) + ((tasks,) if tasks else ()) + tuple(sockets)
    if not wanted:
        return found
    for thing in gc.get_objects():
        # type() first: isinstance() would ask a proxy for its __class__ and so run foreign code.
        kind = type(thing)
        if not issubclass(kind, wanted):
            continue
        if tasks and issubclass(kind, tasks):
            if not thing.done():
                found.tasks[id(thing)] = Thing(_task(thing), weakref.ref(thing))
        elif sockets and issubclass(kind, sockets) and not thing.closed:
            found.zeromq[id(thing)] = Thing(_zeromq(thing), weakref.ref(thing))
        for one in types:
            if issubclass(kind, one):
                found.counts[_name(one)] += 1
    return found


def _task(task: Any) -> str:
    coroutine = task.get_coro()
    code = getattr(coroutine, "cr_code", None)
    where = f" at {code.co_filename}:{code.co_firstlineno}" if code else ""
    return f"{task.get_name()}: {getattr(coroutine, '__qualname__', coroutine)}{where}"[:TEXT]


def _zeromq(thing: Any) -> str:
    module = sys.modules.get("zmq.utils.garbage")
    collector = getattr(getattr(module, "gc", None), "_context", None)
    own = " of zmq.utils.garbage" if thing is collector else ""
    try:
        kind = f" type {int(thing.type)}" if hasattr(type(thing), "socket_type") else ""
    except Exception:  # closed by another thread in the meantime
        kind = ""
    return f"{type(thing).__module__}.{type(thing).__qualname__}{kind}{own}"[:TEXT]


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
