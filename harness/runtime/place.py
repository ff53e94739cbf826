"""Which frames of a Python are the service's own, and how a place in the code is written."""

from __future__ import annotations

from collections.abc import Sequence

from harness.core import frames
from harness.core.frames import PYTHON, Frame, written

__all__ = ["Frame", "is_library", "own_first", "written"]


def is_library(file: str) -> bool:
    """True for the standard library, installed packages and frozen modules."""
    return bool(PYTHON.search(file))


def own_first(innermost_first: Sequence[Frame]) -> tuple[Frame, ...]:
    """Frames of the service before frames of libraries, each innermost first."""
    return frames.own_first("python", innermost_first)
