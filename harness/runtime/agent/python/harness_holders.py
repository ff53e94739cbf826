"""Which containers of the target gain elements, and what holds them. Standard library only; used only after growth was
found.

Loops over all objects are Python, so the interpreter gives the target's threads their turn every few milliseconds. No
code of the target runs: lengths are read by the methods of the built-in classes, attributes by their descriptors.
"""

from __future__ import annotations

import gc
import sys
import time

import harness_chains
import harness_readings

if False:  # for the type checker alone: the target need not load typing
    from typing import Any

MIN_GAIN = 5  # elements that a container must have gained
MAX_CONTAINERS = 16  # containers that are described
MAX_ATTRIBUTES = 20  # attributes of an object whose allocations are looked up
HERE = __file__.rpartition("/")[0] + "/"
EVERYTHING = 1_500_000  # objects beyond which nothing is searched

MEASURED_WITHIN = 5  # seconds

_before: dict[int, int] = {}
_measured = [False]

_function = type(lambda: None)
_method = type((lambda _: None).__get__(0))
_member = type(type.__dict__["__basicsize__"])  # member_descriptor: a slot
_getset = type(type.__dict__["__dict__"])  # getset_descriptor: __dict__ itself
_class_dict = type.__dict__["__dict__"].__get__


def containers(first: int = 0) -> dict[str, object]:
    """first: 1 remembers how long each container is. 0: those that have grown since, the most first.

    grown: ``[{"type", "gain", "item", "made": [[file, line], …], "chain": [[label, kind, file], …]}]``: the type of the
    element that came last and where it was allocated, and the holders from the container outwards.
    """
    harness_readings.collect()
    everything = gc.get_objects()
    if len(everything) > EVERYTHING:
        return {"grown": [], "partial": "more than %d objects: containers are not compared" % EVERYTHING}
    lengths, found, complete = _lengths(everything)
    if first:
        _before.clear()
        _before.update(lengths)
        _measured[0] = complete
    if not (complete and _measured[0]):  # one that was not measured at first would count as grown
        return {"grown": [], "partial": "containers were not all measured within %d s" % MEASURED_WITHIN}
    if first:
        return {"grown": []}
    # No sort over all of them: it would hold the interpreter for a second where a million containers are alive.
    most: list[tuple[int, int]] = []
    for number, size in lengths.items():
        gain = size - _before.get(number, 0)
        if gain >= MIN_GAIN and (len(most) < MAX_CONTAINERS or gain > most[-1][0]):
            most = sorted(most + [(gain, number)], reverse=True)[:MAX_CONTAINERS]
    targets = [found[number] for _, number in most]
    del found, everything
    chains, complete = harness_chains.chains(targets)
    answer: dict[str, object] = {
        "grown": [
            {
                "type": type(one).__name__,
                "gain": gain,
                "item": described(_last(one)),
                "made": origin(_last(one)),
                "chain": [list(link) for link in chain],
            }
            for (gain, _), one, chain in zip(most, targets, chains)  # noqa: B905 - Python 3.8 knows no strict
        ]
    }
    if not complete:
        answer["partial"] = (
            "the owners of growing containers were not all found within %d s" % harness_chains.SECONDS
        )
    return answer


def forget() -> None:
    """Forget the lengths, which are of no use without tracing."""
    _before.clear()


def _bases() -> tuple[type, ...]:
    deque = sys.modules.get("_collections")
    return (list, dict, set) + ((deque.deque,) if deque else ())


def _ours() -> set[int]:
    """Ids of what the agent itself remembers, such as each descriptor that was opened: it grows with the target, and
    the target cannot do anything about it."""
    modules = [vars(module) for module in list(sys.modules.values()) if type(module) is type(sys)]
    return {
        id(value)
        for names in modules
        if str(names.get("__file__") or "").startswith(HERE)
        for value in list(names.values())
    }


def _lengths(everything: list[object]) -> tuple[dict[int, int], dict[int, object], bool]:
    """Length and object by id, of containers that could have gained enough, and whether there was time for all. A dict
    of plain values is not known to the collector: it is found as an attribute of what is."""
    deadline = time.monotonic() + MEASURED_WITHIN
    bases = _bases()
    ours = _ours()
    kinds: dict[type, Any] = {}
    lengths: dict[int, int] = {}
    found: dict[int, object] = {}

    def look(one: object) -> None:
        kind = type(one)
        if kind not in kinds:
            kinds[kind] = next((base.__len__ for base in bases if base in kind.__mro__), None)
        length = kinds[kind]
        if length is not None and id(one) not in ours:
            size = length(one)
            if size >= MIN_GAIN:
                lengths[id(one)] = size
                found[id(one)] = one

    for index, one in enumerate(everything):
        # Not at every object: there may be millions.
        if not index & 4095 and time.monotonic() > deadline:
            return lengths, found, False
        look(one)
        for inner in gc.get_referents(one):
            if type(inner) is dict and not gc.is_tracked(inner):
                look(inner)
    return lengths, found, True


def _last(container: Any) -> Any:
    """The element that was added last, if the container has an order; None when it is empty."""
    if isinstance(container, dict):
        values = list(dict.values(container))
        return values[-1] if values else None
    base = next(base for base in _bases() if base in type(container).__mro__)
    if base is set:
        elements = list(set.__iter__(container))
        return elements[-1] if elements else None
    return base.__getitem__(container, -1) if base.__len__(container) else None  # type: ignore[attr-defined]


def described(one: object) -> str:
    """The type of an element; of what can be called, its function as well: ``method Hub.beat``,
    ``asyncio.events.TimerHandle calling Hub.beat``."""
    called = _called(one)
    name = harness_readings.type_name(type(one))
    if type(one) in (_function, _method):
        return "%s %s" % (name, called)
    return "%s calling %s" % (name, called) if called else name


def _called(one: Any) -> str:
    """The name of the function that a callable of the standard library calls in the end; empty for any other object,
    whose attributes could run code of the target."""
    kind = type(one)
    if kind is _function:
        return harness_chains.short(one.__qualname__)
    if kind is _method:
        return _called(one.__func__)
    functools = sys.modules.get("_functools")
    partial = getattr(functools, "partial", None)
    if partial is not None and partial in kind.__mro__:
        return _called(partial.__dict__["func"].__get__(one))
    events = sys.modules.get("asyncio.events")
    handle = getattr(events, "Handle", None)
    if handle is not None and handle in kind.__mro__:
        slot = handle.__dict__.get("_callback")
        return _called(slot.__get__(one)) if type(slot) is _member else ""
    return ""


def origin(one: object) -> tuple[tuple[str, int], ...]:
    """Where it was made, innermost frame first; empty unless tracing had begun by then.

    CPython 3.11 does not find the trace of an instance with a dict (its block begins further ahead than tracemalloc
    looks): the allocations of its constructor show the same, without the constructor's own frames.
    """
    module = sys.modules.get("_tracemalloc")
    if one is None or module is None or not module.is_tracing():
        return ()
    found = module._get_object_traceback(one)
    if found:
        return tuple(found)
    kind = type(one)
    for klass in kind.__mro__:
        descriptor = _class_dict(klass).get("__dict__")
        if type(descriptor) is _getset:
            constructors = _constructors(kind)
            for value in list(dict.values(descriptor.__get__(one)))[:MAX_ATTRIBUTES]:
                found = module._get_object_traceback(value) or _inner_trace(module, value)
                # The first loop drops what the constructor called, the second the constructor itself: the line that
                # called it remains.
                if found and any(_within(frame, constructors) for frame in found):
                    while found and not _within(found[0], constructors):
                        found = found[1:]
                    while found and _within(found[0], constructors):
                        found = found[1:]
                    return tuple(found)
    return ()


def _inner_trace(module: Any, value: object) -> Any:
    """The trace of what an attribute was given by its own constructor, for the same reason."""
    for klass in type(value).__mro__:
        descriptor = _class_dict(klass).get("__dict__")
        if type(descriptor) is _getset:
            for inner in list(dict.values(descriptor.__get__(value)))[:MAX_ATTRIBUTES]:
                found = module._get_object_traceback(inner)
                if found:
                    return found
    return None


def _constructors(kind: type) -> list[tuple[str, int, int]]:
    """File, first and last line of each constructor of a class."""
    found = []
    for klass in kind.__mro__:
        code = getattr(_class_dict(klass).get("__init__"), "__code__", None)
        if code is not None and hasattr(code, "co_lines"):
            lines = [line for _, _, line in code.co_lines() if line]
            found.append((code.co_filename, code.co_firstlineno, max(lines, default=code.co_firstlineno)))
    return found


def _within(frame: tuple[str, int], constructors: list[tuple[str, int, int]]) -> bool:
    return any(frame[0] == file and first <= frame[1] <= last for file, first, last in constructors)
