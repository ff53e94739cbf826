"""The ceilings that a growing service may reach: of the process, the machine, and its control groups (version 2 and
version 1)."""

from __future__ import annotations

import os

# limit of a control group → file in version 2; controller and file in version 1
_FILES = {
    "pids.max": ("pids.max", "pids", "pids.max"),
    "memory.max": ("memory.max", "memory", "memory.limit_in_bytes"),
}
_UNLIMITED = 1 << 60  # version 1 writes "no limit" as the largest multiple of a page
ZMQ_MAX_SOCKETS = 1023  # ZMQ_MAX_SOCKETS_DFLT in libzmq's include/zmq.h: the 1,024th is refused


def limits(pid: int) -> dict[str, float]:
    """Ceiling name → value, for each that is set and readable.

    RLIMIT_NOFILE, RLIMIT_NPROC (soft; of a user other than root, whom the kernel exempts),
    vm.max_map_count, fs.inotify.max_user_instances, MemTotal (the memory of the machine, in bytes), cgroup
    pids.max and memory.max, and ZMQ_MAX_SOCKETS (per context) for a process that has libzmq loaded.
    """
    found: dict[str, float] = {}
    text = _text(f"/proc/{pid}/limits")
    for name, title in (("RLIMIT_NOFILE", "Max open files"), ("RLIMIT_NPROC", "Max processes")):
        soft = _after(text, title)
        if soft.isdigit():
            found[name] = float(soft)
    # The kernel exempts root from this limit (getrlimit(2)).
    if _after(_text(f"/proc/{pid}/status"), "Uid:") == "0":
        found.pop("RLIMIT_NPROC", None)
    for name in ("vm.max_map_count", "fs.inotify.max_user_instances"):
        value = _text(f"/proc/sys/{name.replace('.', '/')}").strip()
        if value.isdigit():
            found[name] = float(value)
    memory = _after(_text("/proc/meminfo"), "MemTotal:")
    if memory.isdigit():
        found["MemTotal"] = float(memory) * 1024
    found.update(cgroup_limits(pid))
    # Only a process that has loaded the library can reach the limit.
    if "libzmq" in _text(f"/proc/{pid}/maps"):
        found["ZMQ_MAX_SOCKETS"] = float(ZMQ_MAX_SOCKETS)
    return found


def _after(text: str, title: str) -> str:
    """The first word after ``title`` at the start of a line; empty when there is none."""
    at = 0 if text.startswith(title) else text.find("\n" + title) + 1
    if not text.startswith(title, at):
        return ""
    words = text[at + len(title) :].split(None, 1)
    return words[0] if words else ""


def _text(path: str) -> str:
    try:
        with open(os.fspath(path), encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return ""


def cgroup_limits(pid: int) -> dict[str, float]:
    """``pids.max`` (threads and processes) and ``memory.max`` (bytes): the lowest that holds for the group
    of ``pid`` or for one above it. Absent: not set, or not visible."""
    found: dict[str, float] = {}
    mounts = _mounts()
    for controllers, path in _groups(pid):
        for name, (unified, controller, legacy) in _FILES.items():
            # The entry of the unified hierarchy (version 2) names no controllers (cgroups(7)).
            if not controllers:
                limit = _lowest(mounts.get(""), path, unified)
            elif controller in controllers:
                limit = _lowest(mounts.get(controller), path, legacy)
            else:
                continue
            if limit is not None:
                found[name] = min(limit, found.get(name, limit))
    return found


def _groups(pid: int) -> list[tuple[list[str], str]]:
    """(controllers, path) of each hierarchy (cgroups(7)); version 2 has no controllers there."""
    found = []
    for line in _text(f"/proc/{pid}/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        found.append(([name for name in controllers.split(",") if name], path))
    return found


def _mounts() -> dict[str, tuple[str, str]]:
    """Controller (``""`` for version 2) → mount point and the group that is mounted there."""
    found: dict[str, tuple[str, str]] = {}
    for line in _text("/proc/self/mountinfo").splitlines():
        # Optional fields end with a lone dash; the type and the options of the mount follow it (proc(5), mountinfo).
        fields = line.split()
        dash = fields.index("-")
        kind, options = fields[dash + 1], fields[dash + 3]
        if kind == "cgroup2":
            found.setdefault("", (fields[4], fields[3]))
        elif kind == "cgroup":
            for name in options.split(","):
                found.setdefault(name, (fields[4], fields[3]))
    return found


def _lowest(mount: tuple[str, str] | None, path: str, name: str) -> float | None:
    """The lowest limit from the group up to the mount point; None when none is set."""
    if mount is None:
        return None
    point, root = mount
    # In a container often only its own group is mounted, so the path is taken relative to that.
    if root != "/" and path.startswith(root):
        path = path[len(root) :]
    if "/.." in path:
        return None  # above the cgroup namespace of this process
    lowest: float | None = None
    parts = [part for part in path.split("/") if part]
    # A limit of any group above applies to this one too.
    for depth in range(len(parts), -1, -1):
        for text in _text(os.path.join(point, *parts[:depth], name)).splitlines():  # noqa: PTH118
            if text.isdigit() and int(text) < _UNLIMITED:
                lowest = float(text) if lowest is None else min(lowest, float(text))
    return lowest
