"""The kernel's socket tables as the target sees them, joined to its descriptors by inode.

sock_diag where the target's network namespace may be entered, else the text tables below
``/proc/PID/net``. Never ``/proc/net``, which is the reader's own namespace.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from harness.probe import sockdiag
from harness.probe.netns import open_diag_in
from harness.probe.sockdiag import TCP_STATES

if TYPE_CHECKING:
    from harness.probe.sockdiag import Raw

TCP, UDP = socket.IPPROTO_TCP, socket.IPPROTO_UDP
FAMILIES = (socket.AF_INET, socket.AF_INET6)
# Tables read only while there are inodes that no other table explains:
# name, class, column of the inode, column of the path.
_OTHERS = (("unix", "unix", 6, 7), ("netlink", "netlink", 9, None), ("packet", "packet", 8, None))
_RAW = (("raw", socket.AF_INET), ("raw6", socket.AF_INET6))


class Row:
    """One socket. family: ``tcp``, ``udp``, ``unix``, …; ports are 0 where there are none."""

    __slots__ = ("_peer", "family", "local", "remote", "state")

    def __init__(
        self, family: str, state: str, local: int = 0, remote: int = 0, peer: tuple[int, bytes] | str = ""
    ) -> None:
        self.family = family
        self.state = state
        self.local = local
        self.remote = remote
        self._peer = peer

    @property
    def peer(self) -> str:
        """Who is at the other end, as people write it; for a listener the port it listens on."""
        if isinstance(self._peer, str):
            return self._peer
        if self.state == "listen":
            return f"listens on port {self.local}"
        family, raw = self._peer
        host = sockdiag.address(family, raw)
        return f"{f'[{host}]' if ':' in host else host}:{self.remote}"


class Tables:
    """The rows of one network namespace. ``source`` says how they were read."""

    def __init__(self, directory: int, pid: int) -> None:
        self._directory = directory
        self._raw: dict[int, tuple[str, Raw]] = {}
        self._rows: dict[int, Row] = {}
        self.source = "sock_diag"
        try:
            self._diag()
        except OSError as error:
            self.source = f"/proc/{pid}/net ({error.strerror or error})"
            self._raw.clear()
            self._text()
        self.listening = {
            sockdiag.port(raw[4])
            for family, raw in self._raw.values()
            if family == "tcp" and raw[3] == sockdiag.LISTEN
        } | {row.local for row in self._rows.values() if row.state == "listen"}

    def _diag(self) -> None:
        with open_diag_in(self._directory) as channel:
            for name, protocol in (("tcp", TCP), ("udp", UDP)):
                for family in FAMILIES:
                    try:
                        rows = sockdiag.dump(channel, family, protocol)
                    except sockdiag.DiagError:
                        if name == "tcp" and family == socket.AF_INET:
                            raise
                        continue  # no IPv6, or no udp_diag module
                    self._raw.update((row[8], (name, row)) for row in rows)
        if not any(name == "udp" for name, _ in self._raw.values()):
            self._rows.update(_inet(self._directory, "udp", "udp", socket.AF_INET))
            self._rows.update(_inet(self._directory, "udp6", "udp", socket.AF_INET6))

    def _text(self) -> None:
        for table, name, family in (
            ("tcp", "tcp", socket.AF_INET),
            ("tcp6", "tcp", socket.AF_INET6),
            ("udp", "udp", socket.AF_INET),
            ("udp6", "udp", socket.AF_INET6),
        ):
            self._rows.update(_inet(self._directory, table, name, family))

    def explain(self, inodes: Iterable[int]) -> dict[int, Row | None]:
        """inode → its row; None for one that no table knows."""
        found: dict[int, Row | None] = {}
        missing = []
        for inode in inodes:
            known = self._raw.get(inode)
            row = _row(*known) if known else self._rows.get(inode)
            found[inode] = row
            if row is None:
                missing.append(inode)
        if missing:
            others = dict(self._other_rows())
            found.update((inode, others[inode]) for inode in missing if inode in others)
        return found

    def _other_rows(self) -> Iterator[tuple[int, Row]]:
        for table, family, inode, path in _OTHERS:
            yield from _other(self._directory, table, family, inode, path)
        for table, number in _RAW:
            yield from _inet(self._directory, table, "raw", number)


def _row(name: str, raw: Raw) -> Row:
    state = TCP_STATES.get(raw[3], "unknown") if name == "tcp" else "open"
    return Row(name, state, sockdiag.port(raw[4]), sockdiag.port(raw[5]), (raw[2], raw[7]))


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


def _inet(directory: int, table: str, name: str, family: int) -> Iterator[tuple[int, Row]]:
    for line in _lines(directory, table):
        fields = line.split()
        host, _, port = fields[2].rpartition(":")
        state = TCP_STATES.get(int(fields[3], 16), "unknown") if name == "tcp" else "open"
        yield (
            int(fields[9]),
            Row(name, state, int(fields[1].rpartition(":")[2], 16), int(port, 16), (family, _raw_host(host))),
        )


def _raw_host(text: str) -> bytes:
    """The kernel's hexadecimal address: 32-bit words, each in host order (net/ipv4/tcp_ipv4.c)."""
    raw = bytes.fromhex(text)
    return b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))


def _other(
    directory: int, table: str, family: str, inode: int, path: int | None
) -> Iterator[tuple[int, Row]]:
    for line in _lines(directory, table):
        fields = line.split()
        name = fields[path] if path is not None and len(fields) > path else f"{family} without a name"
        yield int(fields[inode]), Row(family, "open", peer=name)


def inbound(pid: int, port: int) -> int | None:
    """Established connections to ``port`` as the target's namespace sees them; None once it is gone.

    Half a millisecond, nearly all of it the kernel's walk through its hash table: cheap enough to poll.
    """
    try:
        directory = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        with open_diag_in(directory) as channel:
            # Listeners have a small table of their own: who listens there says which walk can be left out.
            listening = [f for f in FAMILIES if _count(channel, f, sockdiag.LISTEN, port)]
            return sum(_count(channel, f, sockdiag.ESTABLISHED, port) for f in listening or FAMILIES)
    except OSError:
        try:
            os.stat("net/tcp", dir_fd=directory)
        except OSError:
            return None  # a zombie has no namespace any more
        return sum(
            row.local == port and row.state == "established"
            for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6))
            for _, row in _inet(directory, table, "tcp", family)
        )
    finally:
        os.close(directory)


def _count(channel: socket.socket, family: int, state: int, port: int) -> int:
    try:
        return len(sockdiag.dump(channel, family, TCP, states=1 << state, local_port=port))
    except sockdiag.DiagError:
        if family == socket.AF_INET:
            raise
        return 0  # a kernel without IPv6
