"""A process and its descendants, as they come and go."""

from __future__ import annotations

import os

from harness.core.errors import ProbeError
from harness.core.sample import ProcessSample, Sample
from harness.probe.hot import HotProcess, HotReading


def children(pid: int) -> list[int]:
    """Direct children of every thread of a process, from /proc/PID/task/TID/children (proc(5))."""
    found: list[int] = []
    try:
        tasks = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - the hot lane counts microseconds
    except OSError:
        return found
    for task in tasks:
        try:
            file = os.open(f"/proc/{pid}/task/{task}/children", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            found.extend(int(word) for word in os.read(file, 65536).split())
        except OSError:
            pass
        finally:
            os.close(file)
    return found


def descendants(pid: int) -> list[int]:
    """The process and everything below it, parents first."""
    found = [pid]
    for known in found:
        found.extend(child for child in children(known) if child not in found)
    return found


class Tree:
    """One root process; its descendants are looked up again every ``refresh`` readings, because
    looking costs one read per thread while a count costs three microseconds."""

    def __init__(self, pid: int, *, refresh: int = 5) -> None:
        try:
            self._known = {pid: HotProcess(pid)}
        except FileNotFoundError:
            raise ProbeError(f"pid {pid}: no such process; expected a running service") from None
        self.root = pid
        self._refresh = refresh
        self._turn = 0
        self._cpu_of_dead = 0.0
        self._last_cpu: dict[int, float] = {}

    def _look(self) -> None:
        for pid in descendants(self.root):
            if pid not in self._known:
                try:
                    self._known[pid] = HotProcess(pid)
                except OSError:
                    continue

    def read(self, at: float) -> Sample:
        """The whole tree as one sample; a gap once the root is gone or a zombie."""
        if self._turn % self._refresh == 0:
            self._look()
        self._turn += 1
        readings: list[HotReading] = []
        for pid, process in list(self._known.items()):
            reading = process.read()
            if reading is None:
                process.close()
                del self._known[pid]
                self._cpu_of_dead += self._last_cpu.pop(pid, 0.0)
                continue
            self._last_cpu[pid] = reading.cpu
            readings.append(reading)
        root = next((reading for reading in readings if reading.pid == self.root), None)
        if root is None or root.zombie:
            return Sample(at, gap="the process has ended")
        alive = [reading for reading in readings if not reading.zombie]
        return Sample(
            at=at,
            fds=_total([reading.fds for reading in alive]),
            threads=_total([reading.threads for reading in alive]),
            processes=len(alive),
            rss=_total([reading.rss for reading in alive]),
            cpu=self._cpu_of_dead + sum(reading.cpu for reading in readings),
            switches=_total([reading.switches for reading in alive]),
            faults=sum(reading.faults for reading in readings),
            zombies=len(readings) - len(alive),
            per_process=tuple(
                ProcessSample(r.pid, r.name, r.fds, r.threads, r.rss, r.zombie) for r in readings
            )
            if len(readings) > 1
            else (),
        )

    def close(self) -> None:
        """Let go of every process."""
        for process in self._known.values():
            process.close()
        self._known.clear()


def _total(values: list[int | None]) -> int | None:
    """The sum; None as soon as one value could not be read: a partial sum would look like a fall."""
    return None if None in values else sum(value for value in values if value is not None)
