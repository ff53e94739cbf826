"""The ceilings that a growing service will meet."""

from __future__ import annotations

from pathlib import Path

ZMQ_MAX_SOCKETS = 1023  # ZMQ_MAX_SOCKETS_DFLT, libzmq's include/zmq.h


def limits(pid: int) -> dict[str, float]:
    """Ceiling name → value, for each that is set and readable."""
    found: dict[str, float] = {}
    try:
        for line in Path(f"/proc/{pid}/limits").read_text().splitlines():
            for name, title in (("RLIMIT_NOFILE", "Max open files"), ("RLIMIT_NPROC", "Max processes")):
                if line.startswith(title):
                    soft = line[len(title) :].split()[0]
                    if soft.isdigit():
                        found[name] = float(soft)
    except OSError:
        pass
    _number(found, "vm.max_map_count", Path("/proc/sys/vm/max_map_count"))
    group = _cgroup(pid)
    if group:
        _number(found, "pids.max", group / "pids.max")
        _number(found, "memory.max", group / "memory.max")
    return found


def _cgroup(pid: int) -> Path | None:
    """The cgroup v2 directory of a process; None where there is none."""
    try:
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            if line.startswith("0::"):
                return Path("/sys/fs/cgroup") / line[3:].lstrip("/")
    except OSError:
        pass
    return None


def _number(found: dict[str, float], name: str, path: Path) -> None:
    try:
        text = path.read_text().strip()
    except OSError:
        return
    if text.isdigit():
        found[name] = float(text)
