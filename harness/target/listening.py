"""Which process listens on which port of this machine, read from /proc."""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from harness.core.errors import OptionError, ProbeError

LISTEN = "0A"  # TCP_LISTEN in include/net/tcp_states.h, as /proc/net/tcp shows it


def listening_pid(port: int, *, option: str = "attach_port") -> int:
    """The process that listens on a TCP port of this machine. option: its name, for errors.

    Raises ConfigError when nothing listens there, ProbeError when its process may not be read.
    """
    inodes = {inode for inode, _, listens in _listeners() if listens == port}
    if not inodes:
        raise OptionError(option, port, "nothing listens there; expected the service's port")
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and inodes & _sockets(entry):
            return int(entry.name)
    raise ProbeError(
        f"port {port}: its process cannot be seen; expected the right to read /proc/PID/fd: "
        "run as the service's user or as root"
    )


def listens_at(pid: int) -> tuple[str, ...]:
    """The addresses at which a process or a descendant listens: ``127.0.0.1:8000``, ``[::]:8000``."""
    held: set[str] = set()
    # A worker may serve a socket that its parent opened, so the whole tree is searched.
    for one in _tree(pid):
        held |= _sockets(Path("/proc", str(one)))
    found = {
        f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        for inode, host, port in _listeners()
        if inode in held
    }
    return tuple(sorted(found))


def _listeners() -> Iterator[tuple[str, str, int]]:
    """(``socket:[INODE]``, host, port) of every listening TCP socket of this network namespace (proc(5))."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, rows):
            if fields[3] == LISTEN:
                address, _, port = fields[1].rpartition(":")
                yield f"socket:[{fields[9]}]", _host(address), int(port, 16)


def _host(address: str) -> str:
    """The kernel prints each 32-bit word of an address in the machine's byte order."""
    words = [address[i : i + 8] for i in range(0, len(address), 8)]
    packed = b"".join(int(word, 16).to_bytes(4, sys.byteorder) for word in words)
    return str(ipaddress.ip_address(packed)) if len(packed) == 16 else socket.inet_ntoa(packed)


def _sockets(process: Path) -> set[str]:
    """What ``/proc/PID/fd`` links to; empty where that may not be read."""
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


def _tree(pid: int) -> list[int]:
    """The process and its descendants."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
    found = [pid]
    # The list grows while it is read, so descendants of every depth are added.
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found
