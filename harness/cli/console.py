"""Consoles for people: colour and rewriting only on a terminal, whatever the environment says."""

from __future__ import annotations

import os
import sys

from rich.console import Console

from harness.core.errors import EXIT_INFRASTRUCTURE


class Terminal(Console):
    """Ends the command when its reader has exited (``harness … | head``), with ``unread`` as exit code: rich's own is
    1, which here means the service's fault."""

    unread = EXIT_INFRASTRUCTURE

    def on_broken_pipe(self) -> None:
        """Called by rich on EPIPE. Raises SystemExit."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())
        raise SystemExit(self.unread)


def console(*, stderr: bool = False, unread: int = EXIT_INFRASTRUCTURE) -> Console:
    """A console for results, or with ``stderr`` for progress. FORCE_COLOR is ignored, because escape sequences make log
    files unreadable. With NO_COLOR (https://no-color.org) nothing is coloured, bold or dim either."""
    stream = sys.stderr if stderr else sys.stdout
    made = Terminal(
        stderr=stderr,
        highlight=False,
        force_terminal=None if stream.isatty() else False,
        color_system=None if os.environ.get("NO_COLOR") else "auto",
    )
    made.unread = unread
    return made
