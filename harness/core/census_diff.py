"""Turns a census into levels, and two censuses into what was added between them."""

from __future__ import annotations

from dataclasses import dataclass

from harness.core.metric import Key
from harness.core.sample import Census

UNCLASSIFIED = "unclassified"  # descriptors that may be counted but not read


def levels(census: Census) -> dict[Key, float]:
    """Every count of a census as a level: totals have kind ``""``. What could not be read is absent. Threads and
    mappings have only their totals as levels, because their names change without any growth.
    """
    found: dict[Key, float] = {}
    if census.fds or not any(reason.startswith("fds") for reason in census.unreadable):
        found[Key("fds")] = float(sum(census.fds.values()))
        found.update({Key("fds", kind): float(count) for kind, count in census.fds.items()})
    if census.threads:
        found[Key("threads")] = float(sum(census.threads.values()))
    if census.processes:
        found[Key("processes")] = float(census.processes)
        found[Key("processes", "zombie")] = float(census.zombies)
    if census.mappings:
        found[Key("mappings")] = float(sum(census.mappings.values()))
    found.update({Key("memory", kind): float(size) for kind, size in census.memory.items()})
    return found


@dataclass(frozen=True, slots=True)
class Growth:
    """One class that grew between two censuses, with a few examples of what is new.

    by: a count; bytes where ``key.metric`` is ``memory``.
    """

    key: Key
    by: float
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        amount = f"+{self.by / 1024:.0f} KiB" if self.key.metric == "memory" else f"+{self.by:g}"
        shown = f" ({'; '.join(self.examples)})" if self.examples else ""
        return f"{amount} {self.key}{shown}"


def difference(before: Census, after: Census) -> list[Growth]:
    """The growth from ``before`` to ``after`` by class, largest first; memory, which has another unit, comes
    last.

    Left out are metrics that one of the two could not read, and totals whose kinds are listed.
    """
    classified = not (UNCLASSIFIED in before.fds or UNCLASSIFIED in after.fds)
    old, new = _detailed(before, classified), _detailed(after, classified)
    readable = {key.metric for key in levels(before)} & {key.metric for key in levels(after)}
    # A class that is new in a census was empty before. Memory of a kind that is new was not read before.
    grown = [
        Growth(key, value - old.get(key, 0.0), _fresh(key, before, after))
        for key, value in new.items()
        if value > old.get(key, 0.0) and key.metric in readable and (key.metric != "memory" or key in old)
    ]
    return sorted(grown, key=lambda growth: (growth.key.metric == "memory", -growth.by, growth.key))


def _detailed(census: Census, classified: bool) -> dict[Key, float]:
    """Levels, with threads by name and mappings by kind; descriptors by class where both have them."""
    found = {
        key: value
        for key, value in levels(census).items()
        if key.metric not in ("fds", "threads", "mappings")
        or (key.metric == "fds" and bool(key.kind) is classified)
    }
    found.update({Key("threads", name): float(count) for name, count in census.threads.items()})
    found.update({Key("mappings", kind): float(count) for kind, count in census.mappings.items()})
    return found


def _fresh(key: Key, before: Census, after: Census) -> tuple[str, ...]:
    """Examples that were not there before; all of them where none is new."""
    name = key.kind if key.metric == "fds" else str(key)
    now, then = after.examples.get(name, ()), before.examples.get(name, ())
    return tuple(example for example in now if example not in then) or tuple(now)
