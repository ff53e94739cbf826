"""The kernel's socket tables as the target sees them, joined to its descriptors by inode.

``/proc/PID/net/*`` is read and not ``/proc/net``: the target may live in another network namespace.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# include/net/tcp_states.h
TCP_STATES = {
    1: "established", 2: "syn-sent", 3: "syn-recv", 4: "fin-wait-1", 5: "fin-wait-2", 6: "time-wait",
    7: "close", 8: "close-wait", 9: "last-ack", 10: "listen", 11: "closing", 12: "new-syn-recv",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a socket table. family: tcp, udp, unix, netlink, …; ports are 0 where there are none."""

    family: str
    state: str
    local: int = 0
    remote: int = 0
    peer: str = ""


def _inet(pid: int, table: str, family: str) -> Iterable[tuple[int, Row]]:
    try:
        text = Path(f"/proc/{pid}/net/{table}").read_text()
    except OSError:
        return
    for line in text.splitlines()[1:]:
        fields = line.split()
        host, _, port = fields[2].rpartition(":")
        state = TCP_STATES.get(int(fields[3], 16), "unknown") if family == "tcp" else "open"
        peer = f"{_address(host)}:{int(port, 16)}"
        yield int(fields[9]), Row(family, state, int(fields[1].rpartition(":")[2], 16), int(port, 16), peer)


def _address(text: str) -> str:
    """The kernel's hexadecimal address (each 32-bit word in host order) as people write it."""
    if len(text) == 8:
        return ".".join(str(byte) for byte in reversed(bytes.fromhex(text)))
    return "[v6]"


def _other(pid: int, table: str, family: str, inode: int, path: int | None) -> Iterable[tuple[int, Row]]:
    try:
        text = Path(f"/proc/{pid}/net/{table}").read_text(errors="replace")
    except OSError:
        return
    for line in text.splitlines()[1:]:
        fields = line.split()
        name = fields[path] if path is not None and len(fields) > path else ""
        yield int(fields[inode]), Row(family, "open", peer=name)


def table(pid: int) -> dict[int, Row]:
    """inode → row, over every table of the target's network namespace."""
    rows: dict[int, Row] = {}
    for name, family in (("tcp", "tcp"), ("tcp6", "tcp"), ("udp", "udp"), ("udp6", "udp"), ("raw", "raw")):
        rows.update(_inet(pid, name, family))
    rows.update(_other(pid, "unix", "unix", 6, 7))
    rows.update(_other(pid, "netlink", "netlink", 9, None))
    rows.update(_other(pid, "packet", "packet", 8, None))
    return rows


def inbound(pid: int, port: int) -> int:
    """Established connections to ``port`` as the target's namespace sees them."""
    return sum(
        1
        for name in ("tcp", "tcp6")
        for _, row in _inet(pid, name, "tcp")
        if row.local == port and row.state == "established"
    )
