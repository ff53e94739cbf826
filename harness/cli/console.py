"""Where people read: colour and rewriting on a terminal only, whatever the environment says."""

from __future__ import annotations

import sys

from rich.console import Console


def console(*, stderr: bool = False) -> Console:
    """A console for results, or with ``stderr`` for progress. FORCE_COLOR is not obeyed: a log file full of
    escape sequences helps nobody."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, force_terminal=None if stream.isatty() else False)
