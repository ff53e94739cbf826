"""Follows a process and its descendants."""

from __future__ import annotations

import os
from collections.abc import Container
from contextlib import ExitStack
from dataclasses import replace
from heapq import nlargest

from harness.core.errors import ProbeError
from harness.core.sample import ProcessSample, Sample
from harness.probe.births import Births
from harness.probe.hot import HotProcess, HotReading

EXITED = "the process has exited"
MAX_HELD = 32  # processes whose files are kept open; the others cost a little more per reading
# Processes listed separately in a sample: 500 of them ten times a second would fill disk and memory.
MAX_LISTED = 100  # processes
MAX_EVENTS = 20  # per sample; a fork bomb must not fill the record


def open_process(pid: int, *, hold: bool = False) -> HotProcess:
    """Raises ProbeError for a pid that does not exist, or is hidden from this user."""
    try:
        return HotProcess(pid, hold=hold)
    except FileNotFoundError:
        hidden = " (or /proc is mounted with hidepid)" if os.geteuid() else ""
        raise ProbeError(f"pid {pid}: no such process{hidden}; expected a running service") from None
    except PermissionError:
        raise ProbeError(
            f"pid {pid}: hidden from this user by hidepid; expected to run as the service's user or as root"
        ) from None
    except NotADirectoryError:
        raise ProbeError("/proc is not mounted: mount -t proc proc /proc") from None
    except OSError as error:
        raise ProbeError(f"pid {pid}: {error.strerror}; expected a running service") from None


class _Parents:
    """The parents whose children belong to the tree: its processes, and the subreaper that adopts its orphans."""

    def __init__(self, known: Container[int], adopter: int) -> None:
        self._known = known
        self._adopter = adopter

    def __contains__(self, pid: object) -> bool:
        # The parent of the first process is 0 (proc(5)), so an adopter of 0 must not match.
        return pid in self._known or (self._adopter > 0 and pid == self._adopter)


class Tree:
    """One root process and its descendants. Each is followed until it exits, even when its parent exits first and
    another process adopts it. adopter: the subreaper that has only this tree below it, 0 when there is none. A
    process that detaches itself (``sh -c 'job &'``) may lose its parent before a reading sees both, and is then a
    child of the adopter.
    """

    def __init__(self, pid: int, *, adopter: int = 0) -> None:
        with ExitStack() as opened:
            root = open_process(pid, hold=True)
            opened.callback(root.close)
            try:
                self._births = Births()
                opened.callback(self._births.close)
                reading = root.read()
            except OSError as error:
                raise ProbeError(f"/proc: {error.strerror}; expected it to be mounted and readable") from None
            if reading is None:
                raise ProbeError(f"pid {pid}: the process has exited; expected a running service")
            opened.pop_all()
        self.root = pid
        self.started = reading.started
        self.ended = False
        self._known = {pid: root}
        self._parents = _Parents(self._known, adopter)
        self._last: dict[int, HotReading] = {pid: reading}
        # Processes whose last reading showed another program than the one before.
        self._executing: set[int] = set()
        # The totals of processes that have exited, which the totals of the tree keep.
        self._cpu_of_exited = 0.0
        self._faults_of_exited = 0
        self._first_reading = True

    def processes(self) -> dict[int, int]:
        """pid → start time (ticks since boot) of every process that is running or a zombie."""
        return {pid: reading.started for pid, reading in dict(self._last).items()}

    @property
    def newest(self) -> int:
        """The newest pid of the machine that ``processes`` takes into account."""
        return self._births.newest

    def _add_new_processes(self, events: list[str]) -> None:
        for pid in self._births.find(self._parents):
            try:
                self._known[pid] = HotProcess(pid, hold=len(self._known) < MAX_HELD)
            except OSError:
                continue
            # What the first reading finds was there before, so it has not started now.
            if not self._first_reading:
                events.append(f"pid {pid} started")

    def read(self, at: float) -> Sample:
        """The whole tree as one sample; a gap once the root has exited or is a zombie."""
        events: list[str] = []
        self._add_new_processes(events)
        self._first_reading = False
        readings: list[HotReading] = []
        # A copy, because processes that have exited are removed on the way.
        for pid, process in list(self._known.items()):
            reading = process.read()
            before = self._last.get(pid)
            if reading is None:
                self._drop(pid, process, before, events)
                continue
            if before:
                reading = self._compare(before, reading, events)
            self._last[pid] = reading
            readings.append(reading)
        if not readings or readings[0].pid != self.root or readings[0].zombie:
            return self._end(at, readings, events)
        alive = [reading for reading in readings if not reading.zombie]
        return Sample(
            at=at,
            fds=_total([reading.fds for reading in alive]),
            threads=_total([reading.threads for reading in alive]),
            processes=len(alive),
            rss=_total([reading.rss for reading in alive]),
            cpu=self._cpu_of_exited + sum(reading.cpu for reading in readings),
            switches=_total([reading.switches for reading in alive]),
            faults=self._faults_of_exited + sum(reading.faults for reading in readings),
            zombies=len(readings) - len(alive),
            per_process=_details(readings),
            events=tuple(events[:MAX_EVENTS]),
        )

    def _compare(self, before: HotReading, now: HotReading, events: list[str]) -> HotReading:
        """Report an exec once, and return the reading with which the next one is compared. A program that is being
        loaded has no stack for a moment, then one that moves once more (exec_mmap and setup_arg_pages in fs/exec.c,
        create_elf_tables in fs/binfmt_elf.c), which is not another exec."""
        if _executed(before, now):
            if not (now.pid in self._executing and before.name == now.name):
                events.append(f"pid {now.pid} executed another program: {before.name} → {now.name}")
            self._executing.add(now.pid)
        elif before.stack and not now.stack:
            # The old value is kept for the comparison with the next reading, which shows the new stack.
            return replace(now, stack=before.stack)
        elif before.stack:
            self._executing.discard(now.pid)
        return now

    def _drop(self, pid: int, process: HotProcess, before: HotReading | None, events: list[str]) -> None:
        process.close()
        del self._known[pid]
        self._last.pop(pid, None)
        self._executing.discard(pid)
        if before:
            # Kept in the sum, because the CPU time of a tree must not fall when a process exits.
            self._cpu_of_exited += before.cpu
            self._faults_of_exited += before.faults
            events.append(f"pid {pid} ({before.name}) exited")

    def _end(self, at: float, readings: list[HotReading], events: list[str]) -> Sample:
        """A gap once the root has exited: its descriptors do not count as released."""
        self.ended = True
        orphans = [r for r in readings if r.pid != self.root and not r.zombie]
        why = EXITED
        if orphans:
            names = ", ".join(f"{r.pid} ({r.name})" for r in orphans[:3])
            why += f"; {len(orphans)} of its descendants still run: {names}"
        return Sample(at, gap=why, events=tuple(events[:MAX_EVENTS]))

    def close(self) -> None:
        """Close the descriptors of every process. Idempotent."""
        for process in self._known.values():
            process.close()
        self._known.clear()
        self._births.close()


def _executed(before: HotReading, now: HotReading) -> bool:
    """Whether another program was executed: the start of its stack then differs. If that is hidden, the name is
    compared."""
    if now.zombie:
        return False
    if before.stack and now.stack:
        return before.stack != now.stack
    return before.name != now.name


def _details(readings: list[HotReading]) -> tuple[ProcessSample, ...]:
    """Each process of a small tree; of a large one those with most descriptors and memory, the root first."""
    if len(readings) < 2:
        return ()
    if len(readings) > MAX_LISTED:
        rest = nlargest(MAX_LISTED - 1, readings[1:], key=lambda one: (one.fds or 0, one.rss or 0))
        readings = [readings[0], *rest]
    return tuple(ProcessSample(r.pid, r.name, r.fds, r.threads, r.rss, r.zombie) for r in readings)


def _total(values: list[int | None]) -> int | None:
    """The sum; None if any value could not be read, because a partial sum would look like a fall."""
    return None if None in values else sum(value for value in values if value is not None)
