"""Classifies every descriptor of a tree, with examples."""

from __future__ import annotations

import operator
import os
import re
import stat
from collections import Counter
from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING

from harness.probe.hot import PROCESS_EXITED, HotProcess
from harness.probe.links import links
from harness.probe.netns import namespace_id
from harness.probe.sockdiag import CLOSE_WAIT, LISTEN, TCP_STATES, port
from harness.probe.sockets import Tables, peer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from harness.probe.sockdiag import Raw

EXAMPLES = 3  # examples that are kept of each class
EXAMPLE_LENGTH = 160  # characters of one example
UNCLASSIFIED = "unclassified"
MAX_PORTS = 64  # classes of outbound connections in one namespace; the ports of the others are not named
OTHER_PORTS = "tcp-out:other"
# The kernel's name of an anonymous inode → the class, if the two differ.
_RENAMED = {"perf_event": "perf-event", "bpf-map": "bpf", "bpf-prog": "bpf", "bpf_link": "bpf"}
_ANONYMOUS = re.compile(r"anon_inode:\[?([\w.-]+)")
# Protocols whose sockets are in a table once they are bound or connected; others have no table.
_TABLED = re.compile(r"(TCP|UDP|UDPLITE|RAW|PING)(v6)?$")
_BY_PROTOCOL = {"UNIX": "unix", "UNIX-STREAM": "unix", "NETLINK": "netlink", "PACKET": "packet"}


class Tally:
    """Counts per class, with the examples met first."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}

    def has_examples(self, kind: str) -> bool:
        """Whether a class has all the examples that are kept of it, so that another need not be formatted."""
        return len(self.examples.get(kind, ())) >= EXAMPLES

    def add(self, kind: str, example: str, count: int = 1) -> None:
        """Count ``count`` more of ``kind``. example: ignored once there are enough of this class."""
        self.counts[kind] += count
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
    # Links are read before tables: a socket that is opened in between is in the table, one that is closed is checked.
    sockets: dict[int, list[HeldSockets]] = {}
    for process in processes:
        try:
            held = _classify(process, tally)
            # A namespace that may not be read is treated as one of its own.
            namespace = namespace_id(process.dir) or -process.pid
            if held.inodes:
                sockets.setdefault(namespace, []).append(held)
        except PROCESS_EXITED:
            continue
        except OSError as error:
            _count_only(process, error, tally, unreadable)
    states: Counter[str] = Counter()
    for each in sockets.values():
        _sockets(each, tally, states)
    return tally, states


def _count_only(process: HotProcess, error: OSError, tally: Tally, unreadable: list[str]) -> None:
    # Its number can still be known: fstat of the directory needs fewer rights than listing it.
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


@dataclass(frozen=True, slots=True)
class HeldSockets:
    """The sockets of one process. inodes, names: of the same length; the inode of each, and its descriptor number."""

    process: HotProcess
    inodes: list[int]
    names: list[str]


def _classify(process: HotProcess, tally: Tally) -> HeldSockets:
    """Count everything but sockets, and return the sockets. Raises OSError."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    directory = os.open(f"{process.living_task()}fd", flags, dir_fd=process.dir)
    try:
        names, found = links(directory)
        sockets = [link[:8] == "socket:[" for link in found]
        # Sockets are set aside: their link shows only an inode, and the tables are read once for all of them.
        held = HeldSockets(
            process,
            [int(link[8:-1]) for link in compress(found, sockets)],
            list(compress(names, sockets)),
        )
        others = [not each for each in sockets]
        counts = Counter(compress(found, others))
        # zip has no strict argument in Python 3.8, with which this module must work on other machines.
        one_of = dict(zip(compress(found, others), compress(names, others)))  # noqa: B905
        # Descriptors with the same link have the same class: the link of a replaced file ends in "(deleted)".
        for link, count in counts.items():
            tally.add(_file_class(link, directory, one_of[link]), link, count)
    finally:
        os.close(directory)
    return held


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
        # stat(2) through /proc/PID/fd follows the descriptor itself, so it works for a file that has been deleted.
        status = os.stat(name, dir_fd=directory)
        mode, names = status.st_mode, status.st_nlink
    except OSError:
        mode, names = stat.S_IFREG, 0
    if stat.S_ISDIR(mode):
        return "directory"
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        return "device"
    if stat.S_ISFIFO(mode):
        return "pipe"
    # A file name may end like that, and a file with another hard link is not deleted.
    return "deleted-file" if link.endswith(" (deleted)") and not names else "file"


_NAMESPACES = frozenset({"net", "mnt", "pid", "user", "uts", "ipc", "cgroup", "time"})


def _sockets(held: list[HeldSockets], tally: Tally, states: Counter[str]) -> None:
    """Class and state of the sockets of one network namespace."""
    # Any process of the namespace will do: all of them see the same tables.
    first = held[0].process
    tables = Tables(first.dir, first.pid)
    classify = TcpClasses(tables.listening, tables.shared(), _ephemeral_from())
    others: list[tuple[HotProcess, str, int]] = []
    for each in held:
        rows = list(map(tables.tcp.get, each.inodes))
        classify.add(rows)
        if None in rows:
            others += [
                (each.process, each.names[at], each.inodes[at]) for at, raw in enumerate(rows) if raw is None
            ]
    classify.add_to(tally, states)
    explained = tables.explain([inode for _, _, inode in others])
    for process, name, inode in others:
        row = explained[inode]
        if row is not None:
            tally.add(row.family, row.peer)
            continue
        protocol = _protocol(process, name)
        if protocol is not None:
            tally.add(*_rowless(protocol))


class TcpClasses:
    """TCP rows by class, as the kernel sends them: of ten thousand only a few are formatted as text."""

    def __init__(self, listening: set[bytes], shared: set[bytes], ephemeral: bytes) -> None:
        self._listening = listening
        self._shared = shared
        self._ephemeral = ephemeral
        self._counts: Counter[str] = Counter()
        self._states: Counter[int] = Counter()
        self._outbound: Counter[bytes] = Counter()
        self._examples: dict[str | bytes, dict[object, Raw]] = {}  # by class; outbound by remote port

    def add(self, rows: Sequence[Raw | None]) -> None:
        """The sockets of one process; None is skipped. From here on lists are processed, because a call per row would
        cost as much as reading its link."""
        listening, shared, ephemeral = self._listening, self._shared, self._ephemeral
        served: list[Raw] = []
        special: list[Raw] = []
        outbound: dict[bytes, list[Raw]] = {}
        for raw in rows:
            if raw is None:
                continue
            _, state, local, remote, _, _ = raw
            if state in (CLOSE_WAIT, LISTEN):
                special.append(raw)
            # The listening socket may be closed already. The connection is inbound if its local port is a served
            # port, or has several connections, and the peer's is ephemeral. Big-endian bytes compare like numbers.
            elif local in listening or (remote >= ephemeral and (local < ephemeral or local in shared)):
                served.append(raw)
            elif remote in outbound:
                outbound[remote].append(raw)
            else:
                outbound[remote] = [raw]
        self._count("tcp-listen", [raw for raw in special if raw[1] == LISTEN], _LOCAL)
        self._count("close-wait", [raw for raw in special if raw[1] == CLOSE_WAIT], _REMOTE)
        self._count("tcp-in", served, _REMOTE)
        for remote, connections in outbound.items():
            self._states.update(map(_STATE, connections))
            self._outbound[remote] += len(connections)
            # All rows have the same port, so one row per host is enough.
            hosts = dict(zip(map(_HOST, connections), connections))  # noqa: B905 - as above
            self._keep(remote, hosts.values(), _REMOTE)

    def _count(self, kind: str, rows: list[Raw], difference: Callable[[Raw], object]) -> None:
        if rows:
            self._states.update(map(_STATE, rows))
            self._counts[kind] += len(rows)
            self._keep(kind, rows, difference)

    def _keep(self, kind: str | bytes, rows: Iterable[Raw], difference: Callable[[Raw], object]) -> None:
        """Keep the first few examples that differ in what ``difference`` returns."""
        kept = self._examples.setdefault(kind, {})
        for raw in rows:
            if len(kept) == EXAMPLES:
                break
            kept.setdefault(difference(raw), raw)

    def add_to(self, tally: Tally, states: Counter[str]) -> None:
        """Add everything to the tally and the states."""
        for state, count in self._states.items():
            states[TCP_STATES.get(state, "unknown")] += count
        for kind, count in self._counts.items():
            _add_class(tally, kind, count, self._examples[kind])
        # The ports with most connections are named, in an order that does not depend on the kernel's.
        ranked = sorted(self._outbound, key=lambda remote: (-self._outbound[remote], remote))
        for at, remote in enumerate(ranked):
            kind = f"tcp-out:{port(remote)}" if at < MAX_PORTS else OTHER_PORTS
            _add_class(tally, kind, self._outbound[remote], self._examples[remote])


_STATE, _LOCAL, _HOST = operator.itemgetter(1), operator.itemgetter(2), operator.itemgetter(4)
_REMOTE = operator.itemgetter(4, 3)


def _add_class(tally: Tally, kind: str, count: int, examples: Mapping[object, Raw]) -> None:
    tally.counts[kind] += count
    for raw in examples.values():
        tally.add(kind, f"listens on port {port(raw[2])}" if raw[1] == LISTEN else peer(raw), 0)


def _ephemeral_from() -> bytes:
    """The first port the kernel gives to clients (ip(7): ip_local_port_range), big-endian."""
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:  # noqa: PTH123
            return int(file.read().split()[0]).to_bytes(2, "big")
    except (OSError, ValueError, OverflowError):
        return (32768).to_bytes(2, "big")


def _protocol(process: HotProcess, name: str) -> str | None:
    """The protocol of a socket without a row (sockfs answers getxattr(2), net/socket.c); ``""`` when it is not known,
    None when the descriptor is closed already."""
    try:
        # Through the open directory, so that a reused pid cannot be read.
        where = f"/proc/self/fd/{process.dir}/{process.living_task()}fd/{name}"
        raw = os.getxattr(where, "system.sockprotoname")
    except PROCESS_EXITED:
        return None
    except OSError:
        return ""
    return raw.rstrip(b"\0").decode(errors="replace")


def _rowless(protocol: str) -> tuple[str, str]:
    """Class and example. Unbound, bound-only and shut-down sockets are in no table of the kernel."""
    if protocol in _BY_PROTOCOL:
        # For example a socket of a socketpair(2): it exists, but has neither a name nor a row.
        return _BY_PROTOCOL[protocol], f"{_BY_PROTOCOL[protocol]} without a name"
    if not protocol or _TABLED.match(protocol):
        return "rowless-socket", f"{protocol or 'unknown'}: never connected, or shut down but not closed"
    return protocol.lower().replace("af_", "", 1), protocol
