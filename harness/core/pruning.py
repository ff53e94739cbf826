"""Which runs of a history may be removed."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from harness.core.history import RunEntry
from harness.core.verdict import Outcome


def prunable(
    entries: Sequence[RunEntry],
    now: datetime.datetime,
    *,
    keep_days: float | None = None,
    keep_last: int | None = None,
    keep_failures: bool = False,
) -> list[RunEntry]:
    """The entries that no rule keeps, oldest first. A run stays when any rule keeps it, so more rules keep more.

    keep_days: runs younger than this. keep_last: the number of newest runs kept of each target and profile.
    keep_failures: runs whose outcome is not bounded. Without any rule nothing is removed.
    """
    if keep_days is None and keep_last is None:
        return []
    kept: set[str] = set()
    seen: dict[tuple[str, str], int] = {}
    for entry in sorted(entries, key=lambda one: one.started_at, reverse=True):
        started = datetime.datetime.fromisoformat(entry.started_at)
        if keep_days is not None and now - started <= datetime.timedelta(days=keep_days):
            kept.add(entry.digest)
        if keep_failures and entry.outcome != Outcome.BOUNDED.value:
            kept.add(entry.digest)
        for name in {(trial.target, trial.profile) for trial in entry.trials} or {("", "")}:
            seen[name] = seen.get(name, 0) + 1
            if keep_last is not None and seen[name] <= keep_last:
                kept.add(entry.digest)
    return sorted((one for one in entries if one.digest not in kept), key=lambda one: one.started_at)
