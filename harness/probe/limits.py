"""The ceilings that a growing service may reach."""

from __future__ import annotations

import os

from harness.probe.cgroup import cgroup_limits

ZMQ_MAX_SOCKETS = 1023  # ZMQ_MAX_SOCKETS_DFLT in libzmq's include/zmq.h: the 1,024th is refused


def limits(pid: int) -> dict[str, float]:
    """Ceiling name → value, for each that is set and readable.

    RLIMIT_NOFILE, RLIMIT_NPROC (soft; of a user other than root, whom the kernel exempts),
    vm.max_map_count, fs.inotify.max_user_instances, cgroup pids.max and memory.max, and
    ZMQ_MAX_SOCKETS (per context) for a process that has libzmq loaded.
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
