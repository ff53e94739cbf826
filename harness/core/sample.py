"""Readings of a process tree. A gap is data; it is never a zero and never an old value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """One process of the tree at one moment. ``None``: could not be read."""

    pid: int
    name: str
    fds: int | None
    threads: int | None
    rss: int | None  # bytes
    zombie: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """One hot-lane reading, summed over the tree.

    at: seconds since the run's start (monotonic). fds, threads, processes: counts.
    rss: bytes. cpu: seconds of CPU used since the tree's start. switches: context switches
    so far, of main threads (proc(5): ``status`` knows no others). faults: page faults so far.
    gap: why nothing could be read (then all else is None). events: what happened since the last
    reading: processes that came, ended or executed another program. per_process: the root first; of a tree of more
    than 100 processes those with most descriptors.
    """

    at: float
    fds: int | None = None
    threads: int | None = None
    processes: int | None = None
    rss: int | None = None
    cpu: float | None = None
    switches: int | None = None
    faults: int | None = None
    zombies: int | None = None
    gap: str | None = None
    per_process: tuple[ProcessSample, ...] = ()
    events: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Census:
    """Everything a tree holds, classified, at one quiescent moment.

    fds: descriptor class → count; outbound TCP carries its remote port (``tcp-out:9797``).
    sockets: TCP state → count. threads: name → count. mappings: kind → count.
    memory: ``anonymous``, ``uss``, ``rss`` → bytes. examples: class → a few descriptions.
    unreadable: what could not be read, each with the reason. switches: context switches of every
    thread so far. per_process: pid → descriptors, since RLIMIT_NOFILE holds per process; empty where one could
    not be counted.
    """

    at: float
    fds: Mapping[str, int] = field(default_factory=dict)
    sockets: Mapping[str, int] = field(default_factory=dict)
    threads: Mapping[str, int] = field(default_factory=dict)
    mappings: Mapping[str, int] = field(default_factory=dict)
    memory: Mapping[str, int] = field(default_factory=dict)
    processes: int = 0
    zombies: int = 0
    cpu: float | None = None
    examples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()
    switches: int | None = None
    per_process: Mapping[str, int] = field(default_factory=dict)
