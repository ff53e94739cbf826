"""The end of a target's log."""

from __future__ import annotations

from harness.core.quote import plain
from harness.core.record import Trial

LOG_LINES = 8


def log_tail(trial: Trial, lines: int = LOG_LINES) -> list[str]:
    """The last lines that the service logged: those before its exit, else those at the trial's end."""
    kept = trial.exit.log_tail if trial.exit else trial.about.last_words
    return [line for text in kept if (line := plain(text, 300).strip())][-lines:]
