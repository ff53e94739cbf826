"""Which process listens on which port of this machine, read from /proc."""

from __future__ import annotations

from pathlib import Path

from harness.core.errors import OptionError, ProbeError
from harness.process.listeners import listeners
from harness.process.proc import tree


def listening_pid(port: int, *, option: str = "attach_port") -> int:
    """The process that listens on a TCP port of this machine. option: its name, for errors.

    Raises ConfigError when nothing listens there, ProbeError when its process may not be read.
    """
    links = {one.link for one in listeners() if one.port == port}
    if not links:
        raise OptionError(option, port, "nothing listens there; expected the service's port")
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and links & _descriptor_links(entry):
            return int(entry.name)
    raise ProbeError(
        f"port {port}: its process cannot be seen; expected the right to read /proc/PID/fd: "
        "run as the service's user or as root"
    )


def listens_at(pid: int) -> tuple[str, ...]:
    """The addresses at which a process or a descendant listens: ``127.0.0.1:8000``, ``[::]:8000``."""
    held: set[str] = set()
    # A worker may serve a socket that its parent opened, so the whole tree is searched.
    for one in tree(pid):
        held |= _descriptor_links(Path("/proc", str(one)))
    found = {
        f"[{one.host}]:{one.port}" if ":" in one.host else f"{one.host}:{one.port}"
        for one in listeners()
        if one.link in held
    }
    return tuple(sorted(found))


def _descriptor_links(process: Path) -> set[str]:
    """What the descriptors of a process link to, such as ``socket:[4711]``; empty where that may not be read. process:
    its folder in /proc."""
    found = set()
    try:
        for descriptor in (process / "fd").iterdir():
            try:
                found.add(str(descriptor.readlink()))
            except OSError:
                continue
    except OSError:
        pass
    return found
