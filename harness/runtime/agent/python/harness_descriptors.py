"""Which lines open descriptors that stay open. Standard library only; used only after growth was found.

Files and sockets are objects, so the trace of their allocation has their line. A bare descriptor is a number: while the
search lasts, the functions of ``os`` that return one note who called them, and are put back afterwards. ``from os
import open`` keeps the original and is not seen.
"""

from __future__ import annotations

import sys

import harness_readings

if False:  # for the type checker alone: the target need not load typing
    from collections.abc import Callable, Iterator
    from typing import Any

    Frames = tuple[tuple[str, int], ...]

DEPTH = 40  # frames
MAX_DESCRIPTORS = 20_000  # descriptors that are remembered
HERE = __file__.rpartition("/")[0] + "/"
# Functions that return a descriptor, or several of them.
OPENING = (
    "open", "dup", "eventfd", "memfd_create", "pidfd_open", "timerfd_create", "pipe", "pipe2", "openpty", "dup2",
)  # fmt: skip

_opened: dict[int, tuple[Frames, tuple[int, int]]] = {}
_put_back: dict[str, tuple[Any, Any]] = {}


def begin() -> None:
    """From now on, record the callers that open a bare descriptor."""
    os = sys.modules.get("os")
    if os is None or _put_back:
        return
    for name in OPENING:
        original = os.__dict__.get(name)
        if type(original).__name__ == "builtin_function_or_method":  # not one that the service has replaced
            _put_back[name] = (original, _Opening(original))
    closing = os.__dict__.get("close")
    if type(closing).__name__ == "builtin_function_or_method":
        _put_back["close"] = (closing, _Closing(closing))
    for name, (_, ours) in _put_back.items():
        setattr(os, name, ours)


def end() -> None:
    """Put the functions back; one that the service has replaced meanwhile stays."""
    os = sys.modules.get("os")
    for name, (original, ours) in _put_back.items():
        if os is not None and os.__dict__.get(name) is ours:
            setattr(os, name, original)
    _put_back.clear()
    _opened.clear()


class _Function:
    """Takes the place of a function of ``os``. Like a built-in function it is no method of the class that keeps it, and
    it is found where the original is: ``os.open in os.supports_dir_fd`` decides how safely a folder is removed."""

    def __init__(self, original: Callable[..., Any]) -> None:
        self._original = original
        self.__name__, self.__qualname__ = original.__name__, original.__qualname__
        self.__module__, self.__doc__ = original.__module__, original.__doc__
        self.__self__ = getattr(original, "__self__", None)

    def __hash__(self) -> int:
        return hash(self._original)

    def __eq__(self, other: object) -> bool:
        return other is self or other is self._original

    def __repr__(self) -> str:
        return repr(self._original)


class _Opening(_Function):
    def __call__(self, *arguments: Any, **named: Any) -> Any:
        found = self._original(*arguments, **named)
        if _put_back:
            frames = _callers(sys._getframe(1))
            for number in found if type(found) is tuple else (found,):
                identity = _identity(number)
                if identity and len(_opened) < MAX_DESCRIPTORS:
                    _opened[number] = (frames, identity)
        return found


class _Closing(_Function):
    def __call__(self, *arguments: Any, **named: Any) -> Any:
        for number in (*arguments, *named.values()):
            if type(number) is int:
                _opened.pop(number, None)
        return self._original(*arguments, **named)


def _callers(frame: Any) -> Frames:
    """Innermost first."""
    found: list[tuple[str, int]] = []
    while frame is not None and len(found) < DEPTH:
        found.append((frame.f_code.co_filename, frame.f_lineno or 0))
        frame = frame.f_back
    return tuple(found)


def _identity(number: int) -> tuple[int, int] | None:
    """Device and inode: a number that was closed in C and given again is another file; None for one that is closed."""
    try:
        status = sys.modules["posix"].fstat(number)
    except (OSError, KeyError):
        return None
    return status.st_dev, status.st_ino


def live(everything: list[object]) -> Iterator[Frames]:
    """For each descriptor that is open and whose line is known: where it was opened, innermost frame first."""
    owned: set[int] = set()  # by a file or a socket, which may have got a number that was closed in C
    module = sys.modules.get("_tracemalloc")
    for base, name in (("_io", "FileIO"), ("_socket", "socket")):
        kind = getattr(sys.modules.get(base), name, None)
        if kind is None or module is None or not module.is_tracing():
            continue
        inherited = harness_readings.known({kind})
        number_of = kind.__dict__["fileno"]
        for one in everything:
            if not inherited(type(one)):
                continue
            try:
                number = number_of(one)
            except ValueError:
                continue  # closed
            frames = module._get_object_traceback(one)
            if number >= 0 and frames:
                owned.add(number)
                yield tuple(frames)
    for number, (opened, identity) in list(_opened.items()):
        if number not in owned and _identity(number) == identity:
            yield opened
