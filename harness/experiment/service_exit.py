"""The exit of a service, by itself or stopped by the harness, and the end of its log."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from harness.core.judge.crash import crash_trace
from harness.core.judge.signature import excerpt
from harness.core.note import Note, NoteKind
from harness.core.record import About, ExitInfo
from harness.core.sample import Sample
from harness.experiment.context import Target
from harness.store.logs import was_cut
from harness.target.dump import core_stack, oom_kills

LOG_LINES = 20_000  # of the log, searched for signatures after a crash
LOG_KEPT = 120  # of them kept in the record
KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)  # exit codes, as subprocess and as a shell give them
INTERRUPTED_GRACE = 1.0  # seconds for a service to stop after the user has interrupted the run


@dataclass(frozen=True, slots=True)
class Stopped:
    """The result of stopping a service. notes: for the record of the trial."""

    returncode: int | None
    last_lines: tuple[str, ...]
    notes: tuple[Note, ...]


def exit_info(
    target: Target, *, at: float, connections: int, during: str, cwd: Path | None = None
) -> ExitInfo:
    """The exit of a service. at: seconds since its start. connections: opened until then. during: see ExitInfo. cwd:
    its working directory, in which the kernel writes its core file."""
    code = target.poll()
    # SIGKILL leaves nothing in the log of the service; the kernel's log says whether memory ran out.
    lines = (*target.tail(LOG_LINES), *(oom_kills(target.pid) if code in KILLED else ()))
    # The folder may contain core files of earlier crashes.
    since = time.time() - at
    # A trace in the log is preferred: it has the frames of the language, a core file only those of C.
    trace = crash_trace(code, lines) or core_stack([cwd or Path.cwd()], since=since)
    return ExitInfo(code, at, connections, excerpt(lines, LOG_KEPT), during, trace)


def stop_service(target: Target, log: Path, *, grace: float, interrupted: bool) -> Stopped:
    """SIGTERM, then SIGKILL. interrupted: the user has stopped the run."""
    was_alive = target.alive
    target.stop(min(INTERRUPTED_GRACE, grace) if interrupted else grace)
    code = target.poll()
    notes = []
    # The notes are about stopping a service. One that exited before has a record of its exit instead.
    if was_alive and target.tail(1) and was_cut(log):
        text = (
            "its log exceeded 64 MiB and was cut: target.log has the last lines, target.old.log those before"
        )
        notes.append(Note(NoteKind.LOG_CUT, text))
    if was_alive and code == -signal.SIGKILL and not interrupted:
        text = f"it did not exit within {grace:g} s of SIGTERM and was killed"
        notes.append(Note(NoteKind.KILLED, text))
    return Stopped(code, excerpt(target.tail(LOG_LINES), LOG_KEPT), tuple(notes))


def with_peaks(about: About, samples: Iterable[Sample]) -> About:
    """Add the highest readings of the hot lane: there are no others of a service that crashed in its first cycle.
    Readings of an earlier process of the service count as well."""
    seen = list(samples)

    def peak(name: str, before: float | None) -> float | None:
        values = [float(value) for one in seen if (value := getattr(one, name)) is not None]
        return max((*values, *(() if before is None else (before,))), default=None)

    return replace(
        about,
        peak_fds=peak("fds", about.peak_fds),
        peak_threads=peak("threads", about.peak_threads),
        peak_rss=peak("rss", about.peak_rss),
    )
