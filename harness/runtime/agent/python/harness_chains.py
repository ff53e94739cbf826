"""Finds what holds a container, from the container outwards. Standard library only; used only after growth was found.

No code of the target runs: attributes are read by their descriptors, variables from their frames.
"""

from __future__ import annotations

import gc
import sys
import time

import harness_readings

if False:  # for the type checker alone: the target need not load typing
    from typing import Any

LEVELS = 8  # holders from the container outwards
# A holder of a library ranks behind what may lead to one of the service (rank: see _link).
FOREIGN = 2.5
SECONDS = 4.0  # for the whole search; what was found by then is the answer
HERE = __file__.rpartition("/")[0] + "/"
LIBRARY = str(getattr(sys.modules.get("posixpath"), "__file__", None) or "?").rpartition("/")[0] or "?"

_clock = time.monotonic
_frame = type(sys._getframe())
_cell = type((lambda one: lambda: one)(0).__closure__[0])  # type: ignore[index]
# Functions that give a program the dict of the local variables of its caller.
_ASKING = frozenset({"locals", "vars", "dir", "eval", "exec"})
_member = type(type.__dict__["__basicsize__"])  # member_descriptor: a slot
_getset = type(type.__dict__["__dict__"])  # getset_descriptor: __dict__ itself
_class_dict = type.__dict__["__dict__"].__get__


def chains(targets: list[object]) -> tuple[list[list[Any]], bool]:
    """From each target outwards, one holder at a time, until a module or a class is reached."""
    found: list[list[Any]] = [[] for _ in targets]
    ends = list(targets)  # None where a chain has ended
    within: list[object] = [None for _ in targets]  # what each end holds
    deadline = _clock() + SECONDS
    visited = [{id(one)} for one in targets]  # a holder may be that of two containers
    for _ in range(LEVELS):
        wanted = [one for one in ends if one is not None]
        if not wanted:
            break
        if _clock() > deadline:
            return found, False
        # One call holds the interpreter for about 40 ms per million objects.
        parents = gc.get_referrers(*wanted)
        ours = {id(one) for one in (targets, ends, within, wanted, parents)}
        for index, end in enumerate(list(ends)):
            if end is None:
                continue
            best: Any = None
            looked: set[type] = set()
            for parent in parents:
                # Thousands of holders, each of thousands of elements, are not looked through to the end.
                if _clock() > deadline:
                    return found, False
                if (
                    id(parent) in ours
                    or id(parent) in visited[index]
                    or type(parent) is _frame
                    and _is_ours(parent)
                ):
                    continue
                if not any(inner is end for inner in gc.get_referents(parent)):
                    continue
                # Further instances of a class are no better link. Reading the attributes of one gives it a dict that it
                # keeps, so a leak of thousands would look as if it held a dict for each.
                if type(parent) in looked:
                    continue
                link = _link(parent, end, within[index])
                if link is None:
                    continue
                if link[1] in ("instance", "namespace"):
                    looked.add(type(parent))
                rank = link[3] + (FOREIGN if _is_foreign(link[2]) else 0)
                if best is None or rank < best[2]:
                    best = (link, parent, rank)
            ends[index] = None
            if best is None:
                continue
            label, kind, file, distance = best[0]
            if label:
                found[index].append((label, kind, file))
            if distance > 0:
                ends[index], within[index] = best[1], end
                visited[index].add(id(best[1]))
        del wanted, parents
    return found, True


def _is_ours(frame: Any) -> bool:
    return bool(frame.f_code.co_filename.startswith(HERE))


def _is_foreign(file: str) -> bool:
    """In the standard library or an installed package."""
    return file.startswith(LIBRARY + "/") or "/site-packages/" in file or "/dist-packages/" in file


def _file_of(module: object) -> str:
    found = sys.modules.get(module) if type(module) is str else None
    file = getattr(found, "__dict__", {}).get("__file__")
    return file if type(file) is str else ""


def _link(parent: Any, child: object, inner: object = None) -> tuple[str, str, str, int] | None:
    """(label, kind, file, rank) of how parent holds child; rank 0 ends the chain, a higher one is less useful.

    inner: what child holds, such as the cell in the closure of a function.
    """
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
        return _of_function(parent, child, inner), "function", code.co_filename, 0
    if name in ("coroutine", "generator", "async_generator"):
        prefix = {"coroutine": "cr", "generator": "gi"}.get(name, "ag")
        code = getattr(parent, prefix + "_code")
        local = _local(getattr(parent, prefix + "_frame"), child)
        return _variable(local, short(parent.__qualname__)), "local", code.co_filename, 2
    if name == "frame":
        code = parent.f_code
        function = getattr(code, "co_qualname", code.co_name)  # CPython 3.11
        return _variable(_local(parent, child), short(function)), "local", code.co_filename, 2
    if name in ("list", "tuple", "set", "deque", "mappingproxy", "method"):
        return "", "in", "", 5
    attribute = _attribute(parent, kind, child)
    if attribute is not None:
        owner = harness_readings.type_name(kind)
        if not attribute:
            return owner, "object", _file_of(kind.__module__), 1
        # ``app.state.timers`` is an entry of a dict to which __getattr__ leads.
        names = type(child) is dict and any("__getattr__" in _class_dict(klass) for klass in kind.__mro__)
        return owner + "." + attribute, "namespace" if names else "instance", _file_of(kind.__module__), 1
    return None


def short(name: str) -> str:
    """Without the functions around a function: ``Hub.beat``, ``handle`` for ``main.<locals>.handle``."""
    return str(name).rpartition("<locals>.")[2]


def _variable(name: str, function: str) -> str:
    """``variable subscribers of main``; ``a variable of main`` where its name is not known."""
    return "variable %s of %s" % (name, function) if name else "a variable of %s" % function


def _of_function(function: Any, child: object, inner: object) -> str:
    """A variable of the enclosing function, a parameter with a default, or an attribute of the function itself."""
    code, defaults = function.__code__, function.__defaults__
    for name, cell in zip(code.co_freevars, function.__closure__ or ()):  # noqa: B905 - Python 3.8 knows no strict
        if child is function.__closure__ and cell is inner:
            enclosing = function.__qualname__.rpartition(".<locals>")[0]
            return _variable(str(name), short(enclosing or function.__qualname__))
    if child is defaults:
        first = code.co_argcount - len(defaults)
        named = [code.co_varnames[first + at] for at, value in enumerate(defaults) if value is inner]
        return _variable(str(named[0]) if named else "", short(function.__qualname__))
    if child is function.__kwdefaults__:
        return _variable(
            next((str(name) for name, value in child.items() if value is inner), ""),
            short(function.__qualname__),
        )  # type: ignore[attr-defined]
    return short(function.__qualname__)


def _local(frame: Any, child: object) -> str:
    """Name of the local variable that is ``child``, or the cell of it.

    Before CPython 3.13 reading f_locals leaves a dict of all local variables at the frame, which keeps them alive. It
    is emptied again, and a function that itself asks for ``locals()``, whose dict that is, is left alone.
    """
    code = frame.f_code if frame is not None else None
    optimized = 1  # inspect.CO_OPTIMIZED: a function; the locals of a module are its globals
    if code is None or not code.co_flags & optimized or not _ASKING.isdisjoint(code.co_names):
        return ""
    wanted = child.cell_contents if type(child) is _cell and _is_full(child) else child
    variables = frame.f_locals
    try:
        for name, value in variables.items():
            if value is wanted:
                return str(name)
    finally:
        if type(variables) is dict:
            variables.clear()
    return ""


def _is_full(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - raises where the variable has no value
    except ValueError:
        return False
    return True


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
