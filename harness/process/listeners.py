"""Which sockets listen on which TCP port of this machine, from /proc/net/tcp (proc(5))."""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LISTEN = "0A"  # TCP_LISTEN in include/net/tcp_states.h
TABLES = ("/proc/net/tcp", "/proc/net/tcp6")


@dataclass(frozen=True, slots=True)
class Listener:
    """One listening socket of this network namespace. link: the target of /proc/PID/fd/N of a descriptor of it, such as
    ``socket:[4711]``. user: its uid."""

    link: str
    host: str
    port: int
    user: int


def listeners() -> Iterator[Listener]:
    """All of them, of both families."""
    for table in TABLES:
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue  # no IPv6
        # Columns of proc_net_tcp: 1 the local address, 3 the state, 7 the uid, 9 the inode.
        for fields in map(str.split, rows):
            if fields[3] == LISTEN:
                address, _, port = fields[1].rpartition(":")
                yield Listener(f"socket:[{fields[9]}]", _host(address), int(port, 16), int(fields[7]))


def _host(address: str) -> str:
    """The kernel prints each 32-bit word of an address in the machine's byte order."""
    words = [address[i : i + 8] for i in range(0, len(address), 8)]
    packed = b"".join(int(word, 16).to_bytes(4, sys.byteorder) for word in words)
    return str(ipaddress.ip_address(packed)) if len(packed) == 16 else socket.inet_ntoa(packed)


def users_on(port: int) -> frozenset[int]:
    """The uids of the sockets that listen on the port, on any address; empty when nothing does."""
    return frozenset(one.user for one in listeners() if one.port == port)
