"""The kernel's socket tables as the target sees them, joined to its descriptors by inode.

sock_diag where the target's network namespace may be entered, else the text tables below
``/proc/PID/net``. Never ``/proc/net``, which is the reader's own namespace.
"""

from __future__ import annotations

import operator
import os
import socket
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.probe import sockdiag
from harness.probe.netns import open_diag_in

if TYPE_CHECKING:
    from harness.probe.sockdiag import Raw

MIN_SERVER_CONNECTIONS = 8  # connections with one local port
FAMILIES = (socket.AF_INET, socket.AF_INET6)
# Tables read only while there are inodes that no other table explains:
# name, class, column of the inode, column of the path.
_OTHER_TABLES = (("unix", "unix", 6, 7), ("netlink", "netlink", 9, None), ("packet", "packet", 8, None))


@dataclass(frozen=True, slots=True)
class Row:
    """A socket that is not TCP. family: ``udp``, ``unix``, …; peer: the address of the peer, or the socket's own
    name."""

    family: str
    peer: str


def peer(raw: Raw) -> str:
    """The address of the peer as text."""
    host = sockdiag.address(raw[0], raw[4])
    return f"{f'[{host}]' if ':' in host else host}:{sockdiag.port(raw[3])}"


class Tables:
    """The rows of one network namespace. ``source`` says how they were read."""

    def __init__(self, directory: int, pid: int) -> None:
        self._directory = directory
        self.tcp: dict[int, Raw] = {}  # by inode, in the kernel's format, because a census has thousands
        self.source = "sock_diag"
        try:
            with open_diag_in(directory) as channel:
                rows = sockdiag.dump_tcp(channel)
            self.tcp.update(zip(map(_INODE, rows), rows))  # noqa: B905 - Python 3.8 knows no strict
        except OSError as error:
            # Entering another network namespace needs CAP_SYS_ADMIN there; its text tables are readable without.
            self.source = f"/proc/{pid}/net ({error.strerror or error})"
            self.tcp.update(_by_inode(directory, "tcp", "tcp6"))
        self.listening = {raw[2] for raw in self.tcp.values() if raw[1] == sockdiag.LISTEN}

    def shared(self) -> set[bytes]:
        """Local ports with so many connections that they must be server ports: the kernel may assign one port to two
        outgoing connections to different peers, but not to MIN_SERVER_CONNECTIONS of them."""
        counts = Counter(map(_LOCAL, self.tcp.values()))
        return {port for port, count in counts.items() if count >= MIN_SERVER_CONNECTIONS}

    def explain(self, inodes: Iterable[int]) -> dict[int, Row | None]:
        """inode → its row; None for an inode that is in no table. Those in ``tcp`` are not looked up.

        A table is read only while some inodes were in none of the tables before.
        """
        found: dict[int, Row | None] = dict.fromkeys(inodes)
        missing = set(found)
        # Unix sockets come first, because most sockets without a TCP row are theirs.
        for table in (*_OTHER_TABLES, None):
            if not missing:
                break
            rows = _rows_of(self._directory, *table) if table else self._datagrams()
            for inode, row in rows:
                if inode in missing:
                    found[inode] = row
                    missing.discard(inode)
        return found

    def _datagrams(self) -> Iterator[tuple[int, Row]]:
        for inode, raw in self._udp().items():
            yield inode, Row("udp", peer(raw))
        for inode, raw in _by_inode(self._directory, "raw", "raw6").items():
            yield inode, Row("raw", peer(raw))

    def _udp(self) -> dict[int, Raw]:
        found: dict[int, Raw] = {}
        try:
            with open_diag_in(self._directory) as channel:
                for family in FAMILIES:
                    found.update((row[5], row) for row in sockdiag.dump_udp(channel, family))
        except OSError:
            pass  # no right to enter, no IPv6, or no udp_diag module
        return found or _by_inode(self._directory, "udp", "udp6")


_INODE = operator.itemgetter(5)
_LOCAL = operator.itemgetter(2)


def _lines(directory: int, table: str) -> Sequence[str]:
    try:
        file = os.open(f"net/{table}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return ()
    with open(file, encoding="utf-8", errors="replace") as text:  # noqa: PTH123 - by descriptor
        try:
            return text.read().splitlines()[1:]
        except OSError:
            return ()


def _by_inode(directory: int, table: str, table6: str) -> dict[int, Raw]:
    """A text table of both families, in the form that sock_diag has."""
    rows = (*_inet(directory, table, socket.AF_INET), *_inet(directory, table6, socket.AF_INET6))
    return {row[5]: row for row in rows}


def _inet(directory: int, table: str, family: int) -> Iterator[Raw]:
    for line in _lines(directory, table):
        fields = line.split()
        remote_host, _, remote_port = fields[2].rpartition(":")
        local_port = fields[1].rpartition(":")[2]
        yield (
            family,
            int(fields[3], 16),
            bytes.fromhex(local_port),
            bytes.fromhex(remote_port),
            _raw_host(remote_host),
            int(fields[9]),
        )


def _raw_host(text: str) -> bytes:
    """The kernel's hexadecimal address: 32-bit words, each in host order (net/ipv4/tcp_ipv4.c)."""
    raw = bytes.fromhex(text)
    return b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))


def _rows_of(
    directory: int, table: str, family: str, inode: int, path: int | None
) -> Iterator[tuple[int, Row]]:
    for line in _lines(directory, table):
        fields = line.split()
        if len(fields) <= inode or not fields[inode].isdigit():
            continue  # the rest of a path with a line break in it: any user can choose such a name
        name = fields[path] if path is not None and len(fields) > path else f"{family} without a name"
        yield int(fields[inode]), Row(family, name)


def inbound(pid: int, port: int) -> int | None:
    """Established connections to ``port`` as the target's namespace sees them; None once it has exited.

    The kernel walks its whole hash table for each call: 2 to 14 ms where the table has 262,144 entries, against 30 µs
    for a sample (measured, Linux 6.18). Callers therefore count clients rarely.
    """
    try:
        directory = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        with open_diag_in(directory) as channel:
            return len(sockdiag.dump_tcp(channel, states=1 << sockdiag.ESTABLISHED, local_port=port))
    except OSError:
        try:
            os.stat("net/tcp", dir_fd=directory)
        except OSError:
            return None  # a zombie has no namespace any more
        rows = _by_inode(directory, "tcp", "tcp6").values()
        wanted = port.to_bytes(2, "big")
        return sum(row[2] == wanted and row[1] == sockdiag.ESTABLISHED for row in rows)
    finally:
        os.close(directory)
