"""Two snapshots of a program's allocations, without a load: `harness memory run`."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from harness.core.errors import ConfigError, Interrupted, OptionError, ProbeError, TargetError
from harness.experiment.cancellable import call_cancellable
from harness.process.child import Child
from harness.process.private_folder import PrivateFolder
from harness.process.proc import executable
from harness.runtime.counters import Unavailable
from harness.runtime.python import PythonCounters, prepare_env
from harness.store.claim import claim
from harness.store.run_dir import run_id

FIRST, LAST, LOG = "first.snapshot", "last.snapshot", "target.log"
POLL = 0.05  # seconds between two checks whether a snapshot is due or the program has ended
END_TIMEOUT = 10.0  # seconds after the end of a program until its exit must be known


@dataclass(frozen=True, slots=True)
class MemoryRun:
    """first, last: saved snapshots. seconds: between them. ended: the exit code of a program that ended by itself,
    negative for a signal; None for one that was stopped."""

    first: Path
    last: Path
    seconds: float
    ended: int | None


@dataclass(frozen=True, slots=True)
class Tracing:
    """The times of snapshots, in seconds: the first ``after`` the start, then one ``every`` interval, until
    ``duration``; None: until the program ends. frames: depth of the stacks."""

    every: float
    after: float
    duration: float | None
    frames: int


def run(
    command: Sequence[str],
    out: Path,
    tracing: Tracing,
    *,
    interrupt: Event,
    env: Mapping[str, str] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> MemoryRun:
    """Run a Python program with its allocations traced: a first snapshot after ``after`` seconds, then one ``every``
    interval, of which only the last is kept. The run ends by itself, after ``duration`` seconds or by ``interrupt``.

    Raises ConfigError when it is no Python process that can be traced, TargetError when it ended before two snapshots,
    Interrupted when the interrupt came before two snapshots.
    """
    if tracing.duration is not None and tracing.duration <= tracing.after:
        raise OptionError(
            "for",
            tracing.duration,
            f"ends before the second snapshot; expected more than `after` ({tracing.after:g} s)",
        )
    now = datetime.datetime.now(datetime.UTC)
    out = claim(out, run_id(now, os.getpid()), marker=LOG, signs=(FIRST, LAST))
    with PrivateFolder("runtime") as private:
        folder = private.path
        prepared = prepare_env(os.environ if env is None else env, folder, trace=tracing.frames)
        with Child.spawn(list(command), log=out / LOG, name="target", env=prepared) as child:
            reader = PythonCounters(folder, child.pid)
            found = call_cancellable(interrupt.is_set, reader.probe, "the inspection of the program")
            if isinstance(found, Unavailable):
                # A program that has exited cannot be inspected either, but then its exit is the error to report.
                if not executable(child.pid) and child.wait(END_TIMEOUT):
                    raise _ended_early(child, out, tracing)
                raise ConfigError(f"{command[0]!r}: {found.reason}; expected a Python program")
            return _take_snapshots(child, reader, out, tracing, interrupt, clock)


def _take_snapshots(
    child: Child,
    reader: PythonCounters,
    out: Path,
    tracing: Tracing,
    interrupt: Event,
    clock: Callable[[], float],
) -> MemoryRun:
    started = clock()
    end = started + tracing.duration if tracing.duration is not None else float("inf")
    taken: list[float] = []  # times of the snapshots that are kept: the first, and the latest after it
    due = started + tracing.after
    while True:
        ending = interrupt.is_set() or clock() >= end
        # One more at the end, so that the comparison covers the whole run.
        if child.alive and (clock() >= due or ending):
            try:
                reader.snapshot().save(out / (LAST if taken else FIRST))
            except ProbeError:
                # A program that ended during the snapshot is no error: the snapshot before it is the last.
                if executable(child.pid) or not child.wait(END_TIMEOUT):
                    raise
            else:
                # The first snapshot is kept, and each later one replaces the one before.
                taken = [taken[0], clock()] if taken else [clock()]
                due = clock() + tracing.every
        if ending or not child.alive:
            break
        child.wait(POLL)
    if len(taken) < 2:
        if interrupt.is_set():
            raise Interrupted(
                f"interrupted after {clock() - started:.1f} s, before two snapshots; expected "
                f"{tracing.after + tracing.every:g} s"
            )
        raise _ended_early(child, out, tracing)
    return MemoryRun(out / FIRST, out / LAST, taken[1] - taken[0], child.poll())


def _ended_early(child: Child, out: Path, tracing: Tracing) -> TargetError:
    """The error for a program that exited before two snapshots were taken."""
    words = " | ".join(child.tail(3)) or "nothing in its log"
    return TargetError(
        f"the program exited with {child.poll()} before two snapshots were taken ({words}); expected it to run: "
        f"take snapshots more often than every {tracing.every:g} s, and see {out / LOG}"
    )
