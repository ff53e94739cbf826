"""The progress of a run: one line, which is rewritten on a terminal, and printed at intervals to anything else."""

from __future__ import annotations

import contextlib
import re
import time

from rich.console import Console
from rich.live import Live
from rich.text import Text

from harness.core.quote import terminal
from harness.core.sample import Sample
from harness.core.units import counted

PLAIN_EVERY = 5.0  # seconds between two lines where there is no terminal to rewrite
MAX_NOTE, MAX_PLAIN_NOTE = 78, 160  # characters of a note on a terminal of 80 columns, and on anything else
_NUMBER = re.compile(r"\d+")


class LiveView:
    """Context manager; ``show`` may be called for every sample."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._live = (
            Live(console=console, refresh_per_second=8, transient=True) if console.is_terminal else None
        )
        self._last = 0.0
        self._last_shown = ("", "")

    def show(
        self,
        name: str,
        at: float,
        phase: str,
        cycle: int,
        connections: int,
        sample: Sample | None,
        note: str = "",
    ) -> None:
        """Show the progress of the trial ``name``."""
        if self._quiet:
            return
        opened = counted(connections, "stream", ">5")
        line = f"{terminal(name, 40):6} {at:6.1f} s  cycle {cycle:<2} {phase:9} {opened}"
        if sample and sample.gap is None:
            memory = f"{sample.rss / (1 << 20):.0f} MiB" if sample.rss is not None else "? MiB"
            line += f"  {counted(str(sample.fds), 'fd')}  {counted(str(sample.threads), 'thread')}  {memory}"
        if note:
            # On a terminal of 80 columns the note has a line of its own.
            line += f"\n  {terminal(note, MAX_NOTE)}" if self._live else f"  {terminal(note, MAX_PLAIN_NOTE)}"
        shown = (name, _NUMBER.sub("", note))
        # A progress line that cannot be written (full disk, closed stream) must not end the run.
        try:
            if self._live:
                self._live.update(Text(line))
            # A new note is printed at once, because it says why the run takes longer. A note whose numbers alone
            # have changed is not new: a wait of 60 s would otherwise print a line for each of its readings.
            elif time.monotonic() - self._last >= PLAIN_EVERY or shown != self._last_shown:
                self._last, self._last_shown = time.monotonic(), shown
                self._console.print(Text(line), soft_wrap=True)
        except (OSError, SystemExit):
            self._quiet = True

    def __enter__(self) -> LiveView:
        if self._live and not self._quiet:
            try:
                self._live.start()
            except (OSError, SystemExit):
                self._quiet = True
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            with contextlib.suppress(OSError, SystemExit):
                self._live.stop()
