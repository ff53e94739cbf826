"""Which containers of the target gain elements, and what holds them. Standard library only; asked for only when growth
is known.

Loops over all objects are Python, so the interpreter gives the target's threads their turn every few milliseconds. No
code of the target runs: lengths are read by the methods of the built-in classes, attributes by their descriptors.
"""

from __future__ import annotations

import gc
import sys
import time

import harness_readings

if False:  # for the type checker alone: the target need not load typing
    from typing import Any

LEAST = 5  # elements that a container must have gained
MOST = 8  # containers that are described
LEVELS = 5  # from a container to what holds what holds it
SECONDS = 4.0  # for all of it; what is known by then is the answer
EVERYTHING = 1_500_000  # objects beyond which nothing is searched

_before: dict[int, int] = {}
HERE = __file__.rpartition("/")[0] + "/"

_clock = time.monotonic
_frame = type(sys._getframe())
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
    lengths, found = _lengths(everything)
    if first:
        _before.clear()
        _before.update(lengths)
        return {"grown": []}
    # No sort over all of them: it would hold the interpreter for a second where a million containers are alive.
    most: list[tuple[int, int]] = []
    for number, size in lengths.items():
        gain = size - _before.get(number, 0)
        if gain >= LEAST and (len(most) < MOST or gain > most[-1][0]):
            most = sorted(most + [(gain, number)], reverse=True)[:MOST]
    targets = [found[number] for _, number in most]
    del found, everything
    chains, complete = _chains(targets)
    answer: dict[str, object] = {
        "grown": [
            {
                "type": type(one).__name__,
                "gain": gain,
                "item": harness_readings.type_name(type(_last(one))),
                "made": origin(_last(one)),
                "chain": [list(link) for link in chain],
            }
            for (gain, _), one, chain in zip(most, targets, chains)  # noqa: B905 - Python 3.8 knows no strict
        ]
    }
    if not complete:
        answer["partial"] = "the owners of growing containers were not all found within %d s" % SECONDS
    return answer


def forget() -> None:
    """Let go of what was remembered."""
    _before.clear()


def _bases() -> tuple[type, ...]:
    deque = sys.modules.get("_collections")
    return (list, dict, set) + ((deque.deque,) if deque else ())


def _lengths(everything: list[object]) -> tuple[dict[int, int], dict[int, object]]:
    """Length and object by id, of containers that could have gained enough. A dict of plain values is not known to the
    collector: it is found as an attribute of what is."""
    bases = _bases()
    kinds: dict[type, Any] = {}
    lengths: dict[int, int] = {}
    found: dict[int, object] = {}

    def look(one: object) -> None:
        kind = type(one)
        if kind not in kinds:
            kinds[kind] = next((base.__len__ for base in bases if base in kind.__mro__), None)
        length = kinds[kind]
        if length is not None and one is not _before:
            size = length(one)
            if size >= LEAST:
                lengths[id(one)] = size
                found[id(one)] = one

    for one in everything:
        look(one)
        for inner in gc.get_referents(one):
            if type(inner) is dict and not gc.is_tracked(inner):
                look(inner)
    return lengths, found


def _last(container: Any) -> Any:
    """The element that came last, as far as the container knows an order; None when it is empty."""
    if isinstance(container, dict):
        values = list(dict.values(container))
        return values[-1] if values else None
    base = next(base for base in _bases() if base in type(container).__mro__)
    if base is set:
        elements = list(set.__iter__(container))
        return elements[-1] if elements else None
    return base.__getitem__(container, -1) if base.__len__(container) else None  # type: ignore[attr-defined]


def origin(one: object) -> tuple[tuple[str, int], ...]:
    """Where it was made, innermost frame first; empty unless tracing had begun by then.

    CPython 3.11 does not find the trace of an instance with a dict (its block begins further ahead than tracemalloc
    looks): what its constructor allocated tells as much, without the constructor's own frames.
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
            for value in list(dict.values(descriptor.__get__(one)))[:20]:
                found = module._get_object_traceback(value) or _inner_trace(module, value)
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
            for inner in list(dict.values(descriptor.__get__(value)))[:20]:
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


def _chains(targets: list[object]) -> tuple[list[list[Any]], bool]:
    """From each target outwards, one holder at a time, until a module or a class is reached."""
    chains: list[list[Any]] = [[] for _ in targets]
    ends = list(targets)  # None where a chain has ended
    deadline = _clock() + SECONDS
    visited = [{id(one)} for one in targets]  # a holder may be that of two containers
    for _ in range(LEVELS):
        wanted = [one for one in ends if one is not None]
        if not wanted:
            break
        if _clock() > deadline:
            return chains, False
        # One call holds the interpreter for about 40 ms per million objects.
        parents = gc.get_referrers(*wanted)
        ours = {id(one) for one in (targets, ends, wanted, parents)}
        for index, end in enumerate(ends):
            if end is None:
                continue
            best: Any = None
            for parent in parents:
                # Thousands of holders, each of thousands of elements, are not looked through to the end.
                if _clock() > deadline:
                    return chains, False
                if (
                    id(parent) in ours
                    or id(parent) in visited[index]
                    or type(parent) is _frame
                    and _is_ours(parent)
                ):
                    continue
                if not any(inner is end for inner in gc.get_referents(parent)):
                    continue
                link = _link(parent, end)
                if link is not None and (best is None or link[3] < best[0][3]):
                    best = (link, parent)
            ends[index] = None
            if best is None:
                continue
            label, kind, file, rank = best[0]
            if label:
                chains[index].append((label, kind, file))
            if rank > 0:
                ends[index] = best[1]
                visited[index].add(id(best[1]))
        del wanted, parents
    return chains, True


def _is_ours(frame: Any) -> bool:
    return bool(frame.f_code.co_filename.startswith(HERE))


def _file_of(module: object) -> str:
    found = sys.modules.get(module) if type(module) is str else None
    file = getattr(found, "__dict__", {}).get("__file__")
    return file if type(file) is str else ""


def _link(parent: Any, child: object) -> tuple[str, str, str, int] | None:
    """(label, kind, file, rank) of how parent holds child; rank 0 ends the chain, a higher one is less telling."""
    kind = type(parent)
    if kind is dict:
        for key, value in list(dict.items(parent)):
            if value is child:
                name = parent.get("__name__")
                if type(name) is str and getattr(sys.modules.get(name), "__dict__", None) is parent:
                    return "%s.%s" % (name, key), "module", _file_of(name), 0
                # An attribute, when an instance holds this dict; a key, when anything else does.
                return (str(key) if type(key) is str else ""), "key", "", 3
        return None
    if isinstance(parent, type):
        for key, value in _class_dict(parent).items():
            if value is child:
                return harness_readings.type_name(parent) + "." + key, "class", _file_of(parent.__module__), 0
        if type(child) is dict:  # its own, of which Python code sees a proxy alone
            return harness_readings.type_name(parent), "object", _file_of(parent.__module__), 0
        return None
    name = kind.__name__
    if name == "cell":
        return "", "cell", "", 4
    if name == "function":
        code = parent.__code__
        label = "a closure of " if _in_closure(parent, child) else "a default of "
        return label + parent.__qualname__, "function", code.co_filename, 0
    if name in ("coroutine", "generator", "async_generator"):
        code = getattr(parent, {"coroutine": "cr", "generator": "gi"}.get(name, "ag") + "_code")
        return "a local of %s" % parent.__qualname__, "local", code.co_filename, 2
    if name == "frame":
        return "a local of %s" % parent.f_code.co_name, "local", parent.f_code.co_filename, 2
    if name in ("list", "tuple", "set", "deque", "mappingproxy", "method"):
        return "", "in", "", 5
    attribute = _attribute(parent, kind, child)
    if attribute is not None:
        owner = harness_readings.type_name(kind)
        if not attribute:
            return owner, "object", _file_of(kind.__module__), 1
        return owner + "." + attribute, "instance", _file_of(kind.__module__), 1
    return None


def _in_closure(function: Any, child: object) -> bool:
    return any(cell is child for cell in function.__closure__ or ())


def _attribute(parent: Any, kind: type, child: object) -> str | None:
    """Name of the attribute; "" when child is the instance's own dict."""
    for klass in kind.__mro__:
        own = _class_dict(klass)
        descriptor = own.get("__dict__")
        if type(descriptor) is _getset:
            attributes = descriptor.__get__(parent)
            if attributes is child:
                return ""
            for key, value in list(dict.items(attributes)):
                if value is child:
                    return str(key)
        for key, value in own.items():
            if type(value) is _member:
                try:
                    if value.__get__(parent, kind) is child:
                        return str(key)
                except AttributeError:
                    pass
    return None
