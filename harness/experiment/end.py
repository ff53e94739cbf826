"""The end of a service: of itself or by us, and what is kept of its last words."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.core.judge.crash import crash_trace
from harness.core.judge.signature import excerpt
from harness.core.record import ExitInfo
from harness.core.sample import Sample
from harness.experiment.context import Target
from harness.target.dump import core_stack, oom_kills
from harness.target.spawn import was_cut

LOG_LINES = 20_000  # of the log searched for signatures after a death
LOG_KEPT = 120  # of them kept in the record
KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)  # exit codes, as subprocess and as a shell give them
HURRY = 1.0  # seconds, at most, that a user who has stopped the run waits for it


@dataclass(frozen=True, slots=True)
class Stopped:
    """How it took being stopped. notes: what ground it left."""

    returncode: int | None
    last_words: tuple[str, ...]
    notes: tuple[str, ...]


def death(target: Target, *, at: float, connections: int, during: str, cwd: Path | None = None) -> ExitInfo:
    """What is known of a service that has exited. at: seconds since its start. during: see ExitInfo. cwd: the folder
    in which it ran, where its core file lies."""
    code = target.poll()
    lines = (*target.tail(LOG_LINES), *(oom_kills(target.pid) if code in KILLED else ()))
    since = time.time() - at
    trace = crash_trace(code, lines) or core_stack([cwd or Path.cwd()], since=since)
    return ExitInfo(code, at, connections, excerpt(lines, LOG_KEPT), during, trace)


def stop(target: Target, log: Path, *, grace: float, hurried: bool) -> Stopped:
    """SIGTERM, then SIGKILL. hurried: the user has stopped the run."""
    lived = target.alive
    target.stop(min(HURRY, grace) if hurried else grace)
    code = target.poll()
    notes = []
    if lived and target.tail(1) and was_cut(log):
        notes.append("its log passed 64 MiB and was cut to its tail; target.old.log holds what was before")
    if lived and code == -signal.SIGKILL and not hurried:
        notes.append(f"SIGTERM did not end it within {grace:g} s: killed")
    return Stopped(code, excerpt(target.tail(LOG_LINES), LOG_KEPT), tuple(notes))


def peaks(samples: Iterable[Sample], before: Mapping[str, object]) -> dict[str, float]:
    """The highest readings of the hot lane: all that is left of a service that died in its first cycle. before: those
    of an earlier process of the service, by the same names."""
    seen = list(samples)
    found = {
        f"peak_{name}": float(max(values))
        for name in ("fds", "threads", "rss")
        if (values := [getattr(one, name) for one in seen if getattr(one, name) is not None])
    }
    earlier = {name: value for name in found if isinstance(value := before.get(name), float)}
    return {name: max(value, earlier.get(name, value)) for name, value in found.items()}
