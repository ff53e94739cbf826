"""The counters of the agent. Standard library only; it is loaded at startup, so it imports C modules alone.

Every count is taken after a collection and before anything is allocated to report it. Only attributes of
``type`` itself and C slots are used: no code of the target runs because it was counted.
"""

from __future__ import annotations

import _json
import _thread
import gc
import sys

if False:  # for the type checker alone: the target need not load typing
    from collections.abc import Callable
    from typing import Any

# gc.get_objects() holds the interpreter for 30 ms per million objects, and a block holds at most one of them.
MAX_BLOCKS = 7_000_000
MAX_TYPES = 2000  # types of an answer, those with most objects
YIELD = 0.001  # seconds
COLLECTIONS = 4  # finalizers can make new garbage; more rounds than this never helped
PRINTING = gc.DEBUG_STATS | gc.DEBUG_COLLECTABLE | gc.DEBUG_UNCOLLECTABLE
GREENLET = "greenlet"

_qualified = type.__dict__["__qualname__"].__get__
_module = type.__dict__["__module__"].__get__
_lines = type.__dict__["__mro__"].__get__
_frames_of_threads = sys._current_frames
_ident = _thread.get_ident
_make_lock = _thread.allocate_lock
_heap: list[Callable[[], int | None] | None] = []


def collect() -> bool:
    """Collect until nothing more is found. False when the target switched collection off: its cycles then stay for
    good, and a collection here would hide that."""
    if not gc.isenabled():
        return False
    debug = gc.get_debug()
    if debug & PRINTING:
        gc.set_debug(debug & ~PRINTING)  # these flags print each collection on the target's stderr
    try:
        for _ in range(COLLECTIONS):
            if not gc.collect():
                break
            _yield()  # no two collections without a turn for the target's own threads
    finally:
        if debug & PRINTING:
            gc.set_debug(debug)
    return True


def _yield() -> None:
    """Release the interpreter lock, by a lock rather than ``time.sleep``, which the target may have replaced."""
    lock = _make_lock()
    lock.acquire()
    lock.acquire(True, YIELD)


def read(_: int = 0) -> dict[str, object]:
    """The counters, after a collection."""
    collected = collect()
    blocks = sys.getallocatedblocks()
    if blocks > MAX_BLOCKS:
        objects = tasks = greenlets = None
        partial = "%d blocks are allocated, more than %d: objects are not counted" % (blocks, MAX_BLOCKS)
    else:
        everything = gc.get_objects()
        objects = len(everything)
        tasks, greenlets = len(live_tasks(everything)), len(live_greenlets(everything))
        partial = None
        del everything
    heap = malloc_bytes()
    return {
        "version": "%d.%d.%d" % sys.version_info[:3],
        "collected": collected,
        "objects": objects,
        "blocks": blocks or None,  # 0: PYTHONMALLOC=malloc, nothing counts them
        "heap_bytes": heap,
        "asyncio_tasks": tasks if "asyncio" in sys.modules else None,
        "greenlets": greenlets if GREENLET in sys.modules else None,
        "threads": thread_names(),
        "tracing": tracing(),
        "partial": partial,
    }


def types(_: int = 0) -> dict[str, object]:
    """Live objects known to the collector, by type; at most the 2,000 most frequent."""
    collected = collect()
    counts: dict[type, int] = {}
    for kind in map(type, gc.get_objects()):
        counts[kind] = counts.get(kind, 0) + 1
    named: dict[str, int] = {}
    for kind, count in counts.items():
        name = type_name(kind)
        named[name] = named.get(name, 0) + count
    most = sorted(named.items(), key=lambda item: -item[1])[:MAX_TYPES]
    return {"collected": collected, "types": dict(most)}


def type_name(kind: type) -> str:
    """``module.Qualified.name`` without running a metaclass of the target."""
    module = _module(kind)
    name = str(_qualified(kind))
    return name if module == "builtins" or type(module) is not str else "%s.%s" % (module, name)


def live_tasks(everything: list[object]) -> list[object]:
    """asyncio tasks that are not done, of every event loop, uvloop's included."""
    asyncio_tasks = sys.modules.get("asyncio.tasks")
    if asyncio_tasks is None:
        return []
    bases = {asyncio_tasks.__dict__.get("Task"), asyncio_tasks.__dict__.get("_PyTask")} - {None}
    inherited = known(bases)
    return [task for task in everything if inherited(type(task)) and not _done(task, bases)]


def _done(task: object, bases: set[object]) -> bool:
    """``task.done()`` of the base class, because an override would run code of the target."""
    return any(base in _lines(type(task)) and base.done(task) for base in bases)  # type: ignore[attr-defined]


def live_greenlets(everything: list[object]) -> list[object]:
    """Greenlets that were started and have not ended, the root ones of each thread aside."""
    module = sys.modules.get(GREENLET)
    base = getattr(module, "greenlet", None) if module else None
    if base is None:
        return []
    frame, parent = base.__dict__["gr_frame"].__get__, base.__dict__["parent"].__get__
    inherited = known({base})
    return [g for g in everything if inherited(type(g)) and parent(g) is not None and frame(g) is not None]


def known(bases: set[object]) -> Callable[[type], bool]:
    """A function that returns whether a type inherits from one of ``bases``. The answer is kept for each type: there
    are many objects and few types."""
    seen: dict[type, bool] = {}

    def inherits(kind: type) -> bool:
        if kind not in seen:
            seen[kind] = not bases.isdisjoint(_lines(kind))
        return seen[kind]

    return inherits


def thread_names() -> dict[str, int]:
    """Python threads by name with numbers written N; those unknown to ``threading`` as "(native)"."""
    threading = sys.modules.get("threading")
    active = dict(threading.__dict__.get("_active", ())) if threading else {}
    names: dict[str, int] = {}
    for ident in list(_frames_of_threads()):
        if ident == _ident():
            continue
        thread = active.get(ident)
        name = getattr(thread, "__dict__", {}).get("_name") if thread is not None else "(native)"
        text = without_numbers(str(name))
        names[text] = names.get(text, 0) + 1
    return names


def without_numbers(name: str) -> str:
    """``Thread-12 (serve)`` → ``Thread-N (serve)``."""
    out = ""
    for char in name[:100]:
        if not char.isdigit():
            out += char
        elif not out.endswith("\0"):
            out += "\0"
    return out.replace("\0", "N")


def tracing() -> bool:
    """Is tracemalloc on?"""
    module = sys.modules.get("_tracemalloc")
    return bool(module and module.is_tracing())


def malloc_bytes() -> int | None:
    """Bytes in use from ``malloc``, all arenas, by malloc_info(3); None without glibc or ctypes."""
    if not _heap:
        _heap.append(_open_malloc_info())
    reading = _heap[0]
    return reading() if reading else None


def library_ctypes() -> Any:
    """The standard library's ctypes or None. A file of the target that happens to have its name is not run."""
    if "ctypes" not in sys.modules:
        import posixpath
        from _frozen_importlib_external import PathFinder

        spec = PathFinder.find_spec("ctypes", None)
        library = str(posixpath.__file__).rpartition("/")[0]
        if spec is None or not str(spec.origin).startswith(library + "/ctypes/"):
            return None
    try:
        import ctypes
    except ImportError:
        return None
    return ctypes


def _open_malloc_info() -> Callable[[], int | None] | None:
    """A function that reads it."""
    ctypes = library_ctypes()
    if ctypes is None:
        return None
    try:
        libc = ctypes.CDLL(None)
        info, opened, close, free = libc.malloc_info, libc.open_memstream, libc.fclose, libc.free
    except (OSError, AttributeError):
        return None
    opened.restype = ctypes.c_void_p
    close.argtypes = free.argtypes = [ctypes.c_void_p]
    info.argtypes = [ctypes.c_int, ctypes.c_void_p]

    def reading() -> int | None:
        text, size = ctypes.c_void_p(), ctypes.c_size_t()
        stream = opened(ctypes.byref(text), ctypes.byref(size))
        if not stream:
            return None
        try:
            failed = info(0, stream)
        finally:
            # open_memstream(3) sets text and size when the stream is closed; the memory is then the caller's.
            close(stream)
        try:
            return None if failed else in_use(ctypes.string_at(text.value or 0, size.value))
        finally:
            free(text)

    return reading


def in_use(xml: bytes) -> int:
    """From the totals at the end: what the arenas hold, less what is free in them, plus what malloc mapped."""
    totals = xml.rpartition(b"</heap>")[2]

    def size(start: bytes) -> int:
        _, found, rest = totals.partition(start)
        return int(rest.partition(b'size="')[2].partition(b'"')[0]) if found else 0

    return (
        size(b'<system type="current"') - size(b'type="fast"') - size(b'type="rest"') + size(b'type="mmap"')
    )


def encode(value: object) -> bytes:
    """JSON without the ``json`` module, which the target may not have loaded."""
    out: list[str] = []
    _encode(value, out.append)
    return "".join(out).encode()


def _encode(value: object, put: Callable[[str], None]) -> None:
    if value is None or value is True or value is False:
        put({None: "null", True: "true", False: "false"}[value])
    elif isinstance(value, str):
        put(_json.encode_basestring_ascii(value))
    elif isinstance(value, dict):
        put("{")
        for index, (key, item) in enumerate(value.items()):
            put("," if index else "")
            put(_json.encode_basestring_ascii(str(key)) + ":")
            _encode(item, put)
        put("}")
    elif isinstance(value, (list, tuple)):
        put("[")
        for index, item in enumerate(value):
            put("," if index else "")
            _encode(item, put)
        put("]")
    else:  # a number, whose repr is JSON
        put(repr(value))
