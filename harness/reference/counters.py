"""The service's own counts, for cross-checking those that others measure from outside."""

from __future__ import annotations

import threading
from collections import Counter


class Counters:
    """Named counts that many threads add to. Names are ``group.name``."""

    NAMES = (
        "checks.started",
        "checks.finished",
        "checks.failed",
        "checks.timeouts",
        "checks.refused",
        "sockets.opened",
        "sockets.closed",
        "contexts.opened",
        "contexts.closed",
        "streams.opened",
        "streams.closed",
        "events.sent",
    )

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter(dict.fromkeys(self.NAMES, 0))

    def add(self, name: str, amount: int = 1) -> None:
        """Add to one count."""
        with self._lock:
            self._counts[name] += amount

    def __getitem__(self, name: str) -> int:
        with self._lock:
            return self._counts[name]

    def flat(self) -> dict[str, int]:
        """All counts as they are now."""
        with self._lock:
            return dict(self._counts)

    def grouped(self) -> dict[str, dict[str, int]]:
        """The counts as ``/debug/counters`` shows them, with the derived counts ``open`` and ``running``."""
        groups: dict[str, dict[str, int]] = {}
        for name, count in self.flat().items():
            group, _, key = name.partition(".")
            groups.setdefault(group, {})[key] = count
        for group in ("sockets", "contexts", "streams"):
            groups[group]["open"] = groups[group]["opened"] - groups[group]["closed"]
        checks = groups["checks"]
        checks["running"] = checks["started"] - checks["finished"]
        return groups
