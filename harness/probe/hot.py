"""The hot lane: reads one process at constant cost, whatever it holds.

``stat('/proc/PID/fd').st_size`` is the number of open descriptors on Linux >= 6.2 (proc_fd_getattr in
fs/proc/fd.c); it is 0 on older kernels, where the directory is listed instead.
"""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass

PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = os.sysconf("SC_CLK_TCK")
_release = platform.release().split("-")[0].split(".")[:2]
COUNTS_BY_STAT = tuple(int(part) for part in _release if part.isdigit()) >= (6, 2)
EXITING = 0x4  # PF_EXITING, include/linux/sched.h: its descriptors are being closed by the kernel
PROCESS_EXITED = (FileNotFoundError, ProcessLookupError)


def read_file(name: str, directory: int | None = None) -> bytes:
    """A small file of /proc, below ``directory`` where one is given; at most 8 KiB of it. Raises OSError."""
    file = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return os.read(file, 8192)
    finally:
        os.close(file)


def switches_of(status: bytes) -> int:
    """The context switches in a ``status`` file, voluntary and not."""
    # Searched from the end, because the name in the first line is the service's choice.
    at = status.rfind(b"\nvoluntary_ctxt_switches:")
    return sum(int(line.rpartition(b":")[2]) for line in status[at + 1 :].splitlines()) if at > 0 else 0


@dataclass(frozen=True, slots=True)
class HotReading:
    """One process now. None: could not be read. cpu: seconds, children not included.

    zombie: exited, but not waited for yet. started: clock ticks since boot, which together with the pid identify a
    process uniquely. stack: the start of its stack, which changes with every exec (0: hidden).
    """

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
    started: int = 0
    stack: int = 0


class HotProcess:
    """Reads through a held directory descriptor on ``/proc/PID``: once the process is reaped, reads
    fail with ESRCH, so a reused pid is never mistaken for it.

    hold: keep the files open between readings (three more descriptors, a third of the cost). Raises FileNotFoundError,
    or PermissionError where /proc is mounted with ``hidepid``.
    """

    def __init__(self, pid: int, *, hold: bool = False) -> None:
        self.pid = pid
        self.started = 0
        self.dir = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._held: dict[str, int] = {}
        # The id of the process's CPU clock, as clock_getcpuclockid(3) makes it: the inverted pid above three bits, of
        # which 2 is CPUCLOCK_SCHED (include/linux/posix-timers.h).
        self._cpu_clock = (~pid << 3) | 2
        if hold:
            try:
                for name in ("statm", "status", "stat"):
                    self._held[name] = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.dir)
            except OSError:
                # Held files only save time: without enough descriptors they are opened at each reading.
                self._release()

    def _read(self, name: str) -> bytes:
        held = self._held.get(name)
        if held is not None:
            # Each pread at offset 0 makes the kernel generate the file again (seq_file).
            return os.pread(held, 8192, 0)
        return read_file(name, self.dir)

    def _count(self, where: str) -> int | None:
        """The number of open descriptors; None if it may not be read. where: see ``living_task``."""
        try:
            if COUNTS_BY_STAT:
                return os.stat(f"{where}fd", dir_fd=self.dir).st_size
            listing = os.open(f"{where}fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.dir)
        except PermissionError:
            return None
        try:
            return len(os.listdir(listing))  # noqa: PTH208 - by descriptor
        finally:
            os.close(listing)

    def read(self) -> HotReading | None:
        """One reading; None once the process has exited."""
        try:
            return self._reading("")
        except PROCESS_EXITED:
            return None

    def _reading(self, where: str) -> HotReading:
        """One reading. where: see ``living_task``. Raises an error of PROCESS_EXITED."""
        fds = self._count(where)
        rss = int(self._read(f"{where}statm").split(None, 2)[1]) * PAGE
        switches = switches_of(self._read(f"{where}status"))
        cpu = self._cpu()
        # `stat` is read last: a process that it shows as alive was alive during the other readings. An exiting process
        # loses its descriptors and its memory before it becomes a zombie (exit_files in kernel/exit.c).
        head, _, tail = self._read("stat").rpartition(b")")
        fields = tail.split()
        self.started = int(fields[19])
        # Fields are numbered as in proc(5), less three: the first two are before the last parenthesis.
        threads = int(fields[17])
        ending = fields[0] in (b"Z", b"X") or bool(int(fields[6]) & EXITING)
        if ending and threads > 1 and not where:
            # The main thread has exited and others still run: only they have the descriptor table.
            other = self._living_task()
            if other:
                return self._reading(f"task/{other}/")
        ended = ending and (threads <= 1 or not where)
        return HotReading(
            pid=self.pid,
            name=head.partition(b"(")[2].decode(errors="replace"),
            parent=int(fields[1]),
            zombie=ended,
            fds=None if ended else fds,
            threads=None if ended else threads,
            rss=None if ended else rss,
            cpu=cpu if cpu is not None else (int(fields[11]) + int(fields[12])) / TICK,
            switches=None if ended else switches,
            faults=int(fields[7]) + int(fields[9]),
            started=self.started,
            stack=int(fields[25]),
        )

    def _cpu(self) -> float | None:
        """CPU seconds of all threads, including exited ones, with nanosecond resolution; `stat` has 10 ms."""
        try:
            return time.clock_gettime(self._cpu_clock)
        except OSError:
            return None

    def living_task(self) -> str:
        """The folder below /proc/PID that shows its descriptors and its memory: ``""``, or ``task/TID/`` of another
        thread when its main thread has exited. The files of an exited thread are empty."""
        try:
            fields = self._read("stat").rpartition(b")")[2].split()
        except PROCESS_EXITED:
            return ""
        ending = fields[0] in (b"Z", b"X") or bool(int(fields[6]) & EXITING)
        other = self._living_task() if ending and int(fields[17]) > 1 else ""
        return f"task/{other}/" if other else ""

    def _living_task(self) -> str:
        try:
            tasks = os.open("task", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.dir)
        except PROCESS_EXITED:
            return ""
        try:
            # Any living thread will do: all threads of a process share its descriptors and its memory.
            for tid in os.listdir(tasks):  # noqa: PTH208 - by descriptor
                try:
                    fields = self._read(f"task/{tid}/stat").rpartition(b")")[2].split()
                except PROCESS_EXITED:
                    continue
                if fields[0] not in (b"Z", b"X") and not int(fields[6]) & EXITING:
                    return tid
        except PROCESS_EXITED:
            pass
        finally:
            os.close(tasks)
        return ""

    def _release(self) -> None:
        for file in self._held.values():
            os.close(file)
        self._held.clear()

    def close(self) -> None:
        """Close the descriptors. Idempotent."""
        self._release()
        if self.dir >= 0:
            os.close(self.dir)
            self.dir = -1
