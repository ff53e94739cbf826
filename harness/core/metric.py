"""The metrics, their units, and how each is judged."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Judged(StrEnum):
    """Which test a metric goes through (docs/detector.md)."""

    EXACT = "exact"  # a count that returns to the same integer: sequential test
    NOISY = "noisy"  # a series with its own noise: sign test after warm-up


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric by its published name (`metric` in the JSON)."""

    name: str
    unit: str
    judged: Judged


METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        Metric("fds", "fds", Judged.EXACT),
        Metric("threads", "threads", Judged.EXACT),
        Metric("processes", "processes", Judged.EXACT),
        Metric("mappings", "mappings", Judged.EXACT),
        Metric("tasks", "tasks", Judged.EXACT),
        Metric("broker-peers", "peers", Judged.EXACT),
        Metric("memory", "B", Judged.NOISY),
        Metric("idle-cpu", "cores", Judged.NOISY),
    )
}

# Kinds of `memory` that are exact counts because a runtime counter reads them after a collection.
EXACT_MEMORY_KINDS = frozenset({"objects", "blocks", "heap-bytes", "external-bytes"})


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """A metric and which sort of it: ``Key("fds", "eventfd")``; kind ``""`` is the total."""

    metric: str
    kind: str = ""

    def __str__(self) -> str:
        return f"{self.metric}/{self.kind}" if self.kind else self.metric

    @classmethod
    def parse(cls, text: str) -> Key:
        """Inverse of ``str``: ``"fds/tcp-out:9797"`` → ``Key("fds", "tcp-out:9797")``."""
        metric, _, kind = text.partition("/")
        return cls(metric, kind)

    @property
    def judged(self) -> Judged:
        """How this key is judged; memory counted from inside is exact."""
        if self.metric == "memory" and self.kind in EXACT_MEMORY_KINDS:
            return Judged.EXACT
        metric = METRICS.get(self.metric)
        return metric.judged if metric else Judged.NOISY

    @property
    def unit(self) -> str:
        """Unit of a level of this key."""
        if self.metric == "memory" and self.kind in ("objects", "blocks"):
            return self.kind
        metric = METRICS.get(self.metric)
        return metric.unit if metric else self.metric


# Causes come before consequences: descriptors, threads and tasks first, then live objects, then the broker's view,
# memory and the scheduler.
CAUSES = ("fds", "threads", "processes", "tasks")
LIVE_MEMORY_RANKS = {"objects": 1, "blocks": 2, "heap-bytes": 3, "external-bytes": 3}
FIRST_CONSEQUENCE_RANK = 4  # the first rank of metrics that only follow from others
CONSEQUENCE_RANKS = {"broker-peers": 4, "memory": 5, "mappings": 6, "idle-cpu": 7}


def rank(key: Key) -> int:
    """Where a finding stands among others: causes before consequences."""
    if key.metric in CAUSES:
        return 0
    if key.metric == "memory" and key.kind in LIVE_MEMORY_RANKS:
        return LIVE_MEMORY_RANKS[key.kind]
    return CONSEQUENCE_RANKS.get(key.metric, 0)
