"""Reads the processes of a target from /proc: its tree, and the users, arguments and environment of each process."""

from __future__ import annotations

import os
from pathlib import Path

CHILDREN = Path("/proc/thread-self/children")


def tree(pid: int) -> list[int]:
    """The process and its descendants, parents first, from /proc/PID/task/TID/children (proc(5)); by one pass
    over all processes where the kernel has no such file (CONFIG_PROC_CHILDREN)."""
    found = [pid]
    if not CHILDREN.exists():
        return _below(found, _parents())
    # The list grows while it is read, so descendants of every depth are added.
    for known in found:
        for task in Path(f"/proc/{known}/task").glob("*/children"):
            try:
                children = task.read_text().split()
            except OSError:
                continue
            found.extend(int(child) for child in children if int(child) not in found)
    return found


def _parents() -> dict[int, int]:
    """pid → parent of every process."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name of the program, in parentheses, may contain spaces and parentheses itself (proc(5)).
            parents[int(stat.parent.name)] = int(stat.read_bytes().rpartition(b")")[2].split(None, 2)[1])
        except (OSError, IndexError):
            continue  # it has exited since
    return parents


def _below(found: list[int], parents: dict[int, int]) -> list[int]:
    """``found``, followed by all descendants of its processes."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    for known in found:
        found.extend(child for child in children.get(known, ()) if child not in found)
    return found


def _uids(pid: int) -> list[int]:
    """Real, effective and saved user id of a process, in this order (proc(5), status); empty once it has exited."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return []
    return [int(word) for line in lines if line.startswith("Uid:") for word in line.split()[1:4]]


def users(pid: int) -> frozenset[int]:
    """Real, effective and saved user ids of a process; empty once it has exited. The owner of /proc/PID would be root
    for a process that has made itself undumpable (prctl(2))."""
    return frozenset(_uids(pid))


def owner(pid: int) -> int:
    """The effective user of a process; that of the harness once it has exited."""
    return (_uids(pid) or [0, os.geteuid()])[1]


def users_of_tree(pid: int) -> frozenset[int]:
    """The user ids of a process and its descendants."""
    return frozenset().union(*map(users, tree(pid)))


def trusted(pid: int, *, shared: bool) -> frozenset[int]:
    """The users whose agents may answer for the target ``pid``: those of its processes, and in a folder that the run
    does not share, the user of the harness."""
    return users_of_tree(pid) | (frozenset() if shared else {os.geteuid()})


def arguments(pid: int) -> list[str]:
    """Its command line; empty once it has exited, and for a kernel thread."""
    try:
        data = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return [word.decode(errors="replace") for word in data.split(b"\0")[:-1]]


def environment(pid: int) -> dict[str, str] | None:
    """The environment it was started with; None when it may not be read."""
    try:
        data = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return None
    pairs = (entry.decode(errors="replace").partition("=") for entry in data.split(b"\0") if entry)
    return {name: value for name, _, value in pairs}


def executable(pid: int) -> str:
    """Path of what it runs; empty when it cannot be read."""
    try:
        return str(Path(f"/proc/{pid}/exe").readlink()).removesuffix(" (deleted)")
    except OSError:
        return ""
