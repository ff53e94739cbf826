"""The hot lane: one process, constant cost, whatever it holds.

``stat('/proc/PID/fd').st_size`` is the number of open descriptors on Linux >= 6.2 (fs/proc/fd.c); it is 0
on older kernels, where the directory is listed instead.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = os.sysconf("SC_CLK_TCK")
_release = platform.release().split("-")[0].split(".")[:2]
COUNTS_BY_STAT = tuple(int(part) for part in _release if part.isdigit()) >= (6, 2)


@dataclass(frozen=True, slots=True)
class HotReading:
    """One process now. None: could not be read. cpu: seconds, children not included."""

    pid: int
    name: str
    parent: int
    zombie: bool
    fds: int | None
    threads: int | None
    rss: int | None
    cpu: float
    switches: int | None
    faults: int


class HotProcess:
    """Reads through a held directory descriptor on ``/proc/PID``: once the process is reaped, reads
    fail with ESRCH, so a reused pid is never mistaken for it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._dir = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def _read(self, name: str) -> bytes:
        file = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._dir)
        try:
            return os.read(file, 8192)
        finally:
            os.close(file)

    def _count(self) -> int | None:
        try:
            if COUNTS_BY_STAT:
                return os.stat("fd", dir_fd=self._dir).st_size
            listing = os.open("fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._dir)
        except PermissionError:
            return None
        try:
            return len(os.listdir(listing))  # noqa: PTH208 - by descriptor
        finally:
            os.close(listing)

    def read(self) -> HotReading | None:
        """One reading; None once the process is gone."""
        try:
            head, _, tail = self._read("stat").rpartition(b")")
            fields = tail.split()
            zombie = fields[0] in (b"Z", b"X")
            name = head.partition(b"(")[2].decode(errors="replace")
            fds = rss = threads = switches = None
            if not zombie:
                fds = self._count()
                rss = int(self._read("statm").split()[1]) * PAGE
                threads, switches = self._status()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return HotReading(
            self.pid,
            name,
            int(fields[1]),
            zombie,
            fds,
            threads,
            rss,
            (int(fields[11]) + int(fields[12])) / TICK,
            switches,
            int(fields[7]) + int(fields[9]),
        )

    def _status(self) -> tuple[int | None, int | None]:
        status = self._read("status")
        threads = None
        switches = 0
        for line in status[status.find(b"\nThreads:") + 1 :].split(b"\n"):
            if line.startswith(b"Threads:"):
                threads = int(line[8:])
            elif line.startswith((b"voluntary_ctxt_switches:", b"nonvoluntary_ctxt_switches:")):
                switches += int(line.rpartition(b":")[2])
        return threads, switches

    def close(self) -> None:
        """Let go of the process."""
        if self._dir >= 0:
            os.close(self._dir)
            self._dir = -1
