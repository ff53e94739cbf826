"""Every descriptor of a tree, by class, with examples of what it is."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter

from harness.probe.hot import GONE, HotProcess
from harness.probe.netns import namespace_id
from harness.probe.sockets import Row, Tables

EXAMPLES = 3
EXAMPLE_LENGTH = 160
UNCLASSIFIED = "unclassified"
# What the kernel calls its anonymous inodes → the class, where the two differ.
_RENAMED = {"perf_event": "perf-event", "bpf-map": "bpf", "bpf-prog": "bpf", "bpf_link": "bpf"}
_ANONYMOUS = re.compile(r"anon_inode:\[?([\w.-]+)")
# Protocols whose sockets have a row once they are bound or connected; others have no table at all.
_TABLED = re.compile(r"(TCP|UDP|UDPLITE|RAW|PING)(v6)?$")
_BY_PROTOCOL = {"UNIX": "unix", "UNIX-STREAM": "unix", "NETLINK": "netlink", "PACKET": "packet"}


class Tally:
    """Counts per class, with the examples met first."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}

    def add(self, kind: str, example: str) -> None:
        """One more of ``kind``."""
        self.counts[kind] += 1
        kept = self.examples.get(kind)
        if kept is None:
            self.examples[kind] = [example[:EXAMPLE_LENGTH]]
        elif len(kept) < EXAMPLES and example not in kept:
            kept.append(example[:EXAMPLE_LENGTH])


def descriptors(processes: list[HotProcess], unreadable: list[str]) -> tuple[Tally, Counter[str]]:
    """Class → count with examples, and TCP state → count, over all the processes.

    A process whose table may not be listed is counted as ``unclassified`` and named in ``unreadable``.
    """
    tally = Tally()
    # Links before tables: a socket opened in between is in the table, one closed in between is checked.
    sockets: dict[int, list[tuple[HotProcess, str, int]]] = {}
    for process in processes:
        try:
            found = _classify(process, tally)
            namespace = namespace_id(process.dir) or -process.pid  # unknown: tables of its own
            sockets.setdefault(namespace, []).extend((process, name, inode) for name, inode in found)
        except GONE:
            continue
        except OSError as error:
            _count_only(process, error, tally, unreadable)
    states: Counter[str] = Counter()
    for held in filter(None, sockets.values()):
        _sockets(held, tally, states)
    return tally, states


def _count_only(process: HotProcess, error: OSError, tally: Tally, unreadable: list[str]) -> None:
    reading = process.read()
    if reading is None or reading.zombie:
        return
    if reading.fds is None:
        unreadable.append(f"fds of pid {process.pid}: {error.strerror}")
        return
    unreadable.append(
        f"descriptor classes of pid {process.pid}: {error.strerror}; only their number is known"
    )
    if reading.fds:
        tally.counts[UNCLASSIFIED] += reading.fds
        tally.examples.setdefault(UNCLASSIFIED, []).append(f"pid {process.pid} ({reading.name})")


def _classify(process: HotProcess, tally: Tally) -> list[tuple[str, int]]:
    """Count what is no socket; the number and inode of each socket. Raises OSError."""
    where = process.living()
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    directory = os.open(f"{where}fd", flags, dir_fd=process.dir)
    sockets = []
    try:
        # The newest descriptors have the highest numbers: what leaks is among them, so examples of them.
        for name in reversed(os.listdir(directory)):  # noqa: PTH208 - by descriptor
            try:
                link = os.readlink(name, dir_fd=directory)
            except GONE:
                continue  # closed between listing and reading
            if link.startswith("socket:["):
                sockets.append((name, int(link[8:-1])))
            else:
                tally.add(_file_class(link, directory, name), link)
    finally:
        os.close(directory)
    return sockets


def _file_class(link: str, directory: int, name: str) -> str:
    if link.startswith("anon_inode:"):
        kind = _ANONYMOUS.match(link)
        return _RENAMED.get(kind[1], kind[1]) if kind else "anon-inode"
    if link.startswith("pipe:"):
        return "pipe"
    if link.startswith("/memfd:"):
        return "memfd"
    if link.startswith("pidfd:"):
        return "pidfd"
    if not link.startswith("/"):
        return "namespace" if link.partition(":")[0] in _NAMESPACES else "file"
    try:
        mode = os.stat(name, dir_fd=directory).st_mode
    except OSError:
        mode = stat.S_IFREG
    if stat.S_ISDIR(mode):
        return "directory"
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        return "device"
    if stat.S_ISFIFO(mode):
        return "pipe"
    return "deleted-file" if link.endswith(" (deleted)") else "file"


_NAMESPACES = frozenset({"net", "mnt", "pid", "user", "uts", "ipc", "cgroup", "time"})


def _sockets(held: list[tuple[HotProcess, str, int]], tally: Tally, states: Counter[str]) -> None:
    first = held[0][0]
    tables = Tables(first.dir, first.pid)
    rows = tables.explain([inode for _, _, inode in held])
    ephemeral = _ephemeral_from()
    for process, name, inode in held:
        row = rows[inode]
        if row is None:
            protocol = _protocol(process, name)
            if protocol is not None:
                tally.add(*_rowless(protocol))
            continue
        if row.family == "tcp":
            states[row.state] += 1
        kind = _socket_class(row, tables.listening, ephemeral)
        full = len(tally.examples.get(kind, ())) >= EXAMPLES
        tally.add(kind, "" if full else row.peer)


def _socket_class(row: Row, listening: set[int], ephemeral: int) -> str:
    if row.family != "tcp":
        return row.family
    if row.state == "listen":
        return "tcp-listen"
    if row.state == "close-wait":
        return "close-wait"
    # Nobody listens on its port any more, yet it is a served port and the peer's is a client's.
    orphaned = row.local < ephemeral <= row.remote
    return "tcp-in" if row.local in listening or orphaned else f"tcp-out:{row.remote}"


def _ephemeral_from() -> int:
    """The first port the kernel gives to clients (ip(7): ip_local_port_range)."""
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:  # noqa: PTH123
            return int(file.read().split()[0])
    except (OSError, ValueError):
        return 32768


def _protocol(process: HotProcess, name: str) -> str | None:
    """The protocol of a socket without a row (sockfs answers getxattr(2), net/socket.c); ``""`` when it
    will not say, None when the descriptor is closed by now."""
    try:
        # By way of the held directory: a pid that was reused cannot be met.
        where = f"/proc/self/fd/{process.dir}/{process.living()}fd/{name}"
        raw = os.getxattr(where, "system.sockprotoname")
    except GONE:
        return None
    except OSError:
        return ""
    return raw.rstrip(b"\0").decode(errors="replace")


def _rowless(protocol: str) -> tuple[str, str]:
    """Class and example. Unbound, bound-only and shut-down sockets are in no table of the kernel."""
    if protocol in _BY_PROTOCOL:
        return _BY_PROTOCOL[protocol], f"{_BY_PROTOCOL[protocol]} without a name"
    if not protocol or _TABLED.match(protocol):
        return "rowless-socket", f"{protocol or 'unknown'}: never connected, or shut down but not closed"
    return protocol.lower().replace("af_", "", 1), protocol
