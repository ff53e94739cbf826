"""Finds the users whose processes listen on a TCP port of this machine, in /proc/net/tcp (proc(5))."""

from __future__ import annotations

from pathlib import Path

LISTEN = "0A"  # TCP_LISTEN in include/net/tcp_states.h
TABLES = ("/proc/net/tcp", "/proc/net/tcp6")


def users_on(port: int) -> frozenset[int]:
    """The uids of the sockets that listen on the port, on any address; empty when nothing does."""
    found = set()
    for table in TABLES:
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue  # no IPv6
        for fields in map(str.split, rows):
            if fields[3] == LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(int(fields[7]))
    return frozenset(found)
