"""Recipes: a pattern of what grew, per unit of the driver, turned into a sentence.

Fingerprints of libzmq 4.3.5 (measured): a context with its first socket is +4 eventfd, +2 eventpoll and
+2 threads; each DEALER is +1 eventfd, and +1 outbound TCP once connected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.core.metric import Key

TOLERANCE = 0.25  # share by which a ratio between two classes may miss its pattern


@dataclass(frozen=True, slots=True)
class Recipe:
    """pattern: class (``fds/eventfd``; ``tcp-out`` stands for any port) → count relative to the
    others. alone: nothing else among fds and threads may have grown."""

    name: str
    pattern: Mapping[str, float]
    sentence: str
    alone: bool = False


RECIPES: tuple[Recipe, ...] = (
    Recipe(
        "zeromq-context",
        {"fds/eventpoll": 2, "fds/eventfd": 4, "threads": 2},
        "a ZeroMQ context made for each call and never ended",
    ),
    Recipe(
        "zeromq-socket",
        {"fds/eventfd": 1, "fds/tcp-out": 1},
        "a ZeroMQ socket opened and never closed",
    ),
    Recipe(
        "zeromq-socket-unconnected",
        {"fds/eventfd": 1},
        "an eventfd, such as of a ZeroMQ socket that never connected, opened and never closed",
        alone=True,
    ),
    Recipe("event-loop", {"fds/eventpoll": 1, "fds/unix": 2}, "an asyncio event loop made and never closed"),
    Recipe("close-wait", {"fds/close-wait": 1}, "the handler does not close after the client leaves"),
    Recipe(
        "rowless-socket", {"fds/rowless-socket": 1}, "a socket whose peer is long gone is still held open"
    ),
    Recipe("inbound", {"fds/tcp-in": 1}, "connections are kept open after the client has left"),
    Recipe("outbound", {"fds/tcp-out": 1}, "a connection to another service is opened and never closed"),
    Recipe(
        "child-process", {"fds/pipe": 1, "processes": 1}, "a child process is started and never waited for"
    ),
    Recipe("zombie", {"processes/zombie": 1}, "a child process has ended and is never waited for"),
    Recipe("pipe", {"fds/pipe": 1}, "a pipe is opened and never closed"),
    Recipe("unix", {"fds/unix": 1}, "a Unix socket is opened and never closed"),
    Recipe("timerfd", {"fds/timerfd": 1}, "a timer is made and never closed"),
    Recipe("inotify", {"fds/inotify": 1}, "a file watcher is made and never closed"),
    Recipe(
        "deleted-file",
        {"fds/deleted-file": 1},
        "a file is deleted but still held open: its space is not freed",
    ),
    Recipe("file", {"fds/file": 1}, "a file is opened and never closed"),
    Recipe("memfd", {"fds/memfd": 1}, "a memory file is made and never closed"),
    Recipe("eventpoll", {"fds/eventpoll": 1}, "an epoll instance is made and never closed"),
    Recipe("blocked-worker", {"threads": 1}, "a worker thread that never ends", alone=True),
)


def _merged(rates: Mapping[Key, float]) -> dict[str, float]:
    """Rates by pattern name: outbound connections to all ports are one class."""
    merged: dict[str, float] = {}
    for key, rate in rates.items():
        if rate <= 0 or (key.metric == "fds" and not key.kind):
            continue
        name = "fds/tcp-out" if key.metric == "fds" and key.kind.startswith("tcp-out") else str(key)
        merged[name] = merged.get(name, 0.0) + rate
    return merged


def match(rates: Mapping[Key, float]) -> Recipe | None:
    """The first recipe whose classes grew in its proportions; None when none fits.

    rates: growth per unit of the driver (or plain growth: only proportions matter).
    """
    grown = _merged(rates)
    for recipe in RECIPES:
        unit = min((grown.get(name, 0.0) / count for name, count in recipe.pattern.items()), default=0.0)
        if unit <= 0:
            continue
        if any(abs(grown[name] / count / unit - 1) > TOLERANCE for name, count in recipe.pattern.items()):
            continue
        counted = {name for name in grown if name.startswith(("fds/", "threads", "processes"))}
        if recipe.alone and counted - set(recipe.pattern):
            continue
        return recipe
    return None
