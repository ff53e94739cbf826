"""Which frames are the service's own, and how a place in the code is written."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Of CPython's standard library, of installed packages, of the interpreter itself.
LIBRARY = re.compile(
    r"/(?:site|dist)-packages/|/lib(?:64)?/python\d[\d.]*t?/|^<frozen |^<string>$|^<unknown>$"
)

Frame = tuple[str, int, str]  # file, line, function ("" when not known)


def is_library(file: str) -> bool:
    """True for the standard library, installed packages and frozen modules."""
    return bool(LIBRARY.search(file))


def written(frame: Frame, *, short: bool = False) -> str:
    """``/srv/app.py:12 in serve``; short: the file's last two parts alone."""
    file, line, function = frame
    if short:
        file = "/".join(file.rsplit("/", 2)[-2:])
    return f"{file}:{line}" + (f" in {function}" if function else "")


def own_first(innermost_first: Sequence[Frame]) -> tuple[Frame, ...]:
    """Frames of the service before frames of libraries, each innermost first."""
    own = [frame for frame in innermost_first if not is_library(frame[0])]
    return (*own, *(frame for frame in innermost_first if is_library(frame[0])))
