"""Steps that follow a verdict: a step that fails leaves a note, and the verdict stands with its exit code."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from harness.core.errors import HarnessError

R = TypeVar("R")


def failure(step: str, error: Exception) -> str:
    """One line for the record and for the terminal, such as ``report.html: no space left on device``."""
    text = " ".join(str(error).split())
    if isinstance(error, HarnessError):
        return f"{step} failed: {text}; the verdict stands"
    kind = type(error).__name__
    return f"{step} failed: {f'{kind}: {text}' if text else kind}; the verdict stands"


def attempt(step: str, work: Callable[[], R], note: Callable[[str], object]) -> R | None:
    """Return what ``work`` returns. If it raises, report the failure through ``note`` and return None.

    step: what the work does, such as ``the report``. An exit or Ctrl-C (no Exception) is passed on.
    """
    try:
        return work()
    except Exception as error:
        note(failure(step, error))
        return None
