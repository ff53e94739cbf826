"""The census: every descriptor of a tree classified, at a quiescent moment."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

from harness.core.sample import Census
from harness.probe.hot import HotProcess
from harness.probe.sockets import Row, table
from harness.probe.tree import descendants

EXAMPLES = 3
_ANONYMOUS = {
    "eventfd": "eventfd", "eventpoll": "eventpoll", "timerfd": "timerfd", "signalfd": "signalfd",
    "inotify": "inotify", "pidfd": "pidfd", "io_uring": "io_uring", "fanotify": "fanotify",
    "userfaultfd": "userfaultfd", "perf_event": "perf-event", "bpf-map": "bpf", "bpf-prog": "bpf",
}  # fmt: skip
_KIND = re.compile(r"anon_inode:\[?([\w-]+)")


def _socket_class(row: Row | None, listening: set[int]) -> str:
    """tcp-in and tcp-out differ by whether the local port is one that the tree listens on."""
    if row is None:
        return "rowless-socket"
    if row.family != "tcp":
        return row.family
    if row.state == "listen":
        return "tcp-listen"
    if row.state == "close-wait":
        return "close-wait"
    return "tcp-in" if row.local in listening else f"tcp-out:{row.remote}"


def _file_class(link: str, directory: int, name: str) -> str:
    if link.startswith("pipe:"):
        return "pipe"
    kind = _KIND.match(link)
    if kind:
        return _ANONYMOUS.get(kind[1], kind[1])
    if link.startswith("/memfd:"):
        return "memfd"
    if link.startswith("pidfd:"):
        return "pidfd"
    if link.startswith(("/dev/", "pts/")):
        return "device"
    if link.endswith(" (deleted)"):
        return "deleted-file"
    try:
        mode = os.stat(name, dir_fd=directory).st_mode
    except OSError:
        return "file"
    return "directory" if mode & 0o170000 == 0o040000 else "file"


class _Tally:
    """Counts with a few examples of each class."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}

    def add(self, kind: str, example: str) -> None:
        self.counts[kind] += 1
        kept = self.examples.setdefault(kind, [])
        if len(kept) < EXAMPLES:
            kept.append(example)


def _links(pid: int) -> list[tuple[int, str, int]]:
    """(open directory, link text, number) of each descriptor; raises OSError when not permitted."""
    directory = os.open(f"/proc/{pid}/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    found = []
    try:
        for name in os.listdir(directory):  # noqa: PTH208 - by descriptor
            try:
                found.append((directory, os.readlink(name, dir_fd=directory), int(name)))
            except OSError:
                continue  # closed between listing and reading
    except BaseException:
        os.close(directory)
        raise
    return found


def _descriptors(pids: list[int], unreadable: list[str]) -> tuple[_Tally, Counter[str]]:
    tally = _Tally()
    states: Counter[str] = Counter()
    rows = table(pids[0])
    linked = {}
    for pid in pids:
        try:
            linked[pid] = _links(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
        except OSError as error:
            unreadable.append(f"fds of {pid}: {error.strerror}")
    mine = {
        int(link[8:-1]) for links in linked.values() for _, link, _ in links if link.startswith("socket:[")
    }
    listening = {row.local for inode, row in rows.items() if row.state == "listen" and inode in mine}
    for links in linked.values():
        for directory, link, number in links:
            if link.startswith("socket:["):
                row = rows.get(int(link[8:-1]))
                if row and row.family == "tcp":
                    states[row.state] += 1
                tally.add(_socket_class(row, listening), row.peer if row else link)
            else:
                tally.add(_file_class(link, directory, str(number)), link)
        if links:
            os.close(links[0][0])
    return tally, states


def _mappings(pid: int, kinds: Counter[str]) -> None:
    for line in Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines():
        name = line[73:].strip() if len(line) > 73 else ""
        if not name:
            kinds["anonymous"] += 1
        elif name.startswith("["):
            kinds[name.strip("[]").partition(":")[0]] += 1
        else:
            kinds["deleted" if name.endswith("(deleted)") else "file"] += 1


def _rollup(pid: int, memory: Counter[str]) -> None:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, value = line.partition(":")
        size = int(value.split()[0]) * 1024
        if name == "Anonymous":
            memory["anonymous"] += size
        elif name in ("Private_Clean", "Private_Dirty"):
            memory["uss"] += size
        elif name == "Rss":
            memory["rss"] += size


def census(pid: int, *, at: float) -> Census:
    """Classify everything the tree of ``pid`` holds. What may not be read is named, never a zero."""
    unreadable: list[str] = []
    pids = descendants(pid)
    zombies = 0
    alive: list[int] = []
    cpu = 0.0
    for each in pids:
        try:
            process = HotProcess(each)
        except OSError:
            continue
        reading = process.read()
        process.close()
        if reading is None:
            continue
        cpu += reading.cpu
        if reading.zombie:
            zombies += 1
        else:
            alive.append(each)
    if not alive:
        return Census(at=at, unreadable=("fds: the process has ended",))
    tally, states = _descriptors(alive, unreadable)
    threads = _Tally()
    mappings: Counter[str] = Counter()
    memory: Counter[str] = Counter()
    for each in alive:
        try:
            _mappings(each, mappings)
        except OSError as error:
            unreadable.append(f"mappings of {each}: {error.strerror}")
        try:
            _rollup(each, memory)
        except OSError as error:
            unreadable.append(f"memory of {each}: {error.strerror}")
        try:
            for task in Path(f"/proc/{each}/task").iterdir():
                threads.add((task / "comm").read_text(errors="replace").strip(), task.name)
        except OSError:
            pass
    if any(reason.startswith("memory") for reason in unreadable):
        memory.clear()
    if any(reason.startswith("mappings") for reason in unreadable):
        mappings.clear()
    if any(reason.startswith("fds") for reason in unreadable):
        tally = _Tally()
    examples = {kind: tuple(kept) for kind, kept in tally.examples.items()}
    return Census(
        at=at,
        fds=dict(tally.counts),
        sockets=dict(states),
        threads=dict(threads.counts),
        mappings=dict(mappings),
        memory=dict(memory),
        processes=len(alive),
        zombies=zombies,
        cpu=cpu,
        examples=examples,
        unreadable=tuple(unreadable),
    )
