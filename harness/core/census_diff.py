"""From a census to levels, and from two censuses to what is there now that was not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.core.metric import Key
from harness.core.sample import Census


def levels(census: Census) -> dict[Key, float]:
    """Every count of a census as a level: totals have kind ``""``. What could not be read is absent."""
    found: dict[Key, float] = {}
    if census.fds or "fds" not in " ".join(census.unreadable):
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
    """One class that grew between two censuses, with a few examples from the later one."""

    key: Key
    by: float
    examples: tuple[str, ...]


def difference(before: Census, after: Census) -> list[Growth]:
    """What is there now that was not, largest growth first. Memory is left out: its unit differs."""
    old, new = levels(before), levels(after)
    grown = [
        Growth(key, new[key] - old.get(key, 0.0), after.examples.get(key.kind, ()))
        for key in new
        if key.metric != "memory" and new[key] > old.get(key, 0.0)
    ]
    return sorted(grown, key=lambda growth: (-growth.by, growth.key))


def steady(values: Mapping[Key, float]) -> dict[Key, float]:
    """Only the kinds, without the totals that repeat them."""
    return {key: value for key, value in values.items() if key.kind}
