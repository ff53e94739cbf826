"""Recipes: a pattern of what grew, per unit of the driver, turned into a sentence.

Fingerprints of libzmq 4.3.5 (measured): a context with its first socket is +4 eventfd, +2 eventpoll and
+2 threads; each DEALER is +1 eventfd, and +1 outbound TCP once connected.

Each recipe is one row, and is tested in tests/edges/test_probe_recipes.py with a process that leaks in this way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.core.metric import Key

TOLERANCE = 0.25  # share by which a ratio between two classes may miss its pattern
COUNTED = ("fds", "threads", "processes")  # metrics that ``alone`` refers to


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """pattern: class (``fds/eventfd``; ``fds/tcp-out`` stands for any port) → count relative to the others. beside:
    classes that must have grown too, by any amount; optional: classes that may have. alone: nothing else among
    descriptors, threads and processes may have grown. exact: the counts themselves must match, which requires a rate
    per unit of the driver: twelve pipes may be six pairs. brings: it includes whatever grew with it, as a process has
    descriptors and threads."""

    name: str
    pattern: Mapping[str, float]
    sentence: str
    alone: bool = False
    beside: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    exact: bool = False
    brings: bool = False


# Sockets of clients that have left, of an MPTCP listener and of any other.
UNNOTICED = ("unnoticed-departure-mptcp", "unnoticed-departure")
DEPARTURE = (
    "the client's departure is not noticed: its socket stays open, in CLOSE_WAIT after a FIN, and without a connection "
    "after a reset"
)

# The first row that matches is used, so rows that explain more classes come first.
RECIPES: tuple[Recipe, ...] = (
    Recipe(
        "zeromq-context",
        {"fds/eventpoll": 2, "fds/eventfd": 4, "threads": 2},
        "a ZeroMQ context made for each call and never ended",
        optional=("fds/tcp-out",),
    ),
    Recipe(
        "zeromq-worker",
        {"fds/eventfd": 1, "fds/tcp-out": 1, "threads": 1},
        "a worker thread that never returns, and the ZeroMQ socket it holds",
    ),
    Recipe(
        "zeromq-socket",
        {"fds/eventfd": 1, "fds/tcp-out": 1},
        "a ZeroMQ socket opened and never closed",
    ),
    Recipe(
        "event-loop-thread",
        {"fds/eventpoll": 1, "fds/unix": 2, "threads": 1},
        "a thread with an asyncio event loop of its own, never stopped",
    ),
    Recipe("event-loop", {"fds/eventpoll": 1, "fds/unix": 2}, "an asyncio event loop made and never closed"),
    Recipe(
        "gevent-hub",
        {"fds/eventpoll": 1, "fds/eventfd": 1, "threads": 1},
        "a thread with a gevent hub of its own, never destroyed",
    ),
    Recipe(
        "zombie-pipe",
        {"processes/zombie": 1},
        "a child process has exited; it is never waited for, and the pipes to it stay open",
        beside=("fds/pipe",),
    ),
    Recipe("zombie", {"processes/zombie": 1}, "a child process has exited and is never waited for"),
    Recipe("child-process", {"processes": 1}, "a child process is started and never exits", brings=True),
    # After a FIN such a socket is in CLOSE_WAIT; after a RST the kernel has no connection for it any more. A handler
    # that never ends may keep its thread.
    Recipe(
        UNNOTICED[0],
        {"fds/mptcp": 1},
        DEPARTURE,
        beside=("fds/close-wait",),
        optional=("fds/rowless-socket", "threads"),
    ),
    Recipe(
        UNNOTICED[1], {"fds/rowless-socket": 1}, DEPARTURE, beside=("fds/close-wait",), optional=("threads",)
    ),
    Recipe(
        "close-wait-worker",
        {"fds/close-wait": 1, "threads": 1},
        "a worker thread is stuck after the other side has left, and keeps the connection",
    ),
    Recipe(
        "inbound-worker",
        {"fds/tcp-in": 1, "threads": 1},
        "a worker thread keeps serving a connection that its client no longer uses",
    ),
    Recipe(
        "outbound-worker",
        {"fds/tcp-out": 1, "threads": 1},
        "a worker thread waits for ever for an answer of another service",
    ),
    Recipe(
        "close-wait",
        {"fds/close-wait": 1},
        "the handler does not close after the client leaves: the other side has closed, the service has not",
    ),
    Recipe(
        "rowless-socket",
        {"fds/rowless-socket": 1},
        "a socket that was never connected, or is shut down, is still held open",
    ),
    Recipe(
        "mptcp",
        {"fds/mptcp": 1},
        "an MPTCP socket, as Go listens with since 1.24, is held open after its client has left",
    ),
    Recipe("inbound", {"fds/tcp-in": 1}, "connections are kept open after the client has left"),
    Recipe("outbound", {"fds/tcp-out": 1}, "a connection to another service is opened and never closed"),
    Recipe("listener", {"fds/tcp-listen": 1}, "a listening socket is opened and never closed"),
    Recipe("udp", {"fds/udp": 1}, "a UDP socket, such as that of a name lookup, is opened and never closed"),
    Recipe("inotify", {"fds/inotify": 1}, "a file watcher is made and never closed"),
    Recipe(
        "shared-queue",
        {"fds/pipe": 2, "mappings": 3},
        "a queue between processes (a pipe and its semaphores) is made and never released",
    ),
    Recipe("pipe-pair", {"fds/pipe": 2}, "a pipe is opened and neither end is closed", exact=True),
    Recipe("unix-pair", {"fds/unix": 2}, "a pair of Unix sockets is opened and never closed", exact=True),
    Recipe("unix", {"fds/unix": 1}, "a Unix socket is opened and never closed"),
    Recipe("netlink", {"fds/netlink": 1}, "a netlink socket is opened and never closed"),
    Recipe(
        "packet", {"fds/packet": 1}, "a packet socket, such as that of a capture, is opened and never closed"
    ),
    Recipe("raw", {"fds/raw": 1}, "a raw socket, such as that of a ping, is opened and never closed"),
    Recipe("timerfd", {"fds/timerfd": 1}, "a timer is made and never closed"),
    Recipe("signalfd", {"fds/signalfd": 1}, "a signalfd is made and never closed"),
    Recipe("pidfd", {"fds/pidfd": 1}, "a process is watched by a pidfd that is never closed"),
    Recipe("io-uring", {"fds/io_uring": 1}, "an io_uring is set up and never closed"),
    Recipe(
        "deleted-file",
        {"fds/deleted-file": 1},
        "a file is deleted but still held open: its space is not freed",
    ),
    Recipe("memfd", {"fds/memfd": 1}, "a memory file is made and never closed"),
    Recipe("directory", {"fds/directory": 1}, "a directory is opened and never closed"),
    Recipe("device", {"fds/device": 1}, "a device, such as a terminal, is opened and never closed"),
    Recipe("file", {"fds/file": 1}, "a file is opened and never closed"),
    Recipe("eventpoll", {"fds/eventpoll": 1}, "an epoll instance is made and never closed"),
    Recipe(
        "eventfd",
        {"fds/eventfd": 1},
        "an eventfd is made and never closed, such as that of a ZeroMQ socket that never connected",
    ),
    Recipe("pipe", {"fds/pipe": 1}, "a pipe, or one end of it, is never closed"),
    Recipe("blocked-worker", {"threads": 1}, "a blocked worker: a thread that never ends", alone=True),
    Recipe("mapping", {"mappings": 1}, "memory is mapped and never unmapped", alone=True),
)


def match(rates: Mapping[Key, float], *, each: bool = True) -> Recipe | None:
    """The first recipe whose classes grew in its proportions; None when none fits.

    rates: growth per unit of the driver; plain growth where ``each`` is False: then only proportions are significant,
    and recipes of exact counts are skipped.
    """
    return next(iter(_matches(rates, each)), None)


def explain(rates: Mapping[Key, float], *, each: bool = True) -> dict[Key, Recipe]:
    """Each class that grew → the recipe that explains it; classes that none explains are absent.

    Several simultaneous causes are separated: what one recipe explains is removed before the next one is searched.
    """
    found: dict[Key, Recipe] = {}
    for recipe, names in _matches(rates, each).items():
        found.update({key: recipe for key, rate in rates.items() if rate > 0 and _name(key) in names})
    # A thread brings its stack, a process all its mappings: they are not a cause of their own.
    brought = next((r for r in found.values() if {"threads", "processes"} & set(r.pattern)), None)
    if brought:
        found.update({k: brought for k, rate in rates.items() if k.metric == "mappings" and rate > 0})
    return found


def _matches(rates: Mapping[Key, float], each: bool) -> dict[Recipe, frozenset[str]]:
    """Each recipe that fits → the classes it explains."""
    grown = _merged(rates)
    found: dict[Recipe, frozenset[str]] = {}
    left = dict(grown)
    for recipe in RECIPES:
        if (each or not recipe.exact) and _fits(recipe, left, grown):
            wide = left if recipe.brings else {*recipe.pattern, *recipe.beside, *recipe.optional}
            found[recipe] = frozenset(wide)
            left = {name: rate for name, rate in left.items() if name not in wide}
    return found


def _name(key: Key) -> str:
    """The class as patterns call it: outbound connections to all ports are one, threads of all names too."""
    if key.metric == "fds" and key.kind.startswith("tcp-out"):
        return "fds/tcp-out"
    return key.metric if key.metric in ("threads", "mappings") else str(key)


def _merged(rates: Mapping[Key, float]) -> dict[str, float]:
    """Growth by class name, without the totals that repeat it."""
    merged: dict[str, float] = {}
    totals = {key.metric for key in rates if not key.kind}
    for key, rate in rates.items():
        if rate <= 0 or (key.metric == "fds" and not key.kind):
            continue
        if key.metric in ("threads", "mappings") and key.kind and key.metric in totals:
            continue
        name = _name(key)
        merged[name] = merged.get(name, 0.0) + rate
    return merged


def _fits(recipe: Recipe, left: Mapping[str, float], grown: Mapping[str, float]) -> bool:
    unit = min(left.get(name, 0.0) / count for name, count in recipe.pattern.items())
    if unit <= 0 or (recipe.exact and abs(unit - 1) > TOLERANCE):
        return False
    if any(abs(left[name] / count / unit - 1) > TOLERANCE for name, count in recipe.pattern.items()):
        return False
    if any(name not in left for name in recipe.beside):
        return False
    counted = {name for name in grown if name.startswith(COUNTED)}
    return not (recipe.alone and counted - set(recipe.pattern) - set(recipe.beside))


def sentence(rates: Mapping[Key, float], *, per: str = "connection") -> str:
    """The growth in words: ``+1 eventfd and +1 tcp-out to port 9797 per connection: a ZeroMQ socket
    opened and never closed``; several causes one after the other. "" when nothing grew. per: the unit of the rates; ""
    for plain amounts."""
    recipes = explain(rates, each=bool(per))
    grown = {key: rate for key, rate in rates.items() if rate > 0 and not _repeats(key, rates)}
    parts = []
    for recipe in dict.fromkeys(recipes.values()):
        named = {
            key: rate for key, rate in grown.items() if recipes.get(key) is recipe and _names(recipe, key)
        }
        if named:
            parts.append(f"{_amounts(named, per)}: {recipe.sentence}")
    # Memory and mappings grow with everything else, so they are named only if nothing else grew.
    rest = {key: rate for key, rate in grown.items() if key not in recipes}
    noteworthy = {key: rate for key, rate in rest.items() if key.metric not in ("memory", "mappings")}
    if noteworthy or (rest and not parts):
        parts.append(_amounts(noteworthy or rest, per))
    return "; ".join(parts)


def _names(recipe: Recipe, key: Key) -> bool:
    """Whether the recipe mentions the key. Mappings of a thread, and resources of a process, are not mentioned."""
    return _name(key) in {*recipe.pattern, *recipe.beside, *recipe.optional}


def _amounts(rates: Mapping[Key, float], per: str) -> str:
    ranked = sorted(rates.items(), key=lambda item: (-item[1], item[0]))
    return _joined([_amount(key, rate) for key, rate in ranked]) + (f" per {per}" if per else "")


def _repeats(key: Key, rates: Mapping[Key, float]) -> bool:
    """Whether the key is a total whose kinds are mentioned as well."""
    return not key.kind and any(
        other.metric == key.metric and other.kind and other.kind != "zombie" and rate > 0
        for other, rate in rates.items()
    )


_ONE = {"fds": "descriptor", "threads": "thread", "processes": "process", "mappings": "mapping"}
_MANY = {**{name: f"{one}s" for name, one in _ONE.items()}, "processes": "processes"}


def _amount(key: Key, rate: float) -> str:
    if key.metric == "memory":
        return f"+{rate / 1024:.1f} KiB of {key.kind} memory"
    number = f"+{rate:.3g}" if rate < 1000 else f"+{rate:.0f}"
    kind, _, port = key.kind.partition(":")
    if key.metric == "fds" and kind:
        return f"{number} {kind} to port {port}" if port else f"{number} {kind}"
    word = (_ONE if rate == 1 else _MANY).get(key.metric, key.metric)
    if key.metric == "threads" and kind:
        return f"{number} {word} named {kind}"
    return f"{number} {kind} {word}" if kind else f"{number} {word}"


def _joined(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
