"""The end of a target's log, and the lines of it that may name a cause."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.core.quote import plain
from harness.core.record import Trial

# Lines of a log that name no cause: access logs, and the frames of a traceback.
_ACCESS = re.compile(r'"(?:GET|POST|PUT|HEAD|DELETE|OPTIONS|PATCH) \S{1,400} HTTP/[\d.]+"')
_FRAME = re.compile(
    r'^(?:Traceback \(most recent call last\)|File ".{1,400}", line \d+|\^+$|at \S{1,200} ?\()'
)

# A word that the log of a normal start and stop does not have.
_FAILURE = re.compile(
    r"error|exception|fatal|panic|fail|refused|denied|invalid|missing|cannot|unable|not found", re.IGNORECASE
)

LOG_LINES = 8  # lines of a log that a short report shows


def log_tail(trial: Trial, lines: int = LOG_LINES) -> list[str]:
    """The last lines that the service logged: those before its exit, else those at the trial's end."""
    kept = trial.exit.log_tail if trial.exit else trial.about.last_lines
    return [line for text in kept if (line := plain(text, 300).strip())][-lines:]


def causes(lines: Sequence[str]) -> list[str]:
    """The lines of a log that may name a cause: no access log, no frame of a traceback and no source line of one."""
    kept: list[str] = []
    frame = False
    for line in lines:
        framed = bool(_FRAME.match(line.strip()))
        if not framed and not frame and not _ACCESS.search(line):
            kept.append(line)
        # The line after a frame of Python is its source line.
        frame = framed and line.strip().startswith("File ")
    return kept


def failures_before(lines: Sequence[str], reason: str) -> list[str]:
    """The lines that report a failure, above the one that the reason quotes already. The service logged the lines after
    that one while the harness stopped it."""
    quoted = [index for index, line in enumerate(lines) if line in reason]
    above = lines[: quoted[-1]] if quoted else lines
    return [line for line in causes(above) if _FAILURE.search(line) and line not in reason]
