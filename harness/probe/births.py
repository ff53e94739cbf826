"""Finds new descendants at constant cost.

The last field of ``/proc/loadavg`` is the newest pid or thread id of the namespace (proc(5)). Only numbers
assigned since the last look can be new descendants; if it has not changed, nothing was started.
"""

from __future__ import annotations

import os
from collections.abc import Container

from harness.probe.hot import read_file

MAX_CANDIDATES = 64  # if more were started, a scan of all processes is cheaper
MIN_CALLS_BETWEEN_SCANS = 5  # calls of find, however many processes the machine starts
# Calls of find, after which a full scan is made even if nothing was started: a process that CRIU restores chooses its
# pid (clone3(2), set_tid), so its number need not be a new one.
MAX_CALLS_BETWEEN_SCANS = 50


def parent_of(pid: int) -> int | None:
    """The parent's pid; None when the process has exited or is hidden."""
    try:
        # The name in parentheses may itself contain spaces and parentheses (proc(5), stat): the last one ends it.
        return int(read_file(f"/proc/{pid}/stat").rpartition(b")")[2].split(None, 2)[1])
    except (OSError, IndexError):
        return None


def descendants(root: int, known: Container[int] = (), since: int | None = None) -> list[int]:
    """The process and its descendants, parents first.

    since: ``Births.newest`` when ``known`` was complete. Then only processes started later are checked, and those of
    ``known`` are left out. Without ``since``, or if many were started, all of /proc is scanned, and ``known`` is of no
    use: the result may then have some of them.
    """
    # Negative also when the pids have wrapped round at pid_max: then only a whole scan finds everything.
    started = -1 if since is None else _newest() - since
    if since is None or not 0 <= started <= MAX_CANDIDATES:
        return [root, *_below({root}, _parent_of_every_process())]
    parents = {
        pid: parent for pid in range(since + 1, since + started + 1) if (parent := parent_of(pid)) is not None
    }
    # Pids and thread ids are numbers of the same sequence.
    return [root, *(pid for pid in _below(known, parents) if not _is_thread(pid))]


def _newest() -> int:
    return int(read_file("/proc/loadavg").rsplit(None, 1)[1])


def _parent_of_every_process() -> dict[int, int]:
    """pid → parent of every process."""
    found = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - the hot lane counts microseconds
        if name.isdigit():
            parent = parent_of(int(name))
            if parent is not None:
                found[int(name)] = parent
    return found


def _below(known: Container[int], parents: dict[int, int]) -> list[int]:
    """The processes in ``parents`` that descend from ``known``, parents first."""
    found: list[int] = []
    taken: set[int] = set()
    # Pids wrap round, so a child can be listed before its parent; the loop ends when a pass adds nothing.
    grown = True
    while grown:
        grown = False
        for pid, parent in parents.items():
            if pid not in taken and pid not in known and (parent in known or parent in taken):
                taken.add(pid)
                found.append(pid)
                grown = True
    return found


def _is_thread(pid: int) -> bool:
    """Whether the number belongs to a thread: /proc/TID exists for every thread, though it is not listed."""
    try:
        text = read_file(f"/proc/{pid}/status")
    except OSError:
        # It has exited already, or may not be read: nothing that could be followed.
        return True
    # The thread group id is the process id: only of the main thread is it the number itself (proc(5), status).
    at = text.find(b"\nTgid:")
    return int(text[at + 6 : at + 32].split(None, 1)[0]) != pid


class Births:
    """Finds descendants that are new since the last call of ``find``. Holds one descriptor until ``close``."""

    def __init__(self) -> None:
        self._loadavg = os.open("/proc/loadavg", os.O_RDONLY | os.O_CLOEXEC)
        self.newest = -1  # the last number that was checked
        self._since_scan = MAX_CALLS_BETWEEN_SCANS  # so that the first call scans
        self._not_yet_visible: list[int] = []

    def find(self, known: Container[int]) -> list[int]:
        """Descendants of ``known`` that are not in it yet, parents first."""
        newest = int(os.pread(self._loadavg, 128, 0).rsplit(None, 1)[1])
        started = newest - self.newest
        self._since_scan += 1
        # Negative when the numbers have wrapped round at pid_max (proc(5)).
        many = not 0 <= started <= MAX_CANDIDATES
        if self._since_scan >= MAX_CALLS_BETWEEN_SCANS or (
            many and self._since_scan >= MIN_CALLS_BETWEEN_SCANS
        ):
            self._since_scan = 0
            self.newest = newest
            return _below(known, _parent_of_every_process())
        # If many were started just after a scan, the next scan is awaited: on a busy machine the probe would do nothing
        # else.
        if many or not (started or self._not_yet_visible):
            return []
        candidates: dict[int, int] = {}
        # A number is assigned shortly before its process becomes visible (copy_process in kernel/fork.c), so a missing
        # one is checked again at the next call.
        fresh = range(self.newest + 1, newest + 1)
        again, self._not_yet_visible = self._not_yet_visible, []
        for pid in (*again, *fresh):
            parent = parent_of(pid)
            if parent is not None:
                candidates[pid] = parent
            elif pid in fresh:
                self._not_yet_visible.append(pid)
        self.newest = newest
        return [pid for pid in _below(known, candidates) if not _is_thread(pid)]

    def close(self) -> None:
        """Idempotent."""
        if self._loadavg >= 0:
            os.close(self._loadavg)
            self._loadavg = -1
